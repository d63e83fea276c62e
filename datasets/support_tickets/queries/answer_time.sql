-- How long do urgent tickets wait for an answer, by department: median and 95th percentile, in minutes?
--
-- Cost: every partition of the analytical table, since a ticket that came in twice counts once, at its newest. The
-- percentiles are those of nearest rank, exact.
--
--  department | tickets | median_minutes | p95_minutes
--  Billing    |      67 |             44 |          86
--  Network    |      71 |             47 |          88
with answered as (
    select department, cast(floor(date_diff('second', opened_at, answered_at) / 60.0) as bigint) as minutes
    from support_tickets_latest
    where answered_at >= opened_at
),
ranked as (
    select
        department,
        minutes,
        row_number() over (partition by department order by minutes) as nth,
        count(*) over (partition by department) as tickets
    from answered
)
select
    department,
    max(tickets) as tickets,
    min(case when nth * 100 >= tickets * 50 then minutes end) as median_minutes,
    min(case when nth * 100 >= tickets * 95 then minutes end) as p95_minutes
from ranked
group by department
order by department
