"""Metrics that AWS makes by itself and the emulator does not.

Those that functions declare in their log, in the embedded metric format, and those of queues.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ministack.services import cloudwatch, cloudwatch_logs, sqs

log = logging.getLogger("metrics")

# AWS publishes them by the minute. An alarm sees the highest value of a minute in both cases.
QUEUE_SECONDS = 15

own_append = cloudwatch_logs._append_log_events


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
