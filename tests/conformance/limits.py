"""Limits of operations that the service models miss, each with the page that states it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.conformance.calls import Call

MIB = 1024 * 1024


@dataclass(frozen=True)
class Limit:
    """A limit that the models miss: what it is of, how much, and the page that says so."""

    operation: str
    text: str
    most: int
    measure: Callable[[Call], int]
    page: str


def exceeded(call: Call) -> Iterator[tuple[Limit, int]]:
    for limit in LIMITS:
        if limit.operation == call.name and (value := limit.measure(call)) > limit.most:
            yield limit, value


def size(value: Any) -> int:
    """Bytes of a text or blob."""
    return len(value.encode() if isinstance(value, str) else value)


def utf16(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def most(values: Iterable[int]) -> int:
    return max(values, default=0)


def record_sizes(call: Call) -> list[int]:
    return [
        size(record["Data"]) + size(record.get("PartitionKey", ""))
        for record in call.parameters["Records"]
    ]


def message_size(message: dict[str, Any]) -> int:
    """Bytes of a message, its subject and its attributes, as SNS counts them."""
    attributes = message.get("MessageAttributes", {})
    return (
        size(message["Message"])
        + size(message.get("Subject", ""))
        + sum(
            size(name)
            + sum(
                size(attribute.get(part, "")) for part in ("DataType", "StringValue", "BinaryValue")
            )
            for name, attribute in attributes.items()
        )
    )


def entries(call: Call) -> list[dict[str, Any]]:
    return call.parameters["PublishBatchRequestEntries"]


def wrong_json(call: Call) -> int:
    """Messages that are declared as JSON without a text for all protocols."""
    declared = [entry for entry in entries(call) if entry.get("MessageStructure") == "json"]
    return sum("default" not in json.loads(entry["Message"]) for entry in declared)


def repeated_ids(call: Call) -> int:
    ids = [entry["Id"] for entry in entries(call)]
    return len(ids) - len(set(ids))


def not_ascii(call: Call) -> int:
    """Names and values of dimensions that are not plain ASCII text, or begin with a colon."""
    texts = [
        (text, part)
        for datum in call.parameters["MetricData"]
        for dimension in datum.get("Dimensions", [])
        for part, text in dimension.items()
    ]
    return sum(
        not (text.isascii() and text.isprintable() and text.strip())
        or (part == "Name" and text.startswith(":"))
        for text, part in texts
    )


KINESIS = "https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html"
FIREHOSE = "https://docs.aws.amazon.com/firehose/latest/APIReference/API_PutRecordBatch.html"
METRICS = "https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricData.html"
DATUM = "https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDatum.html"
DIMENSION = "https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_Dimension.html"
PUBLISH = "https://docs.aws.amazon.com/sns/latest/api/API_PublishBatch.html"
ENTRY = "https://docs.aws.amazon.com/sns/latest/api/API_PublishBatchRequestEntry.html"
PARTITIONS = "https://docs.aws.amazon.com/glue/latest/webapi/API_BatchCreatePartition.html"

LIMITS = (
    Limit(
        "kinesis:PutRecords",
        "it takes 500 records",
        500,
        lambda call: len(call.parameters["Records"]),
        KINESIS,
    ),
    Limit(
        "kinesis:PutRecords",
        "it takes 10 MiB, partition keys included",
        10 * MIB,
        lambda call: sum(record_sizes(call)),
        KINESIS,
    ),
    Limit(
        "kinesis:PutRecords",
        "a record takes 1 MiB, its partition key included",
        MIB,
        lambda call: most(record_sizes(call)),
        KINESIS,
    ),
    Limit(
        "kinesis:PutRecords",
        "each record has a partition key",
        0,
        lambda call: sum(not record.get("PartitionKey") for record in call.parameters["Records"]),
        KINESIS,
    ),
    Limit(
        "firehose:PutRecordBatch",
        "it takes 500 records",
        500,
        lambda call: len(call.parameters["Records"]),
        FIREHOSE,
    ),
    Limit(
        "firehose:PutRecordBatch",
        "it takes 4 MiB",
        4 * MIB,
        lambda call: sum(record_sizes(call)),
        FIREHOSE,
    ),
    Limit(
        "firehose:PutRecordBatch",
        "a record takes 1,000 KiB",
        1000 * 1024,
        lambda call: most(record_sizes(call)),
        FIREHOSE,
    ),
    Limit(
        "cloudwatch:PutMetricData",
        "it takes 1,000 data",
        1000,
        lambda call: len(call.parameters["MetricData"]),
        METRICS,
    ),
    Limit(
        "cloudwatch:PutMetricData",
        "it takes 1 MB",
        MIB,
        lambda call: len(call.request.body),
        METRICS,
    ),
    Limit(
        "cloudwatch:PutMetricData",
        "a datum takes 150 values",
        150,
        lambda call: most(len(datum.get("Values", [])) for datum in call.parameters["MetricData"]),
        DATUM,
    ),
    Limit(
        "cloudwatch:PutMetricData",
        "a datum has as many counts as values",
        0,
        lambda call: sum(
            "Counts" in datum and len(datum["Counts"]) != len(datum["Values"])
            for datum in call.parameters["MetricData"]
        ),
        DATUM,
    ),
    Limit(
        "cloudwatch:PutMetricData",
        "dimensions are printable ASCII and begin with no colon",
        0,
        not_ascii,
        DIMENSION,
    ),
    Limit("sns:PublishBatch", "it takes 10 messages", 10, lambda call: len(entries(call)), PUBLISH),
    Limit(
        "sns:PublishBatch",
        "it takes 256 KiB",
        256 * 1024,
        lambda call: sum(map(message_size, entries(call))),
        PUBLISH,
    ),
    Limit("sns:PublishBatch", "each message has an id of its own", 0, repeated_ids, PUBLISH),
    Limit(
        "sns:PublishBatch",
        "a subject has fewer than 100 characters",
        99,
        lambda call: most(utf16(entry.get("Subject", "")) for entry in entries(call)),
        ENTRY,
    ),
    Limit(
        "sns:PublishBatch",
        "a subject has no line break or control character",
        0,
        lambda call: sum(not entry.get("Subject", "").isprintable() for entry in entries(call)),
        ENTRY,
    ),
    Limit(
        "sns:PublishBatch", "a message of structure json has a default text", 0, wrong_json, ENTRY
    ),
    Limit(
        "glue:BatchCreatePartition",
        "it takes 100 partitions",
        100,
        lambda call: len(call.parameters["PartitionInputList"]),
        PARTITIONS,
    ),
)
