-- How long after their receipt were US accidents alerted, by hour of receipt (UTC) and county?
--
-- Cost: every partition of the analytical and of the alerts table. From the first receipt of an id to its first alert, in
-- milliseconds. The percentiles are those of nearest rank.
--
--  hour                    | county      | alerted | p50_ms | p99_ms
--  2026-07-14 09:00:00.000 | Los Angeles | 7       | 412    | 1380
--
-- Rendered from tools/render/queries/ by make render.
with received as (
    select
        id as event,
        min(county) as area,
        min(txn_timestamp) as received_at
    from us_accidents_analytical
    group by id
),
alerted as (
    select
        message.event,
        min(alerted_at) as alerted_at
    from us_accidents_alerts
    cross join unnest(ids) as message (event)
    group by message.event
),
waits as (
    select
        date_trunc('hour', received.received_at) as hour,
        received.area,
        date_diff('millisecond', received.received_at, alerted.alerted_at) as ms
    from received
    inner join alerted on alerted.event = received.event
),
ranked as (
    select
        hour,
        area,
        ms,
        row_number() over (partition by hour, area order by ms) as nth,
        count(*) over (partition by hour, area) as events
    from waits
)
select
    hour,
    area as county,
    max(events) as alerted,
    min(case when nth * 100 >= events * 50 then ms end) as p50_ms,
    min(case when nth * 100 >= events * 99 then ms end) as p99_ms
from ranked
group by hour, area
order by hour, area
