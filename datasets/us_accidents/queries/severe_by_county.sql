-- Where are the severe accidents, and how severe?
--
-- Cost: every partition of the analytical table; add `where year = '2026' and month = '07'` to scan a month of
-- arrivals (UTC).
--
--  county      | state | severe | most_severe | worst
--  Los Angeles | CA    |     85 |           4 |     4
--  Dallas      | TX    |     34 |           6 |     4
select
    county,
    state,
    count(distinct id) as severe,
    count(distinct case when severity >= 4 then id end) as most_severe,
    max(coalesce(unlisted_severity, severity)) as worst
from us_accidents_analytical
group by county, state
order by severe desc, county, state
limit 20
