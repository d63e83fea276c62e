"""The demo's page, opened from the file system in a headless Chromium."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.report import chromium
from tools.local import report
from tools.local.alert_queue import Alert
from tools.local.dataset import Dataset
from tools.local.stack import QueryResult

DATASET = Dataset.load("us_accidents")
BEGAN = datetime(2026, 7, 14, 9, 30, tzinfo=timezone.utc)

# What tries a page that repeats it: tags, an end of script, quotes, other alphabets.
HOSTILE = '</script><script>throw "x"</script><img src="http://example.com/x.png">Doña "Ana" & 横浜'

needs_chromium = pytest.mark.skipif(
    chromium.find() is None,
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
    content = {"count": count, "ids": [f"A-{number}"], "text": f"Severity 4 in {HOSTILE}"}
    return Alert(
        subject=f"Severity 4: {HOSTILE}" if number == 3 else f"Severity 4: City {number}",
        message=json.dumps(content),
        content=content,
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
            "alerted_events": 110,
            "event_to_alert_ms": {"p50": 812, "p99": 1904},
            "seconds": 12.5,
        },
        events=events,
        severe_above=2,
        alerts=alerts,
        latencies_ms=[700 + number for number in range(1300)],
        answers=[
            report.QuestionResult(
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


EVERYTHING = """
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];
  all("details").forEach(each => each.open = true);
  const pixel = (map, [x, y]) => {
    const ratio = map.still.width / map.element.clientWidth;
    const [left, top] = [x, y].map(each => Math.round(ratio * each));
    return [...map.still.getContext("2d").getImageData(left, top, 1, 1).data];
  };
  const bars = name => all(`#figure-${name} .bars .point`).length;
  return {
    bars: {events: bars("events"), stages: bars("stages"), latency: bars("latency")},
    points: [0, 3, 4].map(rank => map.points.filter(point => point[2] === rank).length),
    drawn: map.points.filter(([, , rank]) => rank > 0).map(point => pixel(map, map.at(point))),
    land: pixel(map, map.at([430, 330])),
    sea: pixel(map, map.at([10, 300])),
    heights: all(".plot .main-svg, .map canvas").map(each => each.getBoundingClientRect().height),
    rights: all(".plot .main-svg, .map canvas").map(each => each.getBoundingClientRect().right),
    width: document.documentElement.scrollWidth,
    summary: Object.fromEntries(all("[data-summary]").map(
      each => [each.dataset.summary, [each.dataset.value, each.textContent]])),
    subjects: all(".alert summary").map(each => each.firstChild.textContent.trim()),
    text: document.querySelector(".alert pre").textContent,
    digest: document.querySelector(".digest").textContent,
    question: document.querySelector(".answer h3").textContent,
    cells: all(".answer td").map(each => each.textContent),
  };
"""

# The colours of the page and of a plot, before and after dark is preferred. The plots follow the
# page within a few frames.
COLOURS = """
  const style = selector => getComputedStyle(document.querySelector(selector));
  const until = (holds, otherwise) => new Promise((done, failed) => {
    let left = 600;
    const look = () => holds() ? done() : --left ? requestAnimationFrame(look) : failed(otherwise);
    look();
  });
  const shown = async () => {
    await until(() => style("#figure-events .xtitle").fill === style("body").color,
      "the plots keep the colours that they had");
    return [style("body").backgroundColor, style("#figure-events .xtitle").fill];
  };
  const light = await shown();
  parent.postMessage({scheme: "dark"}, "*");
  await until(() => matchMedia("(prefers-color-scheme: dark)").matches, "the scheme stays light");
  return [light, await shown()];
"""


@pytest.fixture(scope="module", params=["light", "dark"])
def page(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("report")
    return chromium.opened(report.render(example()), folder, EVERYTHING, scheme=request.param)


@needs_chromium
def test_it_opens_without_errors_and_requests(page: dict[str, Any]) -> None:
    assert page["complaints"] == []
    assert [url for url in page["requests"] if not url.startswith(("data:", "blob:"))] == []


@needs_chromium
def test_an_error_and_a_request_would_be_seen(tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        there = f"http://127.0.0.1:{server.server_port}/pyproject.toml"
        spoilt = f"<head></head><script>console.error('one'); nope()</script><script src={there}>"
        opened = chromium.opened(f"{spoilt}</script><img src=missing.png>", tmp_path, "")
        server.shutdown()
    said = "; ".join(opened["complaints"])
    assert all(text in said for text in ("one", "nope", "missing.png"))
    assert there in opened["requests"]
    closed = report.render(example()).replace("</body>", '<img src="missing.png"></body>')
    opened = chromium.opened(closed, tmp_path, "")
    assert any(url.endswith("missing.png") for url in opened["complaints"]), "it was blocked"


@needs_chromium
def test_its_figures_are_drawn(page: dict[str, Any]) -> None:
    bars = page["value"]["bars"]
    assert bars["events"] >= 4 * 20
    assert bars["stages"] == len(report.TITLES)
    assert bars["latency"] >= 10
    assert page["value"]["points"] == [200, 100, 100]
    # Every severe event is a point over the land, which does not reach into the sea.
    land, sea = page["value"]["land"], page["value"]["sea"]
    assert land[3] == 255
    assert sea[3] == 0
    assert all(pixel[3] == 255 and pixel != land for pixel in page["value"]["drawn"])
    assert min(page["value"]["heights"]) > 200


@needs_chromium
def test_its_numbers_are_those_of_the_summary(page: dict[str, Any]) -> None:
    shown = page["value"]["summary"]
    summary = dict(example().summary)
    del summary["seconds"]
    ages = summary.pop("event_to_alert_ms")
    expected = {**summary, **{f"event_to_alert_ms.{name}": value for name, value in ages.items()}}
    assert {name: int(value) for name, (value, _) in shown.items()} == expected
    assert {name: int(text.replace(",", "")) for name, (_, text) in shown.items()} == expected


@needs_chromium
def test_the_alerts_and_answers_are_shown_as_they_are(page: dict[str, Any]) -> None:
    found, sent = page["value"], example().alerts
    assert found["subjects"] == [each.subject for each in sent[: report.SHOWN_ALERTS]]
    assert found["text"] == sent[0].text
    assert found["digest"] == "12 in one"
    assert found["question"] == "Where are they?"
    assert found["cells"] == [HOSTILE, "85", "", "1"]


@needs_chromium
def test_it_is_dark_if_preferred(tmp_path: Path) -> None:
    opened = chromium.opened(report.render(example()), tmp_path, COLOURS)
    assert opened["complaints"] == []
    light, dark = opened["value"]
    assert light[0] != dark[0]
    assert light[1] != dark[1]


@needs_chromium
def test_it_can_be_read_on_a_phone(tmp_path: Path) -> None:
    phone = chromium.opened(report.render(example()), tmp_path, EVERYTHING, width=390)
    assert phone["value"]["width"] <= 390
    assert max(phone["value"]["rights"]) <= 390
    assert phone["complaints"] == []


def test_a_run_without_alerts_and_coordinates_also_has_a_page() -> None:
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
