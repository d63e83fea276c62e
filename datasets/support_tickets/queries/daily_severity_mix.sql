-- How severe were the support tickets that came in, day by day of arrival (UTC)?
--
-- Cost: every partition of the raw table; add `where year = '2026' and month = '07'` to scan a month of arrivals.
--
--  day        | priority | events | percent
--  2026-07-14 | 2        | 3967   | 82.1
--  2026-07-14 | 3        | 866    | 17.9
--
-- Rendered from tools/render/queries/ by make render.
with counted as (
    select concat(year, '-', month, '-', day) as day, priority, count(distinct ticket_id) as events
    from support_tickets_raw
    group by year, month, day, priority
)
select
    day,
    priority,
    events,
    round(100.0 * events / sum(events) over (partition by day), 1) as percent
from counted
order by day, priority
