"""Each alarm of the deployed template is raised by its cause and nothing else, and ends again."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from botocore.exceptions import ClientError

from tests.ports import free_port
from tests.template.rendered import KEY, rendered
from tests.template.test_evaluation import PLAIN
from tools.local import cloud
from tools.local.alert_queue import AlertQueue
from tools.local.cloud import Cloud
from tools.local.services import alarms
from tools.local.services.evaluation import MINUTE
from tools.local.stack import Stack, now, wait_for

SECONDS = 30
# Longer than any alarm's evaluation range, so that no cause is seen by the evaluation of the next.
SLOT = 40 * MINUTE
COMPOSITE = "pipeline-unhealthy"
# About the events; the others are about the pipeline, and so raise the alarm over all of these.
ABOUT_EVENTS = {"severe-event", "unlisted-severity", "severe-event-rate"}

SEVERITY = {"severity_accident": "4"}
OTHER = {"severity_accident": "other"}


def function(name: str) -> dict[str, str]:
    return {"FunctionName": f"us-accidents-{name}-dev"}


def counts(name: str) -> dict[str, str]:
    return {"Dataset": "us_accidents", "Environment": "dev", "Function": name}


def delivery(name: str) -> dict[str, str]:
    return {"DeliveryStreamName": f"us-accidents-{name}-dev"}


def queue(name: str) -> dict[str, str]:
    return {"QueueName": f"us-accidents-{name}-dev"}


OWN = "accidents_reports_namespace"
SEVERE = "us_accidents_severity_high"
SECOND_STREAM = {"StreamName": "us-accidents-data-stream-2-dev"}
LATENCY = {"Dataset": "us_accidents", "Environment": "dev"}

# What the services publish, minute by minute: the namespace, the metric, its dimensions and values.
# First what raises the alarm, and then what is just not enough, where that is not obvious.
CAUSES: dict[str, list[tuple[str, str, dict[str, str], list[float]]]] = {
    "severe-event": [(OWN, SEVERE, SEVERITY, [1])],
    "unlisted-severity": [(OWN, SEVERE, OTHER, [1])],
    "severe-event-rate": [("perishable", "Delivered", counts("metrics"), [1001])],
    "event-to-alert": [(OWN, "EventToAlert", LATENCY, [10_001, 10_001])],
    "transform-iterator-age": [("AWS/Lambda", "IteratorAge", function("transform"), [60_001] * 2)],
    "metrics-iterator-age": [("AWS/Lambda", "IteratorAge", function("metrics"), [60_001] * 2)],
    "notify-iterator-age": [("AWS/Lambda", "IteratorAge", function("notify"), [60_001] * 2)],
    "raw-delivery-lag": [
        ("AWS/Firehose", "KinesisMillisBehindLatest", delivery("raw"), [60_001] * 2)
    ],
    "function-errors": [
        ("AWS/Lambda", "Errors", function("ingest"), [1, 0]),
        ("AWS/Lambda", "Errors", function("notify"), [0, 1]),
    ],
    "function-throttles": [("AWS/Lambda", "Throttles", function("transform"), [1, 1])],
    "unaccounted": [("perishable", "Unaccounted", counts("metrics"), [1])],
    "failure-destination": [("AWS/Lambda", "DestinationDeliveryFailures", function("notify"), [1])],
    "ingest-refusals": [("perishable", "Failed", counts("ingest"), [1, 1])],
    "dead-letters": [
        ("AWS/SQS", "ApproximateNumberOfMessagesVisible", queue("ingest-dead-letters"), [1])
    ],
    "queue-age": [("AWS/SQS", "ApproximateAgeOfOldestMessage", queue("ingest"), [3601] * 2)],
    "rejects": [("AWS/Firehose", "IncomingRecords", delivery("rejects"), [1])],
    "unreadable-cells": [
        ("perishable", "UnreadableRows", counts("ingest"), [6, 6]),
        ("perishable", "In", counts("ingest"), [50, 60]),
    ],
    "failures": [("AWS/S3", "PutRequests", {"FilterId": "Failures"}, [1])],
    "undelivered-alerts": [
        ("AWS/SNS", "NumberOfNotificationsFailed", {"TopicName": "us-accidents-alerts-dev"}, [1])
    ],
    **{
        f"{name}-delivery-freshness": [
            ("AWS/Firehose", "DeliveryToS3.DataFreshness", delivery(name), [901, 901])
        ]
        for name in ("raw", "analytical", "rejects", "alerts")
    },
    "delivery-success": [
        ("AWS/Firehose", "DeliveryToS3.Success", delivery("raw"), [1, 1]),
        ("AWS/Firehose", "DeliveryToS3.Success", delivery("rejects"), [0, 0.5]),
    ],
    "delivery-errors": [("AWS/Firehose", "FailedConversion.Records", delivery("analytical"), [1])],
    "delivery-throttles": [("AWS/Firehose", "ThrottledRecords", delivery("raw"), [1] * 3)],
    "stream-throughput": [
        ("AWS/Kinesis", "WriteProvisionedThroughputExceeded", SECOND_STREAM, [1] * 3)
    ],
}

# The same metrics of others, or within the threshold, or only once: no alarm is about these.
HARMLESS: list[tuple[str, str, dict[str, str], list[float]]] = [
    (OWN, SEVERE, {"severity_accident": "3"}, [50] * 5),
    (OWN, SEVERE, {**SEVERITY, "county_accident": "Kern"}, [50] * 5),
    ("perishable", "Delivered", counts("metrics"), [1000] * 5),
    ("perishable", "Delivered", counts("ingest"), [5000] * 5),
    (OWN, "EventToAlert", LATENCY, [9_999, 10_001, 9_999, 9_999]),
    ("AWS/Lambda", "IteratorAge", function("transform"), [60_001, 0, 0, 60_001]),
    ("AWS/Lambda", "Errors", function("ingest"), [0, 1, 0, 0, 0]),
    ("AWS/Lambda", "Errors", function("somebody-elses"), [1] * 5),
    ("perishable", "Unaccounted", counts("metrics"), [0] * 5),
    ("perishable", "Failed", counts("ingest"), [0, 3, 0, 0, 0]),
    ("perishable", "Failed", counts("transform"), [3] * 5),
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible", queue("ingest"), [9] * 5),
    ("AWS/Firehose", "IncomingRecords", delivery("raw"), [1000] * 5),
    ("perishable", "UnreadableRows", counts("ingest"), [1, 2, 1, 2, 3]),
    ("perishable", "In", counts("ingest"), [10] * 5),
    ("AWS/S3", "PutRequests", {"FilterId": "Others"}, [9] * 5),
    ("AWS/Firehose", "DeliveryToS3.DataFreshness", delivery("raw"), [900, 901, 900, 900]),
    ("AWS/Firehose", "DeliveryToS3.Success", delivery("raw"), [1, 0.5, 1, 1]),
    ("AWS/Firehose", "FailedConversion.Records", delivery("raw"), [1] * 5),
    ("AWS/Firehose", "ThrottledRecords", delivery("raw"), [1, 1, 0, 0, 0]),
]


@pytest.fixture(scope="module")
def beginning() -> int:
    """Some days ago: CloudWatch takes data points of up to two weeks ago."""
    return int(now().timestamp()) // MINUTE * MINUTE - 7 * 24 * 60 * MINUTE


@pytest.fixture(scope="module")
def messages(bare: Cloud) -> Callable[[], list[dict[str, Any]]]:
    """What has come to the subscribers of the alarms since the last look."""
    queue = AlertQueue(Stack.of(bare), "alarms")

    def read() -> list[dict[str, Any]]:
        queue.alarms.clear()
        queue.poll()
        return list(queue.alarms)

    return read


@functools.cache
def cloudwatch(port: int, region: str) -> Any:
    return cloud.client("cloudwatch", port, region)


def publish(
    bare: Cloud,
    begin: int,
    metrics: list[tuple[str, str, dict[str, str], list[float]]],
) -> None:
    for namespace, name, dimensions, values in metrics:
        if namespace == "AWS/S3":
            dimensions = {"BucketName": bare.outputs["FailuresBucketName"], **dimensions}
        cloudwatch(bare.port, bare.region).put_metric_data(
            Namespace=namespace,
            MetricData=[
                {
                    "MetricName": name,
                    "Dimensions": [{"Name": k, "Value": v} for k, v in dimensions.items()],
                    "Timestamp": datetime.fromtimestamp(begin + number * MINUTE, timezone.utc),
                    "Value": value,
                }
                for number, value in enumerate(values)
            ],
        )


def evaluate(bare: Cloud, at: int) -> dict[str, str]:
    """The alarms that are not OK after an evaluation, with their states."""
    service = cloudwatch(bare.port, bare.region)
    alarms.evaluate(service, at)
    pages = service.get_paginator("describe_alarms").paginate(
        AlarmTypes=["MetricAlarm", "CompositeAlarm"]
    )
    found = [
        (alarm["AlarmName"], alarm["StateValue"])
        for page in pages
        for kind in ("MetricAlarms", "CompositeAlarms")
        for alarm in page[kind]
    ]
    return {
        name.removeprefix("us-accidents-").removesuffix("-dev"): state
        for name, state in found
        if state != "OK"
    }


def test_there_is_a_cause_for_each_alarm(bare: Cloud) -> None:
    pages = cloudwatch(bare.port, bare.region).get_paginator("describe_alarms").paginate()
    names = {each["AlarmName"] for page in pages for each in page["MetricAlarms"]}
    assert names == {f"us-accidents-{name}-dev" for name in CAUSES}


@pytest.mark.parametrize("name", CAUSES)
def test_an_alarm_is_raised_by_its_cause_and_ends_again(
    bare: Cloud, beginning: int, messages: Any, name: str
) -> None:
    begin = beginning + list(CAUSES).index(name) * SLOT
    minutes = max(len(values) for _, _, _, values in CAUSES[name])
    assert evaluate(bare, begin) == {}
    messages()

    publish(bare, begin, CAUSES[name])
    expected = {name: "ALARM"}
    if name not in ABOUT_EVENTS:
        expected[COMPOSITE] = "ALARM"
    assert evaluate(bare, begin + minutes * MINUTE) == expected
    speaking = name if name in ABOUT_EVENTS else COMPOSITE
    (raised,) = messages()
    assert raised["AlarmName"] == f"us-accidents-{speaking}-dev"
    assert (raised["OldStateValue"], raised["NewStateValue"]) == ("OK", "ALARM")

    assert evaluate(bare, begin + SLOT - MINUTE) == {}
    ended = [each["AlarmName"] for each in messages()]
    assert ended == ([] if name in ABOUT_EVENTS else [f"us-accidents-{COMPOSITE}-dev"])


def test_an_alarm_on_the_key_is_raised_too(bare: Cloud, beginning: int) -> None:
    """Only a stack with a key of its own has it, so that it is made by PutMetricAlarm."""
    properties = rendered({"EncryptionKeyArn": KEY}).properties("DeliveryKeyAlarm")
    service = cloudwatch(bare.port, bare.region)
    service.put_metric_alarm(**properties)
    try:
        begin = beginning + len(CAUSES) * SLOT
        assert evaluate(bare, begin) == {}
        denied = [("AWS/Firehose", "KMSKeyAccessDenied", delivery("analytical"), [1.0])]
        publish(bare, begin, denied)
        assert evaluate(bare, begin + MINUTE) == {"delivery-key": "ALARM"}
        assert evaluate(bare, begin + SLOT - MINUTE) == {}
    finally:
        service.delete_alarms(AlarmNames=[properties["AlarmName"]])


def test_what_really_happens_raises_the_alarms_about_it(bare: Cloud) -> None:
    """Not data points of the test, but what the services of the local cloud make of it."""
    put = bare.client("firehose").put_record
    put(DeliveryStreamName="us-accidents-analytical-dev", Record={"Data": b"no event"})
    put(
        DeliveryStreamName="us-accidents-analytical-dev",
        Record={"Data": b'{"id": "a", "severity": 4, "start_time": "yesterday"}'},
    )
    put(DeliveryStreamName="us-accidents-rejects-dev", Record={"Data": b"{}\n"})
    sqs = bare.client("sqs")
    for name in ("ingest-dead-letters", "undelivered-alerts"):
        url = sqs.get_queue_url(QueueName=f"us-accidents-{name}-dev")["QueueUrl"]
        sqs.send_message(QueueUrl=url, MessageBody="one")
    declared = {
        "Namespace": "perishable",
        "Dimensions": [["Dataset", "Environment", "Function"]],
        "Metrics": [{"Name": "Unaccounted", "Unit": "Count"}],
    }
    at = round(now().timestamp() * 1000)
    directive = {"_aws": {"Timestamp": at, "CloudWatchMetrics": [declared]}, "Unaccounted": 1}
    line = json.dumps({**directive, **counts("ingest")})
    logs, group = bare.client("logs"), "/aws/lambda/us-accidents-ingest-dev"
    logs.create_log_stream(logGroupName=group, logStreamName="one")
    logs.put_log_events(
        logGroupName=group, logStreamName="one", logEvents=[{"timestamp": at, "message": line}]
    )
    expected = {
        "dead-letters",
        "delivery-errors",
        "rejects",
        "unaccounted",
        "undelivered-alerts",
        COMPOSITE,
    }

    def raised() -> set[str] | None:
        found = set(evaluate(bare, round(now().timestamp())))
        return found if found >= expected else None

    found = wait_for(raised, SECONDS, 1, lambda: str(evaluate(bare, round(now().timestamp()))))
    assert found == expected


def test_what_is_harmless_raises_no_alarm(bare: Cloud, beginning: int) -> None:
    begin = beginning + (len(CAUSES) + 1) * SLOT
    publish(bare, begin, HARMLESS)
    for minute in range(12):
        assert evaluate(bare, begin + minute * MINUTE) == {}


def test_a_message_has_the_true_number_and_the_form_of_cloudwatch(
    bare: Cloud, beginning: int, messages: Any
) -> None:
    """The sum is that of the alarm's own series, not of all that count the same events."""
    begin = beginning + (len(CAUSES) + 2) * SLOT
    counted = [
        (SEVERITY, 42),
        ({"severity_accident": "3"}, 6),
        ({**SEVERITY, "county_accident": "Kern"}, 42),
    ]
    publish(bare, begin, [(OWN, SEVERE, of, [number]) for of, number in counted])
    messages()
    # The minute is not over, and the number is already above the threshold.
    assert evaluate(bare, begin + 30) == {"severe-event": "ALARM"}
    (raised,) = messages()
    time = datetime.fromtimestamp(begin, timezone.utc)
    assert raised["NewStateReason"] == (
        f"Threshold Crossed: 1 out of the last 5 datapoints [42.0 ({time:%d/%m/%y %H:%M:%S})] was "
        "greater than or equal to the threshold (1.0) (minimum 1 datapoint for OK -> ALARM "
        "transition)."
    )
    assert raised["Trigger"]["Dimensions"] == [{"value": "4", "name": "severity_accident"}]
    assert raised["Trigger"]["Statistic"] == "SUM"
    assert raised["AlarmActions"] == [bare.outputs["AlarmTopicArn"]]
    assert evaluate(bare, begin + SLOT) == {}


def test_an_alarm_that_is_not_evaluated_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    plain = {**PLAIN, "TreatMissingData": "notBreaching"}
    described = [
        {**plain, "AlarmName": "unknown", "Statistic": "tm90"},
        {**plain, "AlarmName": "known", "StateValue": "ALARM"},
    ]

    class Service:
        changed: ClassVar[dict[str, str]] = {}

        def get_paginator(self, operation: str) -> Any:
            pages = {"describe_alarms": [{"MetricAlarms": described}], "get_metric_data": []}
            return SimpleNamespace(paginate=lambda **_: pages[operation])

        def set_alarm_state(self, **given: str) -> None:
            self.changed[given["AlarmName"]] = given["StateValue"]

    alarms.evaluate(Service(), 1000.0)
    assert Service.changed == {"known": "OK"}
    assert "unknown is not evaluated: it has the statistic tm90" in caplog.text


def test_the_evaluation_itself_runs_in_the_local_cloud(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cloud of its own, since the others leave the evaluation to the tests."""
    port = free_port()
    monkeypatch.setenv(alarms.VARIABLE, "1")
    cloud.start(port, "eu-west-1")
    try:
        service = cloud.client("cloudwatch", port, "eu-west-1")
        own = {**PLAIN, "EvaluationPeriods": 1, "TreatMissingData": "notBreaching"}
        service.put_metric_alarm(**own)

        def state() -> str:
            alarms = service.describe_alarms(AlarmNames=[own["AlarmName"]])["MetricAlarms"]
            return alarms[0]["StateValue"]

        def reaches(expected: str) -> None:
            wait_for(lambda: True if state() == expected else None, SECONDS, 0.2, state)

        reaches("OK")
        datum = {"MetricName": PLAIN["MetricName"], "Dimensions": PLAIN["Dimensions"], "Value": 2}
        service.put_metric_data(Namespace=PLAIN["Namespace"], MetricData=[datum])
        reaches("ALARM")
        with pytest.raises(ClientError, match="without dimensions, metric"):
            service.put_metric_alarm(**{**own, "AlarmName": "other", "Dimensions": []})
    finally:
        cloud.down(port)
