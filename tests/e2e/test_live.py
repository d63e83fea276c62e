"""The live page in a headless Chromium, while rows go through the deployed stack."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import PORT, Run, replay
from tests.report import chromium
from tests.report.test_report import needs_chromium
from tools.local import cloud
from tools.local.cloud import Cloud
from tools.local.commands import REPOSITORY
from tools.local.stack import Stack, now, wait_for

ROWS = 1_600
ROWS_A_SECOND = 200
DEADLINE_SECONDS = 180
PAGE_SECONDS = 400

# Short enough for a subject.
HOSTILE = '<img src="http://example.com/x.png">&"\''

# Says when the page shows the run before, and notes what it shows until the test knows the counts.
# Then it waits for those.
WATCH = """
  const all = selector => [...document.querySelectorAll(selector)];
  const shown = () => Object.fromEntries(
    all("[data-count]").map(each => [each.dataset.count, Number(each.dataset.value)]));
  const seen = [];
  const noting = setInterval(() => seen.push(shown()), 200);
  const pause = () => new Promise(done => setTimeout(done, 100));
  while (!shown().recorded) await pause();
  await fetch("/ready");
  const expected = await (await fetch("/expected")).json();
  const equal = () => Object.entries(expected).every(([name, count]) => shown()[name] === count);
  for (let left = 600; left > 0 && !equal(); left--) await pause();
  clearInterval(noting);
  return {
    seen, shown: shown(),
    status: document.getElementById("status").className,
    subjects: all("#feed strong").map(each => each.textContent),
    details: all("#feed .details").map(each => each.textContent),
    foreign: all("main img, main script").length,
    points: map.points.map(([, , rank, label]) => [rank, label]),
    bars: all("#figure-events .bars .point").length,
    latencies: all("#figure-latency .bars .point").length,
    half: document.getElementById("half").textContent,
    width: document.documentElement.scrollWidth,
  };
"""


@contextmanager
def page(*options: str, **variables: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address of a live page, and its process."""
    command = [sys.executable, "-m", "tools.live", f"--port={PORT}", "--page=0", *options]
    process = subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
    )
    try:
        for line in process.stdout:
            if address := re.match(r"live: (http://\S+)", line):
                yield address[1], process
                return
        raise AssertionError("the live page did not start")
    finally:
        process.kill()
        process.wait()


def rows_of(run: Run, file: Path) -> list[dict[str, str]]:
    """Rows of other ids, the last one with a text that tries the page."""
    generated = replay("generate", "--rows", str(ROWS), "--seed", "77")
    rows = list(csv.DictReader(generated.splitlines()))
    rows[-1] |= {"ID": "LIVE-hostile", "Severity": "4", "City": HOSTILE, "Street": HOSTILE}
    with file.open("w", encoding="utf-8", newline="") as output:
        # With a header of their own, so that their reject differs from those of the shared run.
        writer = csv.DictWriter(output, list(rows[0])[::-1])
        writer.writeheader()
        writer.writerows(rows)
        output.write("LIVE-short,1,2\n")
    return rows


def counts(stack: Stack) -> dict[str, int]:
    """The counts of the services, each asked in another way than the page does."""
    alerts = f"from {stack.outputs['AlertsTableName']}"
    alerted = stack.alerted_events()
    return {
        "accepted": len(stack.raw_stream().poll()),
        "raw": stack.raw_counts()[0],
        "rejected": sum(stack.rejects_by_function().values()),
        "severe": len(stack.severe_stream().poll()),
        "analytical": stack.analytical_rows(),
        "counted": round(sum(stack.metric_sums(now() - timedelta(hours=6)).values())),
        "alerted": alerted,
        "recorded": alerted,
        "messages": int(stack.query(f"select count(distinct message_id) {alerts}").rows[0][0] or 0),
    }


def settled_counts(stack: Stack) -> dict[str, int]:
    """The counts once the events of the tests before are everywhere."""
    found: dict[str, int] = {}

    def settled() -> dict[str, int] | None:
        nonlocal found
        earlier, found = found, counts(stack)
        return found if found == earlier else None

    # Longer than Firehose keeps a record.
    return wait_for(settled, DEADLINE_SECONDS, 3, lambda: f"the counts still change: {found}")


@pytest.fixture(scope="module")
def watched(
    run: Run, local: Cloud, stack: Stack, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What a page showed of a run, and the counts of the services before and after it."""
    folder = tmp_path_factory.mktemp("live")
    rows = rows_of(run, folder / "rows.csv")
    severe = sum(int(row["Severity"]) > 2 for row in rows)
    worst = sum(int(row["Severity"]) > 3 for row in rows)
    before = settled_counts(stack)
    added = {"accepted": ROWS, "raw": ROWS, "rejected": 1}
    added |= dict.fromkeys(("severe", "analytical", "counted"), severe)
    added |= dict.fromkeys(("alerted", "recorded", "messages"), worst)
    expected = {name: count + added[name] for name, count in before.items()}
    is_open, done = threading.Event(), threading.Event()

    def ready() -> bytes:
        is_open.set()
        return b""

    def answer() -> bytes:
        done.wait(PAGE_SECONDS)
        return json.dumps(after).encode()

    after: dict[str, int] = {}
    with page("--local") as (address, process), ThreadPoolExecutor(1) as executor:
        with urllib.request.urlopen(address) as found:
            html = found.read().decode()
        opened = executor.submit(
            chromium.opened,
            html,
            folder,
            WATCH,
            answers_to={"/ready": ready, "/expected": answer},
            other=address.rstrip("/"),
            seconds=PAGE_SECONDS,
        )
        assert is_open.wait(chromium.DEADLINE_SECONDS)
        replay(folder / "rows.csv", "--rate", str(ROWS_A_SECOND), variables=local.credentials)

        def through() -> bool | None:
            after.update(counts(stack))
            return True if after == expected else None

        try:
            wait_for(through, DEADLINE_SECONDS, 1, lambda: f"expected {expected}, found {after}")
        finally:
            done.set()
        shown = opened.result()
        process.send_signal(signal.SIGINT)
        said = process.stdout.read()
        return {
            **shown,
            "before": before,
            "after": after,
            "worst": worst,
            "said": said,
            "status": process.wait(),
        }


@needs_chromium
def test_its_numbers_are_those_of_the_services_at_the_end(watched: dict[str, Any]) -> None:
    assert watched["value"]["shown"] == watched["after"]


@needs_chromium
def test_its_numbers_change_during_the_run(watched: dict[str, Any]) -> None:
    seen, before, after = watched["value"]["seen"], watched["before"], watched["after"]
    for name in ("accepted", "severe", "alerted"):
        numbers = [each[name] for each in seen if each[name]]
        assert numbers == sorted(numbers), name
        assert numbers[0] == before[name] < after[name], name
    for name in ("accepted", "severe"):
        assert any(before[name] < each[name] < after[name] for each in seen if each[name]), name


@needs_chromium
def test_it_shows_the_alerts_the_places_and_the_charts(watched: dict[str, Any]) -> None:
    found = watched["value"]
    assert found["status"] == "live"
    assert len(found["subjects"]) == min(60, watched["after"]["messages"])
    assert len([rank for rank, _ in found["points"] if rank == 4]) >= watched["worst"]
    assert found["bars"] > 4
    assert found["latencies"] > 0
    assert re.fullmatch(r"[\d.]+(ms|s)", found["half"])
    assert found["width"] <= 1180


@needs_chromium
def test_a_hostile_text_stays_a_text(watched: dict[str, Any]) -> None:
    assert watched["complaints"] == []
    found = watched["value"]
    assert any(HOSTILE in text for text in found["subjects"])
    assert any(HOSTILE in text for text in found["details"])
    assert any(HOSTILE in label for _, label in found["points"])
    assert found["foreign"] == 0
    assert not [url for url in watched["requests"] if "example.com" in url]


def leftovers(local: Cloud) -> list[str]:
    """Queues and subscriptions of live pages."""
    queues = local.client("sqs").list_queues().get("QueueUrls", [])
    subscriptions = local.client("sns").list_subscriptions()["Subscriptions"]
    names = [*queues, *(each["Endpoint"] for each in subscriptions)]
    return [name for name in names if "-live-" in name]


@needs_chromium
def test_its_queue_is_removed_when_it_is_interrupted(watched: dict[str, Any], local: Cloud) -> None:
    assert watched["status"] == 0
    assert "removed the queue us-accidents-dev-live-" in watched["said"]
    assert leftovers(local) == []


def test_the_page_of_a_demo_lasts_until_it_is_ended(local: Cloud) -> None:
    first = cloud.show_page(PORT)
    with urllib.request.urlopen(first) as answer:
        assert b"live.js" in answer.read()
    second = cloud.show_page(PORT)
    assert leftovers(local) == []  # nothing is read before a browser asks for it
    next(each for each in summaries(second) if shows(each))
    assert leftovers(local)
    cloud.end_page(PORT)
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(second)
    assert leftovers(local) == []


def summaries(address: str) -> Iterator[dict[str, Any]]:
    with urllib.request.urlopen(f"{address}events", timeout=30) as answer:
        name = ""
        for line in answer:
            kind, _, text = line.decode().rstrip("\n").partition(": ")
            if kind == "event":
                name = text
            elif kind == "data" and name == "summary":
                yield json.loads(text)


def test_a_deployed_stack_is_shown_from_cloudwatch(run: Run, local: Cloud, stack: Stack) -> None:
    """An endpoint that is not recognised as the local cloud's is one of AWS."""
    counted = stack.cloudwatch.get_metric_statistics
    hour = {"StartTime": now() - timedelta(hours=1), "EndTime": now() + timedelta(minutes=1)}

    def total(function: str) -> int:
        values = {"Dataset": "us_accidents", "Environment": "dev", "Function": function}
        points = counted(
            Namespace="perishable",
            MetricName="Delivered",
            Dimensions=[{"Name": name, "Value": value} for name, value in values.items()],
            Period=3600,
            Statistics=["Sum"],
            **hour,
        )["Datapoints"]
        return round(sum(point["Sum"] for point in points))

    expected = {
        "accepted": total("ingest"),
        "severe": total("transform"),
        "alerted": total("notify"),
    }
    assert all(expected.values())
    variables = {**local.credentials, "AWS_ENDPOINT_URL": f"http://127.1:{PORT}"}
    with page(**variables) as (address, process):
        counts = next(each["counts"] for each in summaries(address) if shows(each))
        assert leftovers(local)
        process.send_signal(signal.SIGTERM)
        process.stdout.read()
        assert process.wait() == 0
    assert {name: counts[name]["count"] for name in expected} == expected
    assert counts["counted"]["count"] >= len(run.severe_events)
    assert leftovers(local) == []


def shows(summary: dict[str, Any]) -> bool:
    return summary.get("counts", {}).get("accepted", {}).get("count") is not None
