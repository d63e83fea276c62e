"""The one list of metrics that alarms and dashboards may name, each with who emits it.

A test holds it to what the functions really emit, read back from CloudWatch and from their logs;
those of AWS's own services follow the pages named beside them.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

REPOSITORY = Path(__file__).resolve().parents[2]
FUNCTIONS = ("ingest", "transform", "metrics", "notify")

# What a data set's own names stand for in alarms and dashboards: the template fills them in.
EVENTS = "${MetricNamespace}"
EVENT_COUNT = "${MetricName}"
OTHER = "other"  # the severity of events whose own is not in the list: metrics::series
SEVERITY = "${SeverityDimension}"
AREA = "${AreaDimension}"
AREA_NAME = "${AreaName}"  # as the reader calls it, such as County
AREA_EXAMPLE = "${AreaExample}"

BOOKS = "perishable"


@dataclass(frozen=True)
class Emitted:
    """Metrics of one namespace that carry the same sets of dimensions."""

    namespace: str
    names: tuple[str, ...]
    dimensions: tuple[tuple[str, ...], ...]
    source: str


OF_AWS = (
    Emitted(
        "AWS/Lambda",
        (
            "Errors",
            "Throttles",
            "Invocations",
            "Duration",
            "IteratorAge",
            "DestinationDeliveryFailures",
            "AsyncEventsDropped",
        ),
        (("FunctionName",),),
        "https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html",
    ),
    # Of mappings whose MetricsConfig asks for EventCount.
    Emitted(
        "AWS/Lambda",
        ("DroppedEventCount", "OnFailureDestinationDeliveredEventCount"),
        (("EventSourceMappingUUID",),),
        "https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html",
    ),
    Emitted(
        "AWS/SQS",
        ("ApproximateAgeOfOldestMessage", "ApproximateNumberOfMessagesVisible"),
        (("QueueName",),),
        "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html",
    ),
    Emitted(
        "AWS/Kinesis",
        (
            "IncomingRecords",
            "ReadProvisionedThroughputExceeded",
            "WriteProvisionedThroughputExceeded",
        ),
        (("StreamName",),),
        "https://docs.aws.amazon.com/streams/latest/dev/monitoring-with-cloudwatch.html",
    ),
    Emitted(
        "AWS/Firehose",
        (
            "IncomingRecords",
            "KinesisMillisBehindLatest",
            "DeliveryToS3.DataFreshness",
            "DeliveryToS3.Success",
            "FailedConversion.Records",
            "KMSKeyAccessDenied",
            "KMSKeyDisabled",
            "KMSKeyInvalidState",
            "KMSKeyNotFound",
            "PartitionCountExceeded",
            "ThrottledRecords",
        ),
        (("DeliveryStreamName",),),
        "https://docs.aws.amazon.com/firehose/latest/dev/monitoring-with-cloudwatch-metrics.html",
    ),
    Emitted(
        "AWS/S3",
        ("PutRequests",),
        (("BucketName", "FilterId"),),
        "https://docs.aws.amazon.com/AmazonS3/latest/userguide/metrics-dimensions.html",
    ),
    Emitted(
        "AWS/SNS",
        ("NumberOfMessagesPublished", "NumberOfNotificationsFailed"),
        (("TopicName",),),
        "https://docs.aws.amazon.com/sns/latest/dg/sns-monitoring-using-cloudwatch.html",
    ),
)

# Of every invocation, from the line that it logs: `shared::books`.
OF_BOOKS = Emitted(
    BOOKS,
    (
        "In",
        "Delivered",
        "Filtered",
        "Rejected",
        "Failed",
        "Retried",
        "Late",
        "UnknownSeverity",
        "Unaccounted",
    ),
    (("Dataset", "Environment", "Function"),),
    "shared/src/books.rs",
)


def dataset(name: str = "us_accidents") -> dict[str, Any]:
    return tomllib.loads((REPOSITORY / "datasets" / f"{name}.toml").read_text(encoding="utf-8"))


def of_events(document: dict[str, Any]) -> tuple[Emitted, Emitted]:
    """The metric that counts a data set's severe events, and those of their ages."""
    metric = document["metric"]
    every = tuple(metric["dimensions"])
    known = names(document)
    rollups = metric.get("rollups", [[known[SEVERITY]], [known[SEVERITY], known[AREA]]])
    order = {name: place for place, name in enumerate(every)}
    sets = [every, *(tuple(sorted({*rollup}, key=order.__getitem__)) for rollup in rollups)]
    count = Emitted(
        metric["namespace"],
        (metric["name"],),
        tuple(dict.fromkeys(sets)),
        "functions/metrics/src/aggregate.rs",
    )
    ages = Emitted(
        metric["namespace"],
        ("EventToMetric", "EventToAlert"),
        (("Dataset", "Environment"),),
        "shared/src/ages.rs",
    )
    return count, ages


def names(document: dict[str, Any]) -> dict[str, str]:
    """What stands for a data set's own names, and what the data set has for each."""
    metric = document["metric"]
    by_column = {column: name for name, column in metric["dimensions"].items()}
    severity, area = by_column[document["severity"]], document["severe_partition_key"]
    return {
        EVENTS: metric["namespace"],
        EVENT_COUNT: metric["name"],
        SEVERITY: severity,
        AREA: by_column.get(area, severity),
        AREA_NAME: area,
    }


def every(document: dict[str, Any]) -> list[Emitted]:
    return [*of_events(document), OF_BOOKS, *OF_AWS]


def emitted(document: dict[str, Any], namespace: str, name: str, dimensions: set[str]) -> bool:
    """Whether anything emits a metric under these dimensions."""
    return any(
        metric.namespace == namespace
        and name in metric.names
        and dimensions in [set(each) for each in metric.dimensions]
        for metric in every(document)
    )
