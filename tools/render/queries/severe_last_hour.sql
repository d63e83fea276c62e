-- Where did severe {{events}} arrive in the last hour, by {{area}}?
--
-- Cost: the severe partitions of one day, of two in the first hour after midnight (UTC).
--
--  {{area}} | severe | worst{{worst_text_name}} | latest
--  {{area_example}} | 7 | {{greatest}}{{worst_text_example}} | 2026-07-14 09:41:12.094
select
    {{area}},
    count(distinct {{id}}) as severe,
    max(coalesce(unlisted_severity, severity)) as worst,{{worst_text}}
    max({{received_at}}) as latest
from {{analytical}}
where year in (cast(year(localtimestamp) as varchar), cast(year(localtimestamp - interval '1' hour) as varchar))
    and month in (
        lpad(cast(month(localtimestamp) as varchar), 2, '0'),
        lpad(cast(month(localtimestamp - interval '1' hour) as varchar), 2, '0')
    )
    and day in (
        lpad(cast(day(localtimestamp) as varchar), 2, '0'),
        lpad(cast(day(localtimestamp - interval '1' hour) as varchar), 2, '0')
    )
    and {{received_at}} >= localtimestamp - interval '1' hour
group by {{area}}
order by severe desc, {{area}}
