-- How long after their receipt were support tickets alerted, by hour of receipt (UTC) and department?
--
-- Cost: every partition of the analytical and of the alerts table. From the first receipt of an id to its first alert, in
-- milliseconds. The percentiles are those of nearest rank.
--
--  hour                    | department | alerted | p50_ms | p99_ms
--  2026-07-14 09:00:00.000 | Billing    | 7       | 412    | 1380
--
-- Rendered from tools/render/queries/ by make render.
with received as (
    select
        ticket_id as event,
        min(department) as area,
        min(received_at) as received_at
    from support_tickets_analytical
    group by ticket_id
),
alerted as (
    select
        message.event,
        min(alerted_at) as alerted_at
    from support_tickets_alerts
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
    area as department,
    max(events) as alerted,
    min(case when nth * 100 >= events * 50 then ms end) as p50_ms,
    min(case when nth * 100 >= events * 99 then ms end) as p99_ms
from ranked
group by hour, area
order by hour, area
