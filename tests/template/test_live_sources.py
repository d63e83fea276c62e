"""Where the numbers of the live page come from, and what happens while it reads them."""

from __future__ import annotations

import threading
from contextlib import nullcontext
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.template.live_events import ACCIDENTS, BEGAN, view_of
from tools.live import cloudwatch
from tools.live.feed import Feed
from tools.live.sources import Gone, rejected_rows
from tools.live.watch import watch
from tools.local import cloud
from tools.local.alert_queue import AlertQueue
from tools.local.commands import CommandError
from tools.local.stack import Stack, StreamReader

NAMES = cloudwatch.Names("us_accidents", "prod", "us-accidents-ingest-prod", "alerts")


def test_each_count_is_asked_by_the_names_of_the_stack() -> None:
    asked = {each["Id"]: each["MetricStat"] for each in cloudwatch.count_queries(NAMES)}
    assert asked["severe"]["Metric"] == {
        "Namespace": "perishable",
        "MetricName": "Delivered",
        "Dimensions": [
            {"Name": "Dataset", "Value": "us_accidents"},
            {"Name": "Environment", "Value": "prod"},
            {"Name": "Function", "Value": "transform"},
        ],
    }
    raw = asked["raw"]["Metric"]["Dimensions"]
    assert raw == [{"Name": "DeliveryStreamName", "Value": "us-accidents-raw-prod"}]


def test_only_the_series_by_severity_are_added() -> None:
    def series(**values: str) -> dict[str, Any]:
        return {"Dimensions": [{"Name": name, "Value": text} for name, text in values.items()]}

    metrics = [
        series(severity_accident="4"),
        series(severity_accident="3"),
        series(severity_accident="4", county_accident="Franklin"),
        series(severity_accident="other"),
    ]
    assert cloudwatch.severity_texts(ACCIDENTS, metrics) == ["3", "4", "other"]


def test_the_pages_of_an_answer_are_added() -> None:
    results = [
        {"Id": "severe", "Values": [3.0, 4.0]},
        {"Id": "raw", "Values": []},
        {"Id": "severe", "Values": [5.0]},
    ]
    assert cloudwatch.sums(results) == {"severe": 12, "raw": 0}


def test_the_latest_percentile_is_shown() -> None:
    early, late = BEGAN, BEGAN + timedelta(minutes=5)
    results = [
        {"Id": "p50", "Timestamps": [early, late], "Values": [700.0, 820.4]},
        {"Id": "p99", "Timestamps": [], "Values": []},
    ]
    assert cloudwatch.latest(results) == {"p50": 820, "p99": None}


def test_seconds_are_counted_by_severity_and_what_is_not_listed_is_above() -> None:
    results = [
        {"Id": "s0", "Timestamps": [BEGAN], "Values": [2.0]},
        {"Id": "s1", "Timestamps": [BEGAN, BEGAN], "Values": [1.0, 0.0]},
    ]
    second = int(BEGAN.timestamp())
    found = cloudwatch.by_second(ACCIDENTS, ["4", "other"], results)
    assert found == {(second, 4): 2, (second, 5): 1}


def test_a_reject_in_parts_is_counted_once() -> None:
    rejects = [{}, {"row_count": 5}, {"part": 1, "row_count": None}, {"part": 2, "row_count": 7}]
    assert [rejected_rows(each) for each in rejects] == [1, 5, 1, 0]


class Scripted:
    """A source that does what a list says, and then stops the watch."""

    slow_seconds = 0

    def __init__(self, steps: list[Any], stop: threading.Event, repeatable: bool) -> None:
        self.view, self.place = view_of(), "here"
        self.steps, self.stop, self.repeatable = steps, stop, repeatable
        self.closed = 0

    def fast(self) -> None:
        if not self.steps:
            self.stop.set()
        elif (step := self.steps.pop(0)) is not None:
            raise step

    def slow(self) -> None:
        """Finds nothing."""

    def close(self) -> None:
        self.closed += 1


def watched(
    monkeypatch: pytest.MonkeyPatch, plan: list[Any], repeatable: bool = False
) -> tuple[list[str], list[Scripted]]:
    """What is said while a plan of connections happens, and the sources that were made."""
    monkeypatch.setattr("tools.live.watch.PAUSE_SECONDS", 0)
    monkeypatch.setattr("tools.live.watch.RETRY_SECONDS", 0)
    stop, said, made = threading.Event(), [], []

    def connect() -> Any:
        step = plan.pop(0)
        if isinstance(step, Exception):
            raise step
        made.append(Scripted(step, stop, repeatable))
        return made[-1]

    watch(Feed(), connect, stop, said.append)
    return said, made


LOST = ClientError({"Error": {"Code": "ExpiredIteratorException", "Message": "lost"}}, "GetRecords")


def test_it_waits_for_a_stack_and_says_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = cloud.CloudError("there is no local cloud")
    said, (source,) = watched(monkeypatch, [nothing, nothing, nothing, []])
    assert said == ["live: waiting: there is no local cloud", "live: watching here"]
    assert source.closed == 1


def test_it_connects_again_if_a_stack_goes_and_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = [[None, Gone("it was removed")], CommandError("no stack"), []]
    said, sources = watched(monkeypatch, plan, repeatable=True)
    assert said == [
        "live: watching here",
        "live: it was removed",
        "live: waiting: no stack",
        "live: watching here",
    ]
    assert [source.closed for source in sources] == [1, 1]


@pytest.mark.parametrize(("repeatable", "sources"), [(False, 2), (True, 1)])
def test_a_reading_that_failed_is_repeated_or_all_is_read_again(
    repeatable: bool, sources: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, made = watched(monkeypatch, [[None, LOST, None], []], repeatable)
    assert len(made) == sources
    assert all(source.closed == 1 for source in made)


def test_the_queue_is_removed_after_a_defect_too(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Scripted] = []

    def connect() -> Any:
        made.append(Scripted([ZeroDivisionError()], threading.Event(), True))
        return made[-1]

    with pytest.raises(ZeroDivisionError):
        watch(Feed(), connect, threading.Event(), print)
    assert made[0].closed == 1


class Busy:
    """A stream of one shard that gets a record during every call."""

    def __init__(self, waiting: int) -> None:
        self.waiting, self.calls = waiting, 0

    def get_paginator(self, _: str) -> Any:
        shards = [{"Shards": [{"ShardId": "0"}]}]
        return SimpleNamespace(paginate=lambda **_: shards)

    def get_shard_iterator(self, **_: Any) -> dict[str, Any]:
        return {"ShardIterator": "next"}

    def get_records(self, ShardIterator: str, Limit: int) -> dict[str, Any]:  # noqa: N803
        self.calls += 1
        read = min(Limit, self.waiting)
        self.waiting += 1 - read
        behind = 1_000 if self.waiting > 1 else 0
        records = [{"Data": b"{}"}] * read
        return {"Records": records, "NextShardIterator": "next", "MillisBehindLatest": behind}


@pytest.mark.parametrize(("waiting", "calls"), [(0, 1), (5, 1), (10_000, 2), (25_000, 3)])
def test_reading_a_busy_stream_comes_to_an_end(waiting: int, calls: int) -> None:
    kinesis = Busy(waiting)
    found = sum(1 for _ in StreamReader(kinesis, "stream").new())
    assert kinesis.calls == calls
    assert found >= waiting


class Service:
    """A client whose calls are noted, and fail with the given codes."""

    def __init__(self, failures: dict[str, str]) -> None:
        self.calls: list[str] = []
        self._failures = failures

    def __getattr__(self, name: str) -> Any:
        def call(**_: Any) -> dict[str, Any]:
            self.calls.append(name)
            if code := self._failures.get(name):
                raise ClientError({"Error": {"Code": code, "Message": "failed"}}, name)
            attributes = {"QueueArn": "arn"}
            return {"QueueUrl": "url", "SubscriptionArn": "arn", "Attributes": attributes}

        return call


def test_a_queue_that_cannot_subscribe_is_removed() -> None:
    service = Service({"subscribe": "AuthorizationError"})
    with pytest.raises(ClientError):
        AlertQueue(Stack(ACCIDENTS, {"AlertTopicArn": "topic"}, lambda _: service), "queue")
    assert service.calls[0] == "create_queue"
    assert service.calls[-1] == "delete_queue"


@pytest.mark.parametrize(("code", "is_error"), [("NotFound", False), ("Throttled", True)])
def test_a_queue_is_removed_although_its_topic_is_gone(code: str, is_error: bool) -> None:
    service = Service({"unsubscribe": code})
    outputs = {"AlertTopicArn": "topic", "AlarmTopicArn": "alarms"}
    queue = AlertQueue(Stack(ACCIDENTS, outputs, lambda _: service), "queue")
    with pytest.raises(ClientError) if is_error else nullcontext():
        queue.close()
    assert service.calls[-3:] == ["unsubscribe", "unsubscribe", "delete_queue"]
