-- How many severe US accidents arrived in each window of ten minutes, by county?
--
-- Cost: every partition of the analytical table; add `where year = '2026' and month = '07'` to scan a month of arrivals
-- (UTC). The windows are tumbling: an event is in the one window in which it arrived.
--
--  window_start            | window_end              | county      | severe
--  2026-07-14 09:30:00.000 | 2026-07-14 09:40:00.000 | Los Angeles | 3
--
-- Rendered from tools/render/queries/ by make render.
select
    window_start,
    window_start + interval '10' minute as window_end,
    area as county,
    count(distinct event) as severe
from (
    select
        date_trunc('minute', txn_timestamp) - mod(minute(txn_timestamp), 10) * interval '1' minute as window_start,
        county as area,
        id as event
    from us_accidents_analytical
)
group by window_start, area
order by window_start, severe desc, area
