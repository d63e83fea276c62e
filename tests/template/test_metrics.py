"""The local cloud makes the metrics that a log declares, and those of queues."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from tools.local.cloud import Cloud
from tools.local.metrics import QUEUE_SECONDS, Datum, embedded
from tools.local.stack import now, wait_for

TIME = 1_795_900_000_123


def line(**changes: Any) -> str:
    declared = {
        "Namespace": "perishable",
        "Dimensions": [["Dataset", "Function"], []],
        "Metrics": [{"Name": "In", "Unit": "Count"}, {"Name": "Late"}],
    }
    document = {
        "_aws": {"Timestamp": TIME, "CloudWatchMetrics": [declared]},
        "Dataset": "us_accidents",
        "Function": "ingest",
        "In": 7,
        "Late": [1, 2.5],
    }
    return json.dumps(document | changes)


def test_a_line_publishes_each_metric_under_each_set_of_dimensions() -> None:
    of = (("Dataset", "us_accidents"), ("Function", "ingest"))
    assert list(embedded(line())) == [
        Datum("perishable", "In", of, TIME / 1000, "Count", (7.0,)),
        Datum("perishable", "In", (), TIME / 1000, "Count", (7.0,)),
        Datum("perishable", "Late", of, TIME / 1000, "None", (1.0, 2.5)),
        Datum("perishable", "Late", (), TIME / 1000, "None", (1.0, 2.5)),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "START RequestId: 1",
        '"_aws"',
        '{"_aws": 1}',
        '{"_aws": {}}',
        line(In="7", Late=None),
        line(_aws={"Timestamp": "now", "CloudWatchMetrics": []}),
    ],
)
def test_other_lines_publish_nothing(text: str) -> None:
    assert list(embedded(text)) == []


def values(bare: Cloud, metric: dict[str, Any]) -> list[float]:
    answer = bare.client("cloudwatch").get_metric_data(
        MetricDataQueries=[
            {"Id": "m", "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Maximum"}}
        ],
        StartTime=now() - timedelta(minutes=5),
        EndTime=now() + timedelta(minutes=1),
    )
    return answer["MetricDataResults"][0]["Values"]


def test_a_metric_of_a_log_is_in_cloudwatch(bare: Cloud) -> None:
    logs = bare.client("logs")
    logs.create_log_group(logGroupName="declaring")
    logs.create_log_stream(logGroupName="declaring", logStreamName="one")
    at = round(now().timestamp() * 1000)
    declared = json.loads(line())
    declared["_aws"]["Timestamp"] = at
    event = {"timestamp": at, "message": json.dumps(declared)}
    logs.put_log_events(logGroupName="declaring", logStreamName="one", logEvents=[event])
    dimensions = [
        {"Name": "Dataset", "Value": "us_accidents"},
        {"Name": "Function", "Value": "ingest"},
    ]
    metric = {"Namespace": "perishable", "MetricName": "Late", "Dimensions": dimensions}
    assert values(bare, metric) == [2.5]


def test_a_waiting_message_is_in_the_metrics_of_its_queue(bare: Cloud) -> None:
    sqs = bare.client("sqs")
    url = sqs.create_queue(QueueName="waiting")["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="one")
    dimensions = [{"Name": "QueueName", "Value": "waiting"}]
    metrics = [
        {"Namespace": "AWS/SQS", "MetricName": name, "Dimensions": dimensions}
        for name in ("ApproximateNumberOfMessagesVisible", "ApproximateAgeOfOldestMessage")
    ]

    def published() -> list[list[float]] | None:
        found = [values(bare, metric) for metric in metrics]
        return found if all(found) else None

    visible, age = wait_for(published, QUEUE_SECONDS * 2, 0.5, lambda: "nothing is published")
    assert max(visible) == 1
    assert 0 < max(age) <= QUEUE_SECONDS * 2
