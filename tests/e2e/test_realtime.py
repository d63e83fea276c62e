"""The real-time layer on the deployed stack: latency, digests, filters and emitted metrics."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from hashlib import md5
from typing import Any

import pytest

from tests.e2e.conftest import Run
from tests.template.rendered import emitted
from tools.local.alert_queue import Alert, AlertQueue
from tools.local.cloud import Cloud
from tools.local.stack import Stack, now, wait_for

STORM = 10_000
PUT_RECORDS = 500  # records of one request
ARRIVAL_SECONDS = 120

CITIES = {
    "blank": " ",
    "null": None,
    "accents": "Las Cruces, Doña Ana",
    "alphabets": "横浜 Ωμέγα",
    "long": "x" * 2_000,
    "breaks": "a\r\nBcc: b\u2028c\0d",
    "colon": ":colon",
}


def put(local: Cloud, stack: Stack, events: list[dict[str, Any]]) -> None:
    """Puts events on stream 2, as fast as its shards take them."""
    kinesis = local.client("kinesis")
    for start in range(0, len(events), PUT_RECORDS):
        stamp = now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        refused = [
            {
                "Data": json.dumps({**event, "Txn_Timestamp": stamp}).encode() + b"\n",
                "PartitionKey": md5(str(event["County"]).encode()).hexdigest(),
            }
            for event in events[start : start + PUT_RECORDS]
        ]

        def all_taken() -> bool | None:
            nonlocal refused
            answer = kinesis.put_records(
                StreamName=stack.outputs["SevereStreamName"], Records=refused
            )
            results = zip(refused, answer["Records"], strict=True)
            refused = [record for record, result in results if "ErrorCode" in result]
            return None if refused else True

        wait_for(all_taken, ARRIVAL_SECONDS, 0.1, lambda: "stream 2 refuses events")


def of_county(queue: AlertQueue, county: str) -> list[Alert]:
    return [alert for alert in queue.poll() if alert.attributes.get("county") == county]


@pytest.fixture(scope="module")
def department(stack: Stack) -> AlertQueue:
    """A department that subscribes to the worst events of one county in two cities."""
    wanted = {
        "county": ["Stormville"],
        "city": ["City 3", "City 4"],
        "severity": [{"numeric": [">=", 4]}],
    }
    return AlertQueue(stack, "e2e-department", wanted)


@pytest.fixture(scope="module")
def storm(local: Cloud, stack: Stack, alerts: AlertQueue, department: AlertQueue) -> list[Alert]:
    """Ten thousand events of one county at once, and the messages about them."""
    events = [
        {"ID": f"storm-{n}", "Severity": 4, "City": f"City {n % 7}", "County": "Stormville"}
        for n in range(STORM)
    ]
    put(local, stack, events)

    def alerted() -> list[Alert] | None:
        messages = of_county(alerts, "Stormville")
        return messages if sum(alert.count for alert in messages) >= STORM else None

    return wait_for(alerted, ARRIVAL_SECONDS, 1, lambda: "the storm was not alerted")


def test_ten_thousand_events_of_one_county_are_at_most_sixty_messages(storm: list[Alert]) -> None:
    assert sum(alert.count for alert in storm) == STORM
    assert len(storm) <= 60
    assert len({alert.attributes["id"] for alert in storm}) == len(storm)


def test_a_digest_has_the_count_the_first_id_and_the_table(storm: list[Alert]) -> None:
    digest = max(storm, key=lambda alert: alert.count)
    assert digest.count > 10
    assert digest.subject == f"{digest.count} accidents of severity 4 in Stormville county"
    assert digest.content["ids"][0] in digest.text
    assert "us_accidents_analytical" in digest.text


def test_a_department_gets_exactly_its_own_messages(
    storm: list[Alert], department: AlertQueue
) -> None:
    def is_its_own(alert: Alert) -> bool:
        city = alert.content["city"]
        return bool({"City 3", "City 4"} & set(city if isinstance(city, list) else [city]))

    expected = Counter(alert.attributes["id"] for alert in storm if is_its_own(alert))
    assert expected

    def arrived() -> bool | None:
        found = Counter(alert.attributes["id"] for alert in department.poll())
        assert not found - expected
        return True if found == expected else None

    wait_for(arrived, 30, 0.5, lambda: "the department did not get its messages")


def test_every_text_becomes_a_metric_and_an_alert(
    local: Cloud, stack: Stack, alerts: AlertQueue
) -> None:
    started = now()
    events = [
        {
            "ID": f"text-{place}-{name}",
            "Severity": 4,
            "City": "City",
            "County": "Texts",
            place: text,
        }
        for name, text in CITIES.items()
        for place in ("City", "County")
    ]
    before = sum(stack.metric_sums(started).values())
    put(local, stack, events)
    expected = Counter(event["ID"] for event in events)

    def alerted() -> Counter[str] | None:
        found = Counter(
            event for alert in alerts.poll() for event in alert.ids if event in expected
        )
        return found if found >= expected else None

    assert wait_for(alerted, ARRIVAL_SECONDS, 0.5, lambda: "not every text was alerted") == expected
    for alert in alerts.alerts:
        assert len(alert.subject) < 100
        assert alert.subject.isprintable()

    def counted() -> bool | None:
        added = round(sum(stack.metric_sums(started).values()) - before)
        return True if added >= len(events) else None

    wait_for(counted, ARRIVAL_SECONDS, 0.5, lambda: "not every text was counted")


@pytest.mark.parametrize("metric", ["EventToAlert", "EventToMetric"])
def test_latency_is_in_cloudwatch(metric: str, run: Run, stack: Stack) -> None:
    dimensions = [
        {"Name": "Dataset", "Value": stack.dataset.name},
        {"Name": "Environment", "Value": "dev"},
    ]

    def points(**statistics: list[str]) -> list[dict[str, Any]]:
        return stack.cloudwatch.get_metric_statistics(
            Namespace=stack.dataset.namespace,
            MetricName=metric,
            Dimensions=dimensions,
            StartTime=now() - timedelta(hours=1),
            EndTime=now() + timedelta(minutes=1),
            Period=3600,
            **statistics,
        )["Datapoints"]

    expected = len(run.alerts) if metric == "EventToAlert" else len(run.severe_events)
    assert sum(point["SampleCount"] for point in points(Statistics=["SampleCount"])) >= expected
    for point in points(ExtendedStatistics=["p50", "p99"]):
        assert 0 < point["ExtendedStatistics"]["p50"] <= point["ExtendedStatistics"]["p99"]
        assert point["ExtendedStatistics"]["p99"] < 3_600_000


def test_the_functions_emit_exactly_the_listed_metrics(run: Run, stack: Stack) -> None:
    namespace = stack.dataset.namespace
    pages = stack.cloudwatch.get_paginator("list_metrics").paginate(Namespace=namespace)
    emitted = {
        (metric["MetricName"], frozenset(each["Name"] for each in metric["Dimensions"]))
        for page in pages
        for metric in page["Metrics"]
    }
    assert emitted == listed(namespace)


def listed(namespace: str) -> set[tuple[str, frozenset[str]]]:
    """The metrics of a namespace that alarms and dashboards may name."""
    return {(name, dimensions) for of, name, dimensions in emitted() if of == namespace}


# The metrics of unreadable cells, which ingest logs in a line of their own.
CELL_METRICS = {"UnreadableCells", "UnreadableRows"}


def lines_with(metric: str, local: Cloud, function: str) -> Iterator[dict[str, Any]]:
    """The lines of a function's log from which CloudWatch reads the metric."""
    pages = (
        local.client("logs")
        .get_paginator("filter_log_events")
        .paginate(logGroupName=f"/aws/lambda/{local.outputs[f'{function}FunctionName']}")
    )
    for page in pages:
        for event in page["events"]:
            for line in event["message"].splitlines():
                if line.startswith('{"_aws"') and f'"{metric}"' in line:
                    yield json.loads(line)


def declared_by(line: dict[str, Any]) -> set[tuple[str, frozenset[str]]]:
    """The metrics that a line declares, which it has values for."""
    (declared,) = line["_aws"]["CloudWatchMetrics"]
    assert declared["Namespace"] == "perishable"
    (dimensions,) = declared["Dimensions"]
    names = {metric["Name"] for metric in declared["Metrics"]}
    assert {*names, *dimensions} <= set(line)
    return {(name, frozenset(dimensions)) for name in names}


@pytest.mark.parametrize("name", ["ingest", "transform", "metrics", "notify"])
def test_the_counts_are_the_listed_metrics(name: str, run: Run, local: Cloud) -> None:
    line = next(lines_with("Unaccounted", local, name.capitalize()))
    expected = {metric for metric in listed("perishable") if metric[0] not in CELL_METRICS}
    assert declared_by(line) == expected
    assert line["Function"] == name


def test_ingest_logs_the_listed_metrics_of_unreadable_cells(run: Run, local: Cloud) -> None:
    lines = list(lines_with("UnreadableCells", local, "Ingest"))
    expected = {metric for metric in listed("perishable") if metric[0] in CELL_METRICS}
    assert {metric for line in lines for metric in declared_by(line)} == expected
    by_column = [line for line in lines if "Column" in line]
    cells = sum(line["UnreadableCells"] for line in by_column)
    assert cells == sum(line["UnreadableCells"] for line in lines if "Column" not in line)
    assert cells >= sum(len(event.get("_invalid", {})) for event in run.raw_events)
