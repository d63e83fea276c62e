-- In which weather are accidents severe most often?
--
-- Cost: every partition of the raw table, which holds the accidents of all severities; add `year = '2026' and month = '07'
-- and` to scan a month of arrivals (UTC). Weather of fewer than 20 accidents is left out: its share says nothing.
--
--  weather_condition | accidents | severe | percent_severe
--  Light Snow        |       120 |     35 |           29.2
--  Fair              |      1570 |    262 |           16.7
select
    weather_condition,
    count(distinct id) as accidents,
    count(distinct case when severity > 2 then id end) as severe,
    round(100.0 * count(distinct case when severity > 2 then id end) / count(distinct id), 1) as percent_severe
from us_accidents_raw
where weather_condition is not null
group by weather_condition
having count(distinct id) >= 20
order by percent_severe desc, accidents desc, weather_condition
