"""The story that both dashboards tell, panel by panel: what it shows, and of which metrics.

Values are written as the template has them: `${Name}` is the data set's name with hyphens, as in the names
of functions and streams.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from metrics import AREA, AREA_NAME, BOOKS, EVENT_COUNT, EVENTS, FUNCTIONS, SEVERITY

ANY = "*"  # every value of a dimension: a line for each
OF_AREA = "${Area}"  # the one that the reader has chosen

DELIVERIES = ("raw", "analytical", "rejects")

TOPIC_SUFFIX = "${TopicSuffix}"  # .fifo where the alerts' topic is one
FAILURES_BUCKET = "${FailuresBucket}"


@dataclass(frozen=True)
class Line:
    """A metric under its dimensions, as one line; one for each value where a dimension's is `ANY`."""

    namespace: str
    metric: str
    dimensions: dict[str, str]
    statistic: str
    label: str
    condition: str = ""  # of the template, under which there is what it measures


@dataclass(frozen=True)
class Panel:
    title: str
    description: str
    lines: tuple[Line, ...]
    unit: Literal["short", "ms", "s"] = "short"
    kind: Literal["lines", "bars", "map", "number"] = "lines"
    width: int = 12  # of 24
    height: int = 8


@dataclass(frozen=True)
class Row:
    title: str
    panels: tuple[Panel, ...]


def of_function(metric: str, function: str, statistic: str, label: str = "") -> Line:
    name = {"FunctionName": f"${{Name}}-{function}-${{Environment}}"}
    return Line("AWS/Lambda", metric, name, statistic, label or function)


def of_books(metric: str, function: str, label: str = "") -> Line:
    whose = {"Dataset": "${Dataset}", "Environment": "${Environment}", "Function": function}
    return Line(BOOKS, metric, whose, "Sum", label or f"{function}: {metric.lower()}")


def of_delivery(metric: str, delivery: str, statistic: str) -> Line:
    name = {"DeliveryStreamName": f"${{Name}}-{delivery}-${{Environment}}"}
    return Line("AWS/Firehose", metric, name, statistic, delivery)


def of_stream(metric: str, stream: int, label: str) -> Line:
    name = {"StreamName": f"${{Name}}-data-stream-{stream}-${{Environment}}"}
    return Line("AWS/Kinesis", metric, name, "Sum", f"stream {stream} {label}".strip())


def of_topic(metric: str, label: str) -> Line:
    name = {"TopicName": f"${{Name}}-alerts-${{Environment}}{TOPIC_SUFFIX}"}
    return Line("AWS/SNS", metric, name, "Sum", label)


def of_queue(metric: str, queue: str, suffix: str = "") -> Line:
    name = {"QueueName": f"${{Name}}-{queue}-${{Environment}}{suffix}"}
    return Line("AWS/SQS", metric, name, "Maximum", queue)


def age(metric: str, statistic: str, label: str) -> Line:
    whose = {"Dataset": "${Dataset}", "Environment": "${Environment}"}
    return Line(EVENTS, metric, whose, statistic, label)


BY_SEVERITY = Line(EVENTS, EVENT_COUNT, {SEVERITY: ANY}, "Sum", "")
OF_THE_AREA = Line(EVENTS, EVENT_COUNT, {SEVERITY: ANY, AREA: OF_AREA}, "Sum", "")

STORY = (
    Row(
        "What is happening",
        (
            Panel(
                "Severe events by severity",
                "Events of each severity that metrics has counted, in the minute in which they came in.",
                (BY_SEVERITY,),
                kind="bars",
            ),
            Panel(
                "Severity map by time",
                "The same as a map: a row for each severity, the darker the more events in that minute.",
                (BY_SEVERITY,),
                kind="map",
            ),
            Panel(
                f"Severe events of the chosen {AREA_NAME}",
                f"Choose the {AREA_NAME} above. Where MaxSeries bounds the series, one that has none of its own is in `other`.",
                (OF_THE_AREA,),
                kind="bars",
            ),
            Panel(
                "Alerts",
                "Events alerted, and the messages about them: fewer when a digest holds many. A notification that failed did "
                "not reach its reader.",
                (
                    of_books("Delivered", "notify", "events alerted"),
                    of_topic("NumberOfMessagesPublished", "messages"),
                    of_topic("NumberOfNotificationsFailed", "notifications failed"),
                ),
                kind="bars",
            ),
        ),
    ),
    Row(
        "How fast",
        (
            Panel(
                "From event to alert",
                "Age of the events when their alert had been published, from the moment that ingest took them in.",
                (
                    age("EventToAlert", "p50", "half within"),
                    age("EventToAlert", "p99", "99 % within"),
                ),
                unit="ms",
            ),
            Panel(
                "From event to metric",
                "Age of the events when they were counted.",
                (
                    age("EventToMetric", "p50", "half within"),
                    age("EventToMetric", "p99", "99 % within"),
                ),
                unit="ms",
            ),
            Panel(
                "Lag behind the streams",
                "Age of the last record of each batch, and how far the raw delivery stream is behind stream 1.",
                (
                    *(
                        of_function("IteratorAge", name, "Maximum")
                        for name in ("transform", "metrics", "notify")
                    ),
                    of_delivery("KinesisMillisBehindLatest", "raw", "Maximum"),
                ),
                unit="ms",
            ),
            Panel(
                "Age of the lake",
                "Age of the oldest record that a delivery stream has not yet written to its bucket.",
                tuple(
                    of_delivery("DeliveryToS3.DataFreshness", each, "Maximum")
                    for each in DELIVERIES
                ),
                unit="s",
            ),
        ),
    ),
    Row(
        "The books",
        (
            *(
                Panel(
                    f"Books of {function}",
                    "In = delivered + filtered + rejected + failed; failed records come again.",
                    tuple(
                        of_books(metric, function, metric.lower())
                        for metric in ("In", "Delivered", "Filtered", "Rejected", "Failed")
                    ),
                    kind="bars",
                    width=6,
                )
                for function in FUNCTIONS
            ),
            Panel(
                "Unaccounted",
                "Records of which nothing is known. Anything but nought is a defect.",
                tuple(of_books("Unaccounted", function, function) for function in FUNCTIONS),
                kind="number",
                height=5,
            ),
            Panel(
                "Sent again, late, and of unknown severity",
                "Entries that a service refused and that were sent again; events that reached transform later than its "
                "watermark; events of a severity that the data set does not list.",
                (
                    *(
                        of_books("Retried", function, f"{function}: sent again")
                        for function in FUNCTIONS
                    ),
                    of_books("Late", "transform", "late"),
                    of_books("UnknownSeverity", "transform", "of unknown severity"),
                ),
                kind="bars",
                height=5,
            ),
        ),
    ),
    Row(
        "Health",
        (
            Panel(
                "Errors and throttles",
                "Invocations that ended in an error, or that Lambda did not let begin.",
                tuple(
                    of_function(metric, function, "Sum", f"{function}: {metric.lower()}")
                    for metric in ("Errors", "Throttles")
                    for function in FUNCTIONS
                ),
                kind="bars",
            ),
            Panel(
                "Streams",
                "Records in, and requests that a stream refused because a shard was at its limit.",
                tuple(
                    of_stream(metric, stream, label)
                    for stream in (1, 2)
                    for metric, label in (
                        ("IncomingRecords", "in"),
                        ("WriteProvisionedThroughputExceeded", "writes refused"),
                        ("ReadProvisionedThroughputExceeded", "reads refused"),
                    )
                ),
                kind="bars",
            ),
            Panel(
                "Time of an invocation",
                "Longest duration; an invocation ends at its timeout at the latest.",
                tuple(of_function("Duration", function, "Maximum") for function in FUNCTIONS),
                unit="ms",
            ),
            Panel(
                "Rejects and failures",
                "Records that went to rejects, and objects in the failures bucket: batches that were given up.",
                (
                    of_delivery("IncomingRecords", "rejects", "Sum"),
                    Line(
                        "AWS/S3",
                        "PutRequests",
                        {"BucketName": FAILURES_BUCKET, "FilterId": "Failures"},
                        "Sum",
                        "failures",
                    ),
                ),
                kind="bars",
            ),
        ),
    ),
)


def panels() -> list[Panel]:
    return [panel for row in STORY for panel in row.panels]
