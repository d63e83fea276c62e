-- How severe were the {{events}} that came in, day by day of arrival (UTC)?
--
-- Cost: every partition of the raw table; add `where year = '2026' and month = '07'` to scan a month of arrivals. severity is
-- the level of {{severity}}: the higher, the worse.
--
--  day        | severity | {{severity}} | events | percent
--  2026-07-14 | {{least}} | {{least_text}} | 3967 | 82.1
--  2026-07-14 | {{greatest}} | {{greatest_text}} | 866 | 17.9
with placed as (
    select
        concat(year, '-', month, '-', day) as day,
        {{level}} as severity,
        {{severity}},
        {{id}}
    from {{raw}}
),
counted as (
    select day, severity, {{severity_text}} as {{severity}}, count(distinct {{id}}) as events
    from placed
    group by day, severity
)
select
    day,
    severity,
    {{severity}},
    events,
    round(100.0 * events / sum(events) over (partition by day), 1) as percent
from counted
order by day, severity
