"""The events of the run raise the alarms that are about them, and no others."""

from __future__ import annotations

import re
from datetime import timedelta

from tests.e2e.conftest import Run
from tools.local.alert_queue import AlertQueue
from tools.local.cloud import Cloud
from tools.local.stack import now, wait_for

SECONDS = 60

# A machine that is busy with other things has true reasons for these.
ABOUT_SPEED = {
    "event-to-alert",
    *(f"{name}-iterator-age" for name in ("transform", "metrics", "notify")),
}


def in_alarm(local: Cloud) -> set[str]:
    pages = (
        local.client("cloudwatch")
        .get_paginator("describe_alarms")
        .paginate(AlarmTypes=["MetricAlarm", "CompositeAlarm"], StateValue="ALARM")
    )
    return {
        alarm["AlarmName"].removeprefix("us-accidents-").removesuffix("-dev")
        for page in pages
        for kind in ("MetricAlarms", "CompositeAlarms")
        for alarm in page[kind]
    }


def test_the_run_raises_the_alarms_about_it_and_no_others(
    local: Cloud, run: Run, alerts: AlertQueue
) -> None:
    expected = {"severe-event", "rejects", "pipeline-unhealthy"}
    assert run.refused

    def raised() -> set[str] | None:
        found = in_alarm(local)
        return found if found >= expected else None

    found = wait_for(raised, SECONDS, 1, lambda: f"expected {expected}, found {in_alarm(local)}")
    assert found - ABOUT_SPEED == expected

    alerts.poll()
    raising = {
        each["AlarmName"]: each for each in alerts.alarms if each["NewStateValue"] == "ALARM"
    }
    assert set(raising) == {
        "us-accidents-severe-event-dev",
        "us-accidents-pipeline-unhealthy-dev",
    }
    # The number is that of the alarm's own series: the same events are counted by county, too.
    reason = raising["us-accidents-severe-event-dev"]["NewStateReason"]
    (number,) = re.findall(r"\[(\d+)\.0 \(", reason)
    assert 1 <= int(number) <= len(run.above(3))


def test_the_alarm_counts_every_event_of_severity_4(run: Run, local: Cloud) -> None:
    cloudwatch, name = local.client("cloudwatch"), "us-accidents-severe-event-dev"
    (alarm,) = cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
    metric = {key: alarm[key] for key in ("Namespace", "MetricName", "Dimensions")}
    statistic = {"Metric": metric, "Period": alarm["Period"], "Stat": alarm["Statistic"]}
    (result,) = cloudwatch.get_metric_data(
        MetricDataQueries=[{"Id": "watched", "MetricStat": statistic}],
        StartTime=now() - timedelta(hours=1),
        EndTime=now(),
    )["MetricDataResults"]
    assert sum(result["Values"]) >= len(run.above(3))
