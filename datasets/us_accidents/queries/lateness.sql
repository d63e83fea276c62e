-- How late is the data: how many hours after its start did a severe accident come in, by day of arrival (UTC)?
--
-- Cost: every partition of the analytical table; add `year = '2026' and month = '07' and` to scan a month. A start is the
-- wall clock of its time zone, turned to UTC by standard time, so that an hour is counted too many in summer. The
-- percentiles are those of nearest rank.
--
--  day        | accidents | median_hours | p95_hours | latest_hours
--  2026-07-14 |      1009 |            1 |         5 |           44
with late as (
    select
        concat(year, '-', month, '-', day) as day,
        cast(floor(date_diff('second', start_time, txn_timestamp) / 3600.0) as bigint)
        - case timezone
            when 'US/Eastern' then 5
            when 'US/Central' then 6
            when 'US/Mountain' then 7
            when 'US/Pacific' then 8
        end as hours
    from us_accidents_analytical
    where start_time is not null and timezone in ('US/Eastern', 'US/Central', 'US/Mountain', 'US/Pacific')
),
ranked as (
    select
        day,
        hours,
        row_number() over (partition by day order by hours) as nth,
        count(*) over (partition by day) as accidents
    from late
)
select
    day,
    max(accidents) as accidents,
    min(case when nth * 100 >= accidents * 50 then hours end) as median_hours,
    min(case when nth * 100 >= accidents * 95 then hours end) as p95_hours,
    max(hours) as latest_hours
from ranked
group by day
order by day
