-- Which columns of the support tickets have cells that could not be read, and how many?
--
-- Cost: every partition of the raw table; add `where year = '2026' and month = '07'` to scan a month of arrivals. The text
-- of each such cell is in `invalid`, under its column's name.
--
--  column_name | cells | first_received              | last_received
--  opened_at   | 2     | 2026-07-14T09:30:00.000000Z | 2026-07-14T11:02:45.114092Z
--
-- Rendered from tools/render/queries/ by make render.
select
    lower(name) as column_name,
    count(*) as cells,
    min(received_at) as first_received,
    max(received_at) as last_received
from support_tickets_raw
cross join unnest(map_keys(invalid)) as cell (name)
group by lower(name)
order by cells desc, column_name
