-- Which US accidents came in more than once, and when?
--
-- Cost: every partition of the raw table; add `where year = '2026' and month = '07'` to scan a month of arrivals. The view
-- us_accidents_latest shows each severe one once.
--
--  id        | times | first_received              | last_received
--  A-3567812 | 2     | 2026-07-14T09:30:00.000000Z | 2026-07-14T11:02:45.114092Z
--
-- Rendered from tools/render/queries/ by make render.
select
    id,
    count(*) as times,
    min(txn_timestamp) as first_received,
    max(txn_timestamp) as last_received
from us_accidents_raw
group by id
having count(*) > 1
order by times desc, id
limit 100
