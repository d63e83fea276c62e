-- Which support tickets came in more than once, and when?
--
-- Cost: every partition of the raw table; add `where year = '2026' and month = '07'` to scan a month of arrivals. The view
-- support_tickets_latest shows each severe one once.
--
--  ticket_id | times | first_received              | last_received
--  T-204817  | 2     | 2026-07-14T09:30:00.000000Z | 2026-07-14T11:02:45.114092Z
--
-- Rendered from tools/render/queries/ by make render.
select
    ticket_id,
    count(*) as times,
    min(received_at) as first_received,
    max(received_at) as last_received
from support_tickets_raw
group by ticket_id
having count(*) > 1
order by times desc, ticket_id
limit 100
