"""Where the live page's numbers come from: the services of a local cloud, or CloudWatch.

A source reads in two steps, since alerts are urgent and the lake is not. It takes its readings into
its view under the lock of the feed.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from datetime import timedelta
from threading import Lock
from typing import Any

import duckdb
from botocore.exceptions import BotoCoreError, ClientError

from tools.live import cloudwatch
from tools.live.atlas import Atlas
from tools.live.view import Stage, View
from tools.local import where
from tools.local.alert_queue import AlertQueue
from tools.local.commands import say
from tools.local.dataset import Dataset
from tools.local.stack import Stack, StreamReader, json_object, now

# What a stream of the local cloud keeps.
RETENTION = timedelta(days=1)
HOUR = 3600


class Gone(Exception):
    """The stack that was watched is not there any more, or another is."""


class Source(ABC):
    """A deployed stack, with a temporary queue that gets its alerts."""

    slow_seconds: float
    # Whether a reading that failed in the middle can be repeated as it is.
    repeatable: bool

    def __init__(self, place: where.Place, lock: Lock) -> None:
        self.place = place
        self.lock = lock
        self._stack_id = identity(place)
        outputs = place.outputs()
        if "DatasetName" not in outputs:
            raise Gone(f"the stack {place.stack} is still being made")
        self.stack = Stack(Dataset.load(place.dataset), outputs, place.client)
        dataset = self.stack.dataset
        self.view = View(
            dataset=dataset,
            atlas=Atlas.of(dataset.region),
            severe_above=self.stack.severity_above("Transform"),
            stages=self.stages(),
        )
        self.prepare()
        # Last, so that nothing fails after it is made. Its name is unique, since several people may
        # watch one stack, and has at most 80 characters.
        self._queue_name = f"{place.stack[:50]}-live-{time.time_ns():x}"
        self._queue = AlertQueue(self.stack, self._queue_name)

    @abstractmethod
    def prepare(self) -> None:
        """Finds what there is to read."""

    @abstractmethod
    def stages(self) -> list[Stage]:
        """The counts on the page."""

    @abstractmethod
    def fast(self) -> None:
        """Reads what is urgent."""

    @abstractmethod
    def slow(self) -> None:
        """Reads the rest."""

    def check(self) -> None:
        """Fails if the stack is not the one that was connected to."""
        if identity(self.place) != self._stack_id:
            raise Gone(f"the stack {self.place.stack} was removed or made again")

    def close(self) -> None:
        """Removes the queue and its subscriptions."""
        try:
            self._queue.close()
        except (BotoCoreError, ClientError) as error:
            if self.place.local:
                return  # it is gone with the local cloud
            say(
                f"error: the queue {self._queue_name} or its subscription could not be removed: "
                f"{error}; remove them by `aws sqs delete-queue --queue-url {self._queue.url}` "
                "and `aws sns unsubscribe`"
            )
        else:
            say(f"live: removed the queue {self._queue_name}")


def identity(place: where.Place) -> str | None:
    """What differs between a stack and a new one of its name."""
    deployed = place.deployed()
    return deployed and f"{deployed['StackId']} {deployed['CreationTime']}"


class Services(Source):
    """The services of a local cloud: every record of its streams, every object of its lake."""

    slow_seconds = 2
    # What was read of a stream would be missing; a new source reads everything again.
    repeatable = False

    def prepare(self) -> None:
        stack = self.stack
        self._raw, self._severe = stack.raw_stream(), stack.severe_stream()
        self._tables = {
            name: Table(stack, stack.outputs[f"{name.capitalize()}TableName"])
            for name in ("raw", "analytical", "rejects", "alerts")
        }
        self._rows = {"raw": 0, "analytical": 0, "rejects": 0}
        self._since = now() - RETENTION

    def stages(self) -> list[Stage]:
        outputs = self.stack.outputs
        return [
            Stage("accepted", "taken in", outputs["RawStreamName"]),
            Stage("raw", "raw layer", outputs["RawTableName"], "accepted"),
            Stage("rejected", "rejected", outputs["RejectsTableName"]),
            Stage("severe", "severe", outputs["SevereStreamName"], "severe_accepted"),
            Stage("analytical", "analytical layer", outputs["AnalyticalTableName"], "severe"),
            Stage("counted", "in CloudWatch", self.stack.dataset.metric, "severe"),
            Stage("alerted", "alerted", self.stack.alert_topic.rpartition(":")[2]),
            Stage("messages", "messages", self.stack.alert_topic.rpartition(":")[2]),
            Stage("recorded", "alerts table", outputs["AlertsTableName"], "alerted"),
        ]

    def fast(self) -> None:
        # Upstream last, so that no stage seems to have more than its source.
        alerts = list(self._queue.new())
        severe = list(events(self._severe))
        raw = list(events(self._raw))
        with self.lock:
            view = self.view
            view.take_events(raw)
            view.take_severe(severe)
            for alert in alerts:
                view.take_alert(alert.message_id, alert)
            view.counts |= {
                "accepted": view.accepted,
                "severe_accepted": view.severe_accepted,
                "severe": view.severe,
                "alerted": view.alerted,
                "messages": view.messages,
            }

    def slow(self) -> None:
        self.check()
        rows = sorted(self._tables["alerts"].rows(), key=lambda row: row["alerted_at"])
        self._rows["analytical"] += self._tables["analytical"].parquet_rows()
        self._rows["raw"] += sum(1 for _ in self._tables["raw"].lines())
        self._rows["rejects"] += sum(map(rejected_rows, self._tables["rejects"].rows()))
        counted = self._counted()
        with self.lock:
            for row in rows:
                self.view.take_row(row)
            self.view.counts |= {
                "raw": self._rows["raw"],
                "rejected": self._rows["rejects"],
                "analytical": self._rows["analytical"],
                "counted": counted,
                "alerted": self.view.alerted,
                "messages": self.view.messages,
                "recorded": self.view.recorded,
            }

    def _counted(self) -> int:
        dataset = self.stack.dataset
        texts = cloudwatch.severity_texts(dataset, self.stack.metrics())
        queries = cloudwatch.severity_queries(dataset, texts, HOUR)
        return sum(cloudwatch.sums(self.stack.metric_data(queries, self._since)).values())


class Metrics(Source):
    """CloudWatch's metrics of the last hour, and the alerts since the queue was made."""

    slow_seconds = 10
    repeatable = True

    def prepare(self) -> None:
        # They come a minute or two after the events.
        self.view.fresh_seconds = 180
        outputs = self.stack.outputs
        function = outputs["IngestFunctionName"]
        self._names = cloudwatch.Names(
            dataset=self.stack.dataset.name,
            environment=function.rpartition("-")[2],
            function=function,
            topic=self.stack.alert_topic.rpartition(":")[2],
        )

    def stages(self) -> list[Stage]:
        return [
            Stage("accepted", "taken in", "ingest, in the last hour"),
            Stage("raw", "raw layer", "Firehose, in the last hour"),
            Stage("rejected", "rejected", "ingest, in the last hour"),
            Stage("severe", "severe", "transform, in the last hour"),
            Stage("analytical", "analytical layer", "Firehose, in the last hour"),
            Stage("counted", "in CloudWatch", f"{self.stack.dataset.metric}, in the last hour"),
            Stage("alerted", "alerted", "notify, in the last hour"),
            Stage("messages", "messages", "SNS, in the last hour"),
        ]

    def fast(self) -> None:
        for alert in self._queue.new():
            with self.lock:
                self.view.take_alert(alert.message_id, alert, is_mapped=True)

    def slow(self) -> None:
        self.check()
        dataset, stack, at = self.stack.dataset, self.stack, now()
        texts = cloudwatch.severity_texts(dataset, stack.metrics())
        counts = cloudwatch.count_queries(self._names)
        counts += cloudwatch.severity_queries(dataset, texts, cloudwatch.MINUTE)
        sums = cloudwatch.sums(stack.metric_data(counts, at - cloudwatch.WINDOW))
        sums["counted"] = sum(sums.pop(f"s{place}", 0) for place in range(len(texts)))
        queries = cloudwatch.latency_queries(dataset, self._names)
        within = cloudwatch.latest(stack.metric_data(queries, at - cloudwatch.WINDOW))
        queries = cloudwatch.severity_queries(dataset, texts, cloudwatch.SECOND)
        seconds = list(stack.metric_data(queries, at - cloudwatch.CHART))
        with self.lock:
            self.view.counts |= sums
            self.view.within = {name: within.get(name) for name in ("p50", "p99")}
            self.view.by_second = cloudwatch.by_second(dataset, texts, seconds)


class Table:
    """The objects of a table, each read once."""

    def __init__(self, stack: Stack, name: str) -> None:
        self._s3 = stack.client("s3")
        table = stack.client("glue").get_table(
            DatabaseName=stack.outputs["GlueDatabaseName"], Name=name
        )["Table"]
        location = table["StorageDescriptor"]["Location"]
        self._bucket, _, self._prefix = location.removeprefix("s3://").partition("/")
        self._read: set[str] = set()

    def objects(self) -> Iterator[bytes]:
        """The objects that were not there the last time."""
        pages = self._s3.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._prefix
        )
        keys = [each["Key"] for page in pages for each in page.get("Contents", [])]
        for key in keys:
            if key not in self._read:
                yield self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].read()
                self._read.add(key)

    def lines(self) -> Iterator[str]:
        for body in self.objects():
            data = gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body
            yield from filter(str.strip, data.decode(errors="replace").split("\n"))

    def rows(self) -> Iterator[dict[str, Any]]:
        return map(json.loads, self.lines())

    def parquet_rows(self) -> int:
        return sum(map(parquet_rows, self.objects()))


def events(reader: StreamReader) -> Iterator[dict[str, Any]]:
    """What has come on a stream; a record that is not an event is empty."""
    return (json_object(data.decode(errors="replace")) for data in reader.new())


def rejected_rows(reject: dict[str, Any]) -> int:
    """How many rows a reject is about; its first part counts for all of them."""
    return int(reject.get("row_count") or 1) if int(reject.get("part") or 1) == 1 else 0


def parquet_rows(body: bytes) -> int:
    with (
        tempfile.NamedTemporaryFile(suffix=".parquet") as file,
        contextlib.closing(duckdb.connect()) as database,
    ):
        file.write(body)
        file.flush()
        (rows,) = database.execute(
            "select num_rows from parquet_file_metadata(?)", [file.name]
        ).fetchone() or (0,)
        return rows


def connect(place: where.Place, lock: Lock) -> Source:
    """The source for a place: the local cloud's services can be asked as often as one likes."""
    return (Services if place.local else Metrics)(place, lock)
