-- How many severe support tickets arrived in each window of ten minutes, by department?
--
-- Cost: every partition of the analytical table; add `where year = '2026' and month = '07'` to scan a month of arrivals
-- (UTC). The windows are tumbling: an event is in the one window in which it arrived.
--
--  window_start            | window_end              | department | severe
--  2026-07-14 09:30:00.000 | 2026-07-14 09:40:00.000 | Billing    | 3
--
-- Rendered from tools/render/queries/ by make render.
select
    window_start,
    window_start + interval '10' minute as window_end,
    area as department,
    count(distinct event) as severe
from (
    select
        date_trunc('minute', received_at) - mod(minute(received_at), 10) * interval '1' minute as window_start,
        department as area,
        ticket_id as event
    from support_tickets_analytical
)
group by window_start, area
order by window_start, severe desc, area
