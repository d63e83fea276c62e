-- Where do severe accidents gather, on a grid of a tenth of a degree (about 11 km by 9 km)?
--
-- Cost: every partition of the analytical table; add `year = '2026' and month = '07' and` to scan a month of arrivals
-- (UTC). A cell is named by its south-western corner.
--
--  south | west   | severe | most_severe
--   33.9 | -118.3 |     12 |           1
--   41.8 |  -87.7 |      9 |           0
select
    floor(start_lat * 10) / 10 as south,
    floor(start_lng * 10) / 10 as west,
    count(distinct id) as severe,
    count(distinct case when severity >= 4 then id end) as most_severe
from us_accidents_analytical
where start_lat is not null and start_lng is not null
group by floor(start_lat * 10) / 10, floor(start_lng * 10) / 10
order by severe desc, south, west
limit 20
