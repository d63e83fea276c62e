"""Metrics that AWS makes by itself and the emulator does not.

Those that functions declare in their log, in the embedded metric format, those of queues, and those
of requests to buckets.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ministack.services import cloudwatch, cloudwatch_logs, s3, sqs
from ministack.services.cloudformation import provisioners

log = logging.getLogger("metrics")

# AWS publishes them by the minute. An alarm sees the highest value of a minute in both cases.
QUEUE_SECONDS = 5

own_append = cloudwatch_logs._append_log_events
own_put_object = s3._put_object
own_buckets = dict(provisioners._RESOURCE_HANDLERS["AWS::S3::Bucket"])

# The filters of each bucket's request metrics: their ids and the prefixes of the keys.
filters: dict[str, list[tuple[str, str]]] = {}


@dataclass(frozen=True)
class Datum:
    namespace: str
    name: str
    dimensions: tuple[tuple[str, str], ...]
    at: float  # seconds since 1970
    unit: str
    values: tuple[float, ...]


def install() -> None:
    cloudwatch_logs._append_log_events = append
    s3._put_object = put_object
    provisioners._RESOURCE_HANDLERS["AWS::S3::Bucket"] |= {
        "create": create_bucket,
        "update": update_bucket,
    }
    threading.Thread(target=watch_queues, name="queue metrics", daemon=True).start()


def append(stream: dict[str, Any], events: list[dict[str, Any]]) -> None:
    """Keeps the lines of a log, and publishes the metrics that they declare."""
    own_append(stream, events)
    for event in events:
        for datum in embedded(event["message"]):
            cloudwatch._store_datum(
                datum.namespace,
                datum.name,
                dict(datum.dimensions),
                datum.at,
                datum.unit,
                None,
                datum.values,
                None,
                None,
            )


def embedded(line: str) -> Iterator[Datum]:
    """The metrics that a line of a log declares.

    Source: CloudWatch user guide, "Specification: Embedded metric format".
    """
    if '"_aws"' not in line:
        return
    try:
        document = json.loads(line)
        directive = document["_aws"]
        at = directive["Timestamp"] / 1000
        declared = directive["CloudWatchMetrics"]
    except (ValueError, KeyError, TypeError):
        return  # an ordinary line, as for CloudWatch
    for each in declared:
        for metric in each["Metrics"]:
            found = document.get(metric["Name"])
            values = found if isinstance(found, list) else [found]
            if not all(isinstance(value, int | float) for value in values):
                continue
            for names in each["Dimensions"]:
                if all(isinstance(document.get(name), str) for name in names):
                    yield Datum(
                        each["Namespace"],
                        metric["Name"],
                        tuple((name, document[name]) for name in names),
                        at,
                        metric.get("Unit", "None"),
                        tuple(map(float, values)),
                    )


def watch_queues() -> None:
    """Publishes the metrics of the queues for as long as the local cloud runs."""
    while True:
        time.sleep(QUEUE_SECONDS)
        try:
            publish_queues(time.time())
        except Exception:
            log.exception("the metrics of the queues could not be published")


def publish_queues(now: float) -> None:
    for queue in list(sqs._queues.values()):
        sqs._refresh_counts(queue)
        if not queue["messages"]:
            continue
        of = {"QueueName": queue["name"]}
        oldest = min(message["sent_at"] for message in list(queue["messages"]))
        visible = float(queue["attributes"]["ApproximateNumberOfMessages"])
        for name, value, unit in (
            ("ApproximateNumberOfMessagesVisible", visible, "Count"),
            ("ApproximateAgeOfOldestMessage", now - oldest, "Seconds"),
        ):
            cloudwatch.record_metric("AWS/SQS", name, value, unit, of)


def create_bucket(name: str, properties: dict[str, Any], stack: str) -> Any:
    return with_filters(own_buckets["create"](name, properties, stack), properties)


def update_bucket(
    bucket: str, before: dict[str, Any], properties: dict[str, Any], stack: str
) -> Any:
    return with_filters(own_buckets["update"](bucket, before, properties, stack), properties)


def with_filters(made: Any, properties: dict[str, Any]) -> Any:
    """Keeps the filters of a bucket, which the emulator does not."""
    filters[made[0]] = [
        (each["Id"], each.get("Prefix", "")) for each in properties.get("MetricsConfigurations", [])
    ]
    return made


def put_object(bucket: str, key: str, body: bytes, headers: dict[str, str]) -> Any:
    """Puts an object, and counts the request under each filter that it is in.

    Source: S3 user guide, "Metrics and dimensions": a request counts whatever its answer.
    """
    for name, prefix in filters.get(bucket, []):
        if key.startswith(prefix):
            of = {"BucketName": bucket, "FilterId": name}
            cloudwatch.record_metric("AWS/S3", "PutRequests", 1, "Count", of)
    return own_put_object(bucket, key, body, headers)
