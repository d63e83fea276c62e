"""The demo's page, opened from the file system in a headless Chromium."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from tools.local import browser, report
from tools.local.stack import Alert, Dataset, QueryResult

CHROMIUM = browser.find()
DATASET = Dataset.load("us_accidents")
BEGAN = datetime(2026, 7, 14, 9, 30, tzinfo=timezone.utc)

# What tries a page that repeats it: tags, an end of script, quotes, other alphabets.
HOSTILE = '</script><script>throw "x"</script><img src="http://example.com/x.png">Doña "Ana" & 横浜'

needs_chromium = pytest.mark.skipif(
    CHROMIUM is None,
    reason="no Chromium is installed, so that the page was not opened: `apt install chromium`, "
    "or name one in CHROMIUM",
)


def event(number: int) -> dict[str, Any]:
    return {
        "ID": f"A-{number}",
        "Severity": 1 + number % 4,
        "City": HOSTILE if number == 3 else f"City {number}",
        "County": HOSTILE if number % 8 == 3 else "Franklin",
        "Start_Lat": 39.0 + number / 100,
        "Start_Lng": -84.0 + number / 70,
        "Txn_Timestamp": (BEGAN + timedelta(milliseconds=50 * number)).isoformat(),
    }


def alert(number: int, count: int = 1) -> Alert:
    told = {"count": count, "ids": [f"A-{number}"], "text": f"Severity 4 in {HOSTILE}"}
    return Alert(
        subject=f"Severity 4: {HOSTILE}" if number == 3 else f"Severity 4: City {number}",
        message=json.dumps(told),
        told=told,
        attributes={"id": f"A-{number}"},
        received=BEGAN + timedelta(seconds=2),
    )


def example() -> report.Run:
    events = [event(number) for number in range(400)]
    alerts = [alert(3, 12), *(alert(number) for number in range(7, 400, 4))]
    return report.Run(
        dataset=DATASET,
        summary={
            "rows": 1403,
            "accepted": 1400,
            "rejected": 3,
            "raw_rows": 1400,
            "severe_events": 700,
            "analytical_rows": 700,
            "metric_sum": 700,
            "alerts": 110,
            "event_to_alert_ms": {"p50": 812, "p99": 1904},
            "seconds": 12.5,
        },
        events=events,
        severe_above=2,
        alerts=alerts,
        latencies_ms=[700 + number for number in range(1300)],
        answers=[
            report.Answer(
                report.question("-- Where are they?\n--\n-- It scans.\nselect 1"),
                QueryResult(
                    ["county", "severe"],
                    ["varchar", "bigint"],
                    [[HOSTILE, "85"], [None, "1"]],
                    0,
                    0,
                ),
            )
        ],
    )


def each(selector: str, what: str) -> str:
    """The script that answers something of every element that a selector finds."""
    return f"[...document.querySelectorAll('{selector}')].map(each => each.{what})"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(report.render(example()), encoding="utf-8")
    return path


@pytest.fixture(scope="module", params=["light", "dark"])
def page(request: pytest.FixtureRequest, file: Path) -> Iterator[browser.Page]:
    with browser.chromium(CHROMIUM) as opened:
        opened.open(file.as_uri(), 1180, 1200, dark=request.param == "dark")
        yield opened


@needs_chromium
def test_it_opens_without_a_complaint_and_without_a_request(page: browser.Page, file: Path) -> None:
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    assert page.complaints == []
    asked_for = [url for url in page.asked_for if not url.startswith(("data:", "blob:"))]
    assert asked_for == [file.as_uri()]


@needs_chromium
def test_a_complaint_and_a_request_would_be_seen(tmp_path: Path) -> None:
    spoilt = tmp_path / "spoilt.html"
    spoilt.write_text("<script>console.error('one'); nope()</script><img src='missing.png'>")
    with browser.chromium(CHROMIUM) as opened:
        opened.open(spoilt.as_uri(), 800, 600)
        opened.evaluate("1")
        assert len(opened.complaints) >= 2
        assert any(url.endswith("missing.png") for url in opened.asked_for)


@needs_chromium
def test_its_figures_are_drawn(page: browser.Page) -> None:
    bars = "document.querySelectorAll('#figure-{} .bars .point').length"
    assert page.evaluate(bars.format("events")) >= 4 * 20
    assert page.evaluate(bars.format("stages")) == len(report.TITLES)
    assert page.evaluate(bars.format("latency")) >= 10
    points = page.evaluate(each("#figure-map .scatter", "querySelectorAll('.point').length"))
    assert points == [200, 100, 100]
    sizes = page.evaluate(each(".plot .main-svg", "getBoundingClientRect().height"))
    assert min(sizes) > 200


@needs_chromium
def test_its_numbers_are_those_of_the_summary(page: browser.Page) -> None:
    shown = page.evaluate(
        "Object.fromEntries([...document.querySelectorAll('[data-summary]')]"
        ".map(each => [each.dataset.summary, [each.dataset.value, each.textContent]]))"
    )
    summary = dict(example().summary)
    del summary["seconds"]
    ages = summary.pop("event_to_alert_ms")
    expected = {**summary, **{f"event_to_alert_ms.{name}": value for name, value in ages.items()}}
    assert {name: int(value) for name, (value, _) in shown.items()} == expected
    assert {name: int(text.replace(",", "")) for name, (_, text) in shown.items()} == expected


@needs_chromium
def test_the_alerts_and_answers_stand_as_they_are(page: browser.Page) -> None:
    subjects = page.evaluate(
        "[...document.querySelectorAll('.alert summary')].map(each => each.firstChild.textContent)"
    )
    sent = example().alerts
    assert [subject.strip() for subject in subjects] == [
        each.subject for each in sent[: report.SHOWN_ALERTS]
    ]
    texts = page.evaluate("document.querySelector('.alert pre').textContent")
    assert texts == sent[0].text
    assert page.evaluate("document.querySelector('.digest').textContent") == "12 in one"
    assert page.evaluate("document.querySelector('.answer h3').textContent") == "Where are they?"
    cells = page.evaluate(
        "[...document.querySelectorAll('.answer td')].map(each => each.textContent)"
    )
    assert cells == [HOSTILE, "85", "", "1"]


@needs_chromium
def test_it_is_dark_where_dark_is_preferred(page: browser.Page) -> None:
    back = "getComputedStyle(document.body).backgroundColor"
    text = "getComputedStyle(document.querySelector('#figure-events .xtitle')).fill"
    # The plots follow the page within a few frames.
    settled = (
        "new Promise(done => { let left = 600; const look = () =>"
        f" {text} === getComputedStyle(document.body).color || --left === 0"
        " ? done(left > 0) : requestAnimationFrame(look); look(); })"
    )
    shown = {}
    for dark in (False, True):
        page.dark(dark)
        assert page.evaluate(settled), "the plots keep the colours that they had"
        shown[dark] = page.evaluate(back), page.evaluate(text)
    light, dark = shown[False], shown[True]
    assert light[0] != dark[0]
    assert light[1] != dark[1]


@needs_chromium
def test_it_can_be_read_on_a_phone(file: Path) -> None:
    with browser.chromium(CHROMIUM) as phone:
        phone.open(file.as_uri(), 390, 844)
        assert phone.evaluate("document.documentElement.scrollWidth") <= 390
        widths = phone.evaluate(each(".plot .main-svg", "getBoundingClientRect().right"))
        assert max(widths) <= 390
        assert phone.complaints == []


def test_a_run_without_alerts_and_coordinates_has_a_page_too() -> None:
    run = example()
    summary = {**run.summary, "alerts": 0, "event_to_alert_ms": {"p50": None, "p99": None}}
    bare = replace(
        run,
        dataset=replace(DATASET, location=None),
        summary=summary,
        alerts=[],
        latencies_ms=[],
        answers=[],
    )
    page = report.render(bare)
    assert 'id="figure-events"' in page
    assert 'id="figure-map"' not in page
    assert "No event was severe enough for an alert." in page
