-- How late is the data: how many minutes after it was opened did an urgent ticket come in, by day of arrival (UTC)?
--
-- Cost: every partition of the analytical table; add `year = '2026' and month = '07' and` to scan a month. The percentiles
-- are those of nearest rank.
--
--  day        | tickets | median_minutes | p95_minutes | latest_minutes
--  2026-07-14 |     402 |              2 |           9 |             61
with late as (
    select
        concat(year, '-', month, '-', day) as day,
        cast(floor(date_diff('second', opened_at, received_at) / 60.0) as bigint) as minutes
    from support_tickets_analytical
    where opened_at is not null
),
ranked as (
    select
        day,
        minutes,
        row_number() over (partition by day order by minutes) as nth,
        count(*) over (partition by day) as tickets
    from late
)
select
    day,
    max(tickets) as tickets,
    min(case when nth * 100 >= tickets * 50 then minutes end) as median_minutes,
    min(case when nth * 100 >= tickets * 95 then minutes end) as p95_minutes,
    max(minutes) as latest_minutes
from ranked
group by day
order by day
