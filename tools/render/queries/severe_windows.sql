-- How many severe {{events}} arrived in each window of ten minutes, by {{area}}?
--
-- Cost: every partition of the analytical table; add `where year = '2026' and month = '07'` to scan a month of arrivals
-- (UTC). The windows are tumbling: an event is in the one window in which it arrived.
--
--  window_start            | window_end              | {{area}} | severe
--  2026-07-14 09:30:00.000 | 2026-07-14 09:40:00.000 | {{area_example}} | 3
select
    window_start,
    window_start + interval '10' minute as window_end,
    area as {{area}},
    count(distinct event) as severe
from (
    select
        date_trunc('minute', {{received_at}}) - mod(minute({{received_at}}), 10) * interval '1' minute as window_start,
        {{area}} as area,
        {{id}} as event
    from {{analytical}}
)
group by window_start, area
order by window_start, severe desc, area
