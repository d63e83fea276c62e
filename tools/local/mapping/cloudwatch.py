"""What Lambda reports to CloudWatch about functions and mappings: their logs and metrics."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

# https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html
REQUEST_BYTES, EVENT_BYTES, REQUEST_EVENTS = 1_048_576, 26, 10_000
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDatum.html
DISTINCT_VALUES = 150


class LogStream:
    """The log stream of a container."""

    def __init__(self, client: Any, group: str, stream: str, say: Callable[[str], None]) -> None:
        self._client = client
        self._group = group
        self._stream = stream
        self._say = say
        self._is_created = False

    def __call__(self, lines: list[str]) -> None:
        names = {"logGroupName": self._group, "logStreamName": self._stream}
        try:
            if not self._is_created:
                self._client.create_log_stream(**names)
                self._is_created = True
            for events in requests(lines):
                self._client.put_log_events(**names, logEvents=events)
        except (BotoCoreError, ClientError) as error:
            self._say(f"{len(lines)} lines of {self._group} could not be logged: {error}")


def requests(lines: list[str]) -> Iterator[list[dict[str, Any]]]:
    """The lines as events, in requests of at most the allowed size."""
    now = int(time.time() * 1e3)
    events: list[dict[str, Any]] = []
    size = 0
    for line in filter(None, lines):
        own = len(line.encode()) + EVENT_BYTES
        if events and (size + own > REQUEST_BYTES or len(events) == REQUEST_EVENTS):
            yield events
            events, size = [], 0
        events.append({"timestamp": now, "message": line})
        size += own
    if events:
        yield events


Series = tuple[str, str, str]  # the metric, and the name and value of its dimension


class Metrics:
    """Collects metrics of the namespace AWS/Lambda, and sends them once a second."""

    def __init__(self, client: Any, say: Callable[[str], None]) -> None:
        self._client = client
        self._say = say
        self._lock = threading.Lock()
        self._values: dict[Series, Counter[float]] = {}
        self._units: dict[Series, str] = {}

    def count(self, metric: str, value: float, function: str) -> None:
        self._add((metric, "FunctionName", function), value, "Count")

    def count_mapping(self, metric: str, value: float, mapping: str) -> None:
        self._add((metric, "EventSourceMappingUUID", mapping), value, "Count")

    def add_sample(self, metric: str, milliseconds: float, function: str) -> None:
        """A time, to the millisecond."""
        self._add((metric, "FunctionName", function), round(milliseconds), "Milliseconds")

    def _add(self, series: Series, value: float, unit: str) -> None:
        with self._lock:
            self._values.setdefault(series, Counter())[value] += 1
            self._units[series] = unit

    def flush(self) -> None:
        with self._lock:
            values, self._values = self._values, {}
        data = [datum for series, counts in values.items() for datum in self._data(series, counts)]
        try:
            if data:
                self._client.put_metric_data(Namespace="AWS/Lambda", MetricData=data)
        except (BotoCoreError, ClientError) as error:
            self._say(f"the metrics of a second could not be sent: {error}")

    def _data(self, series: Series, counts: Counter[float]) -> Iterator[dict[str, Any]]:
        metric, name, value = series
        items = list(counts.items())
        for begin in range(0, len(items), DISTINCT_VALUES):
            part = items[begin : begin + DISTINCT_VALUES]
            yield {
                "MetricName": metric,
                "Dimensions": [{"Name": name, "Value": value}],
                "Unit": self._units[series],
                "Values": [each for each, _ in part],
                "Counts": [float(times) for _, times in part],
            }
