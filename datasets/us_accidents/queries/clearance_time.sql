-- How long do severe accidents hold up the traffic: median and 95th percentile, in minutes?
--
-- Cost: every partition of the analytical table, since an accident that came in twice counts once, at its newest. The
-- percentiles are those of nearest rank, exact.
--
--  severity | accidents | median_minutes | p95_minutes
--         3 |       866 |             57 |         360
--         4 |       143 |            116 |         420
with cleared as (
    select severity, cast(floor(date_diff('second', start_time, end_time) / 60.0) as bigint) as minutes
    from us_accidents_latest
    where end_time >= start_time
),
ranked as (
    select
        severity,
        minutes,
        row_number() over (partition by severity order by minutes) as nth,
        count(*) over (partition by severity) as accidents
    from cleared
)
select
    severity,
    max(accidents) as accidents,
    min(case when nth * 100 >= accidents * 50 then minutes end) as median_minutes,
    min(case when nth * 100 >= accidents * 95 then minutes end) as p95_minutes
from ranked
group by severity
order by severity
