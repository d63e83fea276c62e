-- How severe were the accidents that came in, day by day of arrival (UTC)?
--
-- Scans the raw table, every partition; add `where year = '2026' and month = '07'` to scan a month
-- of arrivals.
--
--  day        | severity | accidents | percent
--  -----------+----------+-----------+--------
--  2026-07-14 |        1 |        44 |     0.9
--  2026-07-14 |        2 |      3967 |    79.0
--  2026-07-14 |        3 |       866 |    17.3
--  2026-07-14 |        4 |       143 |     2.8
with counted as (
    select concat(year, '-', month, '-', day) as day, severity, count(*) as accidents
    from us_accidents_raw
    group by year, month, day, severity
)
select
    day,
    severity,
    accidents,
    round(100.0 * accidents / sum(accidents) over (partition by day), 1) as percent
from counted
order by day, severity
