-- Which {{events}} came in more than once, and when?
--
-- Cost: every partition of the raw table; add `where year = '2026' and month = '07'` to scan a month of arrivals. The view
-- {{latest}} shows each severe one once.
--
--  {{id}} | times | first_received              | last_received
--  {{id_example}} | 2 | 2026-07-14T09:30:00.000000Z | 2026-07-14T11:02:45.114092Z
select
    {{id}},
    count(*) as times,
    min({{received_at}}) as first_received,
    max({{received_at}}) as last_received
from {{raw}}
group by {{id}}
having count(*) > 1
order by times desc, {{id}}
limit 100
