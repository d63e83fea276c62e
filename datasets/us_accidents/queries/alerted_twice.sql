-- Which US accidents are in several alerts of the same severity, and when were these sent?
--
-- Cost: every partition of the alerts table; add `where year = '2026' and month = '07'` to scan a month of alerts (UTC). An
-- alert that is raised has another severity. Two containers that receive an event do not know each other's alerts.
--
--  id        | severity | alerts | first_alert             | last_alert
--  A-3567812 | 4        | 2      | 2026-07-14 09:41:12.512 | 2026-07-14 09:41:14.022
--
-- Rendered from tools/render/queries/ by make render.
select
    message.event as id,
    severities[message.nth] as severity,
    count(*) as alerts,
    min(alerted_at) as first_alert,
    max(alerted_at) as last_alert
from us_accidents_alerts
cross join unnest(ids) with ordinality as message (event, nth)
group by message.event, severities[message.nth]
having count(*) > 1
order by alerts desc, message.event, severity
