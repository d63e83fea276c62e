-- Which US accidents were severe enough for an alert, but are in no alert?
--
-- Cost: every partition of the analytical and of the alerts table. The answer should be empty. Both tables are written
-- every few minutes (`DeliveryBufferSeconds`), so the newest events may still be missing in one of them.
--
--  id        | severity | county      | received
--  A-3567812 | 4        | Los Angeles | 2026-07-14 09:41:12.094
--
-- Rendered from tools/render/queries/ by make render.
with severe as (
    select
        coalesce(id, '') as event,
        max(coalesce(unlisted_severity, severity)) as level,
        min(county) as area,
        max(txn_timestamp) as received
    from us_accidents_analytical
    where coalesce(unlisted_severity, severity) > 3 -- NotifySeverityAbove
    group by coalesce(id, '')
),
alerted as (
    select
        message.event,
        max(severities[message.nth]) as level
    from us_accidents_alerts
    cross join unnest(ids) with ordinality as message (event, nth)
    group by message.event
)
select
    severe.event as id,
    severe.level as severity,
    severe.area as county,
    severe.received
from severe
left join alerted on alerted.event = severe.event
where alerted.level is null or alerted.level < severe.level
order by severe.received desc, severe.event
