"""The live page without services: the map, the view of a run, and what browsers are sent."""

from __future__ import annotations

import asyncio
import json
import random
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tools.live import __main__ as live
from tools.live import cloudwatch, figures, outline, server
from tools.live.atlas import OUTLINE, Atlas, united_states
from tools.live.feed import Feed
from tools.live.sources import Gone, rejected_rows
from tools.live.view import KEPT_ALERTS, KEPT_POINTS, Stage, View
from tools.live.watch import watch
from tools.local import cloud
from tools.local.commands import CommandError
from tools.local.stack import Alert, AlertQueue, Dataset, Stack, StreamReader

ACCIDENTS = Dataset.load("us_accidents")
TICKETS = Dataset.load("support_tickets")
BEGAN = datetime(2026, 7, 14, 9, 30, tzinfo=timezone.utc)
HOSTILE = '</script><img src=x onerror="alert(1)">'


def view_of(dataset: Dataset = ACCIDENTS) -> View:
    stages = [Stage("accepted", "taken in", "a"), Stage("raw", "raw layer", "b", "accepted")]
    return View(dataset, Atlas.of(dataset.region), severe_above=2, stages=stages)


def event(number: int, severity: Any = 3, **others: Any) -> dict[str, Any]:
    return {
        "ID": f"A-{number}",
        "Severity": severity,
        "City": "Dublin",
        "County": "Franklin",
        "Start_Lat": 40.1,
        "Start_Lng": -83.1,
        "Txn_Timestamp": (BEGAN + timedelta(seconds=number)).isoformat().replace("+00:00", "Z"),
        **others,
    }


def alert(number: int, count: int = 1, **content: Any) -> Alert:
    ids = [f"A-{number + each}" for each in range(count)]
    content = {"count": count, "ids": ids, "severity": 4, "text": "text", **content}
    return Alert(
        subject=f"alert {number}",
        message=json.dumps(content),
        content=content,
        attributes={},
        received=BEGAN + timedelta(seconds=number, milliseconds=700),
        message_id=f"m-{number}",
    )


def row(number: int, count: int = 1) -> dict[str, Any]:
    return {
        "alerted_at": "2026-07-14 09:30:07.123",
        "severity": 4,
        "event_count": count,
        "subject": f"alert {number}",
        "message_id": f"m-{number}",
        "latency_ms": 650,
    }


# ------------------------------------------------------------------------------------- the map


def vertices(path: str) -> Iterator[tuple[float, float]]:
    """The points of a path in units of the map."""
    for start, steps in re.findall(r"M([-\d ]+)l([-\d ]*)", path):
        numbers = [int(each) for each in re.findall(r"-?\d+", f"{start} {steps}")]
        x = y = 0
        for dx, dy in zip(numbers[::2], numbers[1::2]):
            x, y = x + dx, y + dy
            yield x / 10, y / 10


@pytest.mark.parametrize(
    ("corner", "latitude", "longitude"),
    [
        ("of Utah, Colorado, Arizona and New Mexico", 36.999, -109.045),
        ("of Colorado, Nebraska and Wyoming", 41.002, -104.053),
        ("of Missouri, Iowa and Nebraska", 40.585, -95.765),
        ("of Georgia, Alabama and Tennessee", 34.985, -85.605),
        ("of New York, Vermont and Massachusetts", 42.745, -73.265),
    ],
)
def test_where_borders_meet_is_there_on_the_outline(
    corner: str, latitude: float, longitude: float
) -> None:
    place = united_states(latitude, longitude)
    assert place is not None
    borders = json.loads(OUTLINE.read_text(encoding="utf-8"))["borders"]
    nearest = min(abs(x - place[0]) + abs(y - place[1]) for x, y in vertices(borders))
    assert nearest < 2, corner


def test_alaska_and_hawaii_are_in_the_corner() -> None:
    land = json.loads(OUTLINE.read_text(encoding="utf-8"))["land"]
    points = list(vertices(land))
    for latitude, longitude in [(61.2, -149.9), (21.3, -157.86), (53.9, -166.5)]:
        place = united_states(latitude, longitude)
        assert place is not None
        assert place[0] < 300 < 450 < place[1]
        assert min(abs(x - place[0]) + abs(y - place[1]) for x, y in points) < 15


@pytest.mark.parametrize(
    "place",
    [
        (None, None),
        ("", "-83"),
        ("north", "-83"),
        (float("nan"), -83),
        (float("inf"), -83),
        (95, -83),
        (40, 200),
        (51.5, 0.0),  # London
        (-33.9, 151.2),  # Sydney
        (35.7, 139.7),  # Tokyo
        ([40], -83),
    ],
)
def test_what_has_no_place_in_the_country_is_not_on_its_map(place: tuple[Any, Any]) -> None:
    assert Atlas.of("us").place(*place) is None


def test_any_numbers_are_on_a_map_or_not() -> None:
    chance = random.Random(1)
    for atlas in (Atlas.of("us"), Atlas.of("emea")):
        for _ in range(5_000):
            place = atlas.place(chance.uniform(-100, 100), chance.uniform(-200, 200))
            assert place is None or (0 <= place[0] <= 975 and -1000 <= place[1] <= 2000)


def test_a_map_of_another_region_has_no_outline() -> None:
    berlin, london = (Atlas.of("emea").place(*place) for place in ((52.5, 13.4), (51.5, 0.0)))
    assert Atlas.of("emea").outline is None
    assert berlin is not None
    assert london is not None
    assert berlin[0] > london[0]  # east is right
    assert berlin[1] < london[1]  # north is up


def test_the_outline_is_small_and_names_its_source() -> None:
    assert OUTLINE.stat().st_size < 40_000
    assert "public domain" in json.loads(OUTLINE.read_text(encoding="utf-8"))["source"]


def test_a_simplified_line_stays_near_the_line() -> None:
    chance = random.Random(2)
    for _ in range(50):
        line = [(x, chance.gauss(0, 2)) for x in range(60)]
        kept = outline.simplify(line, 1.5)
        assert (kept[0], kept[-1]) == (line[0], line[-1])
        assert len(kept) < len(line)
        for point in line:
            distances = [outline.distance(point, *segment) for segment in pairwise(kept)]
            assert min(distances) <= 1.5


def test_a_border_of_two_states_is_drawn_once() -> None:
    # Two squares side by side; the arc between them is used by both.
    topology = {
        "transform": {"scale": [1, 1], "translate": [0, 0]},
        "arcs": [[[10, 0], [0, 10]], [[10, 10], [-10, 0], [0, -10], [10, 0]],
                 [[10, 0], [10, 0], [0, 10], [-10, 0]]],
        "objects": {
            "states": {"geometries": [{"type": "Polygon", "arcs": [[0, 1]]},
                                      {"type": "Polygon", "arcs": [[2, -1]]}]},
            "nation": {"geometries": [{"type": "MultiPolygon", "arcs": [[[2, 1]]]}]},
        },
    }  # fmt: skip
    drawn = outline.outline(topology)
    assert drawn["borders"] == "M100 0l0 100"
    assert drawn["land"].count("M") == 1


# ------------------------------------------------------------------------------------ the view


def test_events_are_counted_by_second_and_severity_and_placed() -> None:
    view = view_of()
    view.take_events([event(0, 2), event(0, 3), event(1, "4"), event(1, 4, Start_Lat=None)])
    assert view.accepted == 4
    assert view.severe_accepted == 3
    first = int(BEGAN.timestamp())
    assert view.by_second == {(first, 2): 1, (first, 3): 1, (first + 1, 4): 2}
    points = view.news(0, 0)["points"]
    assert [point[2:] for point in points] == [
        [0, ""],
        [3, "Dublin, Franklin"],
        [4, "Dublin, Franklin"],
    ]
    assert view.unplaced == 1


def test_what_is_not_an_event_is_counted_and_otherwise_ignored() -> None:
    view = view_of()
    broken = [{}, event(0, None), event(0, "high"), event(0, 3.5), event(0, Txn_Timestamp="noon")]
    view.take_events(broken)
    view.take_severe(broken)
    assert (view.accepted, view.severe) == (5, 5)
    assert view.news(0, 0)["points"] == []
    view.summary(BEGAN)


def test_the_page_keeps_the_latest_and_the_totals() -> None:
    view = view_of()
    for start in range(0, 8_000, 1_000):
        view.take_events(event(start + each, 4) for each in range(1_000))
    for number in range(200):
        view.take_alert(f"m-{number}", alert(number))
    news = view.news(0, 0)
    assert len(news["points"]) == KEPT_POINTS
    assert len(news["alerts"]) == KEPT_ALERTS
    assert news["alerts"][-1]["subject"] == "alert 199"
    assert news["next"] == [8_000, 200]
    assert (view.accepted, view.alerted) == (8_000, 200)
    assert len(view.by_second) <= 181


def test_a_browser_gets_each_point_and_alert_once() -> None:
    view, chance = view_of(), random.Random(3)
    points, alerts, cursor = [], [], (0, 0)
    for number in range(300):
        view.take_events([event(number, 4)])
        view.take_alert(f"m-{number}", alert(number))
        if chance.random() < 0.2 or number == 299:
            news = view.news(*cursor)
            points += news["points"]
            alerts += [each["subject"] for each in news["alerts"]]
            cursor = news["next"]
    assert len(points) == 300
    assert alerts == [f"alert {number}" for number in range(300)]


def test_an_alert_is_counted_once_from_the_queue_and_the_table() -> None:
    """In any order, with repeats, and with several rows for one message."""
    chance = random.Random(4)
    for _ in range(200):
        view = view_of()
        taken = [("alert", n) for n in range(6)] + [("row", n) for n in range(3, 9)] * 1
        taken += [("second row", n) for n in (4, 7)] + [("alert", 2)]
        chance.shuffle(taken)
        for kind, number in taken:
            both = 2 if number in (4, 7) else 1
            if kind == "alert":
                view.take_alert(f"m-{number}", alert(number, both))
            else:
                view.take_row(row(number))
        assert view.alerted == 11
        assert view.messages == 9
        assert view.recorded == 8
        shown = [each["subject"] for each in view.news(0, 0)["alerts"]]
        assert sorted(shown) == [f"alert {number}" for number in range(9)]


def test_rows_without_an_id_are_counted_each() -> None:
    view = view_of()
    for _ in range(2):
        view.take_row({**row(1), "message_id": None})
    assert (view.alerted, view.messages) == (2, 2)


def test_the_latency_is_from_the_stamp_on_stream_2() -> None:
    view = view_of()
    view.take_severe([event(7), event(8)])
    view.take_alert("m", alert(7, 2))
    assert list(view.latencies_ms) == [700, -300]
    view.take_alert("n", alert(20, at=BEGAN.isoformat()))
    assert list(view.latencies_ms)[2:] == [20_700]
    view.take_alert("o", alert(30))
    assert view.news(0, 0)["alerts"][-1]["latency_ms"] is None


def test_the_places_in_alerts_are_mapped_if_nothing_else_has_them() -> None:
    view, details = view_of(), {"Street": "I-70", "Start_Lat": 40.1, "Start_Lng": -83.1}
    view.take_alert("m", alert(1, details=details), is_mapped=True)
    digest = alert(2, 3, events=[{"id": "A-2", "details": details}, {"id": "A-3"}])
    view.take_alert("n", digest, is_mapped=True)
    assert [point[2:] for point in view.news(0, 0)["points"]] == [[4, "alert 1"], [4, "alert 2"]]


def test_the_words_of_an_alert_leave_out_its_place() -> None:
    view = view_of()
    details = {"Start_Time": "2022-01-01T10:00:00", "Street": HOSTILE, "Start_Lat": 40.1}
    view.take_alert("m", alert(1, severity=[3, 4], details=details))
    shown = view.news(0, 0)["alerts"][0]
    assert shown["details"] == f"2022-01-01T10:00:00 · {HOSTILE}"
    assert shown["rank"] == 4


def test_a_count_says_how_far_it_is_behind() -> None:
    view = view_of()
    view.counts |= {"accepted": 10, "raw": 7}
    counts = view.summary(BEGAN)["counts"]
    assert counts["raw"] == {"count": 7, "behind": 3}
    assert counts["accepted"] == {"count": 10, "behind": None}


def test_the_rate_is_that_of_the_last_seconds_and_then_zero() -> None:
    view = view_of()
    assert view.rate(BEGAN) == 0
    for second in range(30):
        view.take_events(event(second) for _ in range(50 + second))
    # The last second is not over; the ten before it had 69 to 78 events.
    assert view.rate(BEGAN + timedelta(seconds=29)) == 73.5
    assert view.rate(BEGAN + timedelta(seconds=40)) == 0


def test_a_data_set_without_coordinates_has_no_map() -> None:
    view = view_of(TICKETS)
    view.take_events([{"Ticket_ID": "1", "Priority": 4, "Received_At": BEGAN.isoformat()}])
    assert view.hello("here")["has_map"] is False
    assert view.unplaced == 0
    assert view.severe_accepted == 1


@pytest.mark.parametrize(
    ("longest", "width"), [(0, 1), (39, 1), (41, 2), (4_000, 100), (4_001, 200)]
)
def test_a_histogram_has_at_most_forty_bars_of_a_round_width(longest: int, width: int) -> None:
    assert figures.bin_width(longest) == width


def test_every_latency_is_in_one_bar() -> None:
    chance = random.Random(5)
    for _ in range(100):
        values = [round(chance.expovariate(1 / 2_000)) for _ in range(chance.randint(0, 300))]
        drawn = figures.as_json(figures.latency(values, {"p50": None, "p99": None}))
        assert sum(drawn["data"][0]["y"]) == len(values)
        assert len(drawn["data"][0]["y"]) <= 41


# ------------------------------------------------------------------------- what browsers are sent


def parsed(text: str) -> dict[str, Any]:
    """The events of a text, by their names."""
    found = re.findall(r"^event: (\w+)\nid: \d+\ndata: (.*)\n\n", text, re.MULTILINE)
    return {name: json.loads(data) for name, data in found}


def shown_feed() -> tuple[Feed, View]:
    feed, view = Feed(), view_of()
    feed.show(view, "here")
    feed.fails(None)
    return feed, view


def test_a_browser_that_connects_late_gets_everything() -> None:
    feed, view = shown_feed()
    view.take_events([event(1), event(2)])
    feed.tick(BEGAN)
    first = parsed(feed.browser().take())
    assert first["hello"]["title"] == "US accidents"
    assert len(first["news"]["points"]) == 2
    assert first["summary"]["problem"] is None


def test_a_slow_browser_gets_what_it_missed_at_once() -> None:
    feed, view = shown_feed()
    feed.tick(BEGAN)
    browser = feed.browser()
    browser.take()
    for number in range(100):
        view.take_events([event(number)])
        feed.tick(BEGAN + timedelta(seconds=number))
    later = parsed(browser.take())
    assert len(later["news"]["points"]) == 100
    assert "hello" not in later


def test_nothing_is_sent_before_there_is_a_state() -> None:
    feed = Feed()
    browser = feed.browser()
    assert browser.take() == ""
    feed.show(view_of(), "here")
    assert browser.take() == ""
    feed.tick(BEGAN)
    assert parsed(browser.take())["summary"]["problem"] == "reading what is there"


def test_another_view_begins_anew() -> None:
    feed, view = shown_feed()
    view.take_events([event(1)])
    feed.tick(BEGAN)
    browser = feed.browser()
    browser.take()
    feed.waits("the stack is gone")
    feed.tick(BEGAN)
    gone = parsed(browser.take())
    assert gone["hello"] == {}
    assert gone["summary"]["problem"] == "the stack is gone"
    feed.show(view_of(), "there")
    feed.tick(BEGAN)
    again = parsed(browser.take())
    assert again["hello"]["place"] == "there"
    assert again["news"]["points"] == []


def test_nothing_in_a_text_ends_an_event() -> None:
    feed, view = shown_feed()
    view.take_events([event(1, City="a\n\ndata: {}\n\nevent: news\r\u2028")])
    feed.tick(BEGAN)
    first = feed.browser().take()
    assert first.count("event: ") == 3 + 1  # one is within a text, on the line of its event
    assert set(parsed(first)) == {"hello", "news", "summary"}


# ---------------------------------------------------------------------------------- CloudWatch

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


# -------------------------------------------------------------------------- what happens meanwhile


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


# ------------------------------------------------------------------------------------ the server


def asked(path: str, host: str = "127.0.0.1:5566", method: str = "GET") -> tuple[int, str]:
    """What the server answers."""
    application, sent = server.Application(Feed(), server.LOCAL_HOSTS), []

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    headers = [(b"host", host.encode())]
    scope = {"type": "http", "method": method, "path": path, "headers": headers}
    asyncio.run(application(scope, receive, send))
    return sent[0]["status"], b"".join(each.get("body", b"") for each in sent).decode()


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost", 200), ("evil.example", 400), ("127.0.0.1.evil.example:5566", 400), ("", 400)],
)
def test_a_page_of_elsewhere_cannot_read_it(host: str, status: int) -> None:
    assert asked("/", host)[0] == status
    assert asked("/events", host)[0] == status


def test_all_parts_of_the_page_are_its_own() -> None:
    _, page = asked("/")
    parts = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(parts) >= 6
    for part in parts:
        assert part.startswith("data:") or asked(f"/{part}")[0] == 200
    assert not re.search(r"https?://", page)


@pytest.mark.parametrize("path", ["/feed.py", "/../feed.py", "/page/live.html", "//events"])
def test_nothing_else_is_served(path: str) -> None:
    assert asked(path)[0] == 404
    assert asked("/", method="POST")[0] == 405


def test_no_text_becomes_a_part_of_the_page_as_html() -> None:
    for name in ("live.js", "map.js", "charts.js"):
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacent|document\.write", figures.part(name)
        )


def test_a_port_in_use_is_one_sentence() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(CommandError, match=f"port {port} is in use.*PAGE={port + 1}"):
            live.listen("127.0.0.1", port)


def test_a_stack_on_aws_that_is_not_there_is_an_error_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def outputs() -> None:
        raise CommandError("there is no stack")

    aws = SimpleNamespace(local=False, announce=lambda: None, outputs=outputs)
    monkeypatch.setattr("tools.local.where.place_of", lambda _: aws)
    with pytest.raises(CommandError, match="there is no stack"):
        live.check(SimpleNamespace(env="dev"))
    local = SimpleNamespace(local=True, outputs=outputs)
    monkeypatch.setattr("tools.local.where.place_of", lambda _: local)
    live.check(SimpleNamespace(env="dev"))
