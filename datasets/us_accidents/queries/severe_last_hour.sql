-- Where did severe US accidents arrive in the last hour, by county?
--
-- Cost: the severe partitions of one day, of two in the first hour after midnight (UTC).
--
--  county      | severe | worst | latest
--  Los Angeles | 7      | 4     | 2026-07-14 09:41:12.094
--
-- Rendered from tools/render/queries/ by make render.
select
    county,
    count(distinct id) as severe,
    max(coalesce(unlisted_severity, severity)) as worst,
    max(txn_timestamp) as latest
from us_accidents_analytical
where year in (cast(year(localtimestamp) as varchar), cast(year(localtimestamp - interval '1' hour) as varchar))
    and month in (
        lpad(cast(month(localtimestamp) as varchar), 2, '0'),
        lpad(cast(month(localtimestamp - interval '1' hour) as varchar), 2, '0')
    )
    and day in (
        lpad(cast(day(localtimestamp) as varchar), 2, '0'),
        lpad(cast(day(localtimestamp - interval '1' hour) as varchar), 2, '0')
    )
    and txn_timestamp >= localtimestamp - interval '1' hour
group by county
order by severe desc, county
