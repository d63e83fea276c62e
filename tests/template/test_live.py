"""The view of a run, and what browsers are sent of it."""

from __future__ import annotations

import json
import random
import re
from datetime import timedelta
from typing import Any

import pytest

from tests.template.live_events import BEGAN, HOSTILE, TICKETS, alert, event, row, view_of
from tools.live import figures
from tools.live.feed import Feed
from tools.live.view import KEPT_ALERTS, KEPT_POINTS, View


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
        taken = [("alert", n) for n in range(6)] + [("row", n) for n in range(3, 9)]
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
