-- Where did severe support tickets arrive in the last hour, by department?
--
-- Cost: the severe partitions of one day, of two in the first hour after midnight (UTC).
--
--  department | severe | worst | latest
--  Billing    | 7      | 4     | 2026-07-14 09:41:12.094
--
-- Rendered from tools/render/queries/ by make render.
select
    department,
    count(distinct ticket_id) as severe,
    max(coalesce(unlisted_severity, severity)) as worst,
    max(received_at) as latest
from support_tickets_analytical
where year in (cast(year(localtimestamp) as varchar), cast(year(localtimestamp - interval '1' hour) as varchar))
    and month in (
        lpad(cast(month(localtimestamp) as varchar), 2, '0'),
        lpad(cast(month(localtimestamp - interval '1' hour) as varchar), 2, '0')
    )
    and day in (
        lpad(cast(day(localtimestamp) as varchar), 2, '0'),
        lpad(cast(day(localtimestamp - interval '1' hour) as varchar), 2, '0')
    )
    and received_at >= localtimestamp - interval '1' hour
group by department
order by severe desc, department
