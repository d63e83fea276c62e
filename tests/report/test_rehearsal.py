"""The page of a rehearsal, opened from the file system in a headless Chromium."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.report import chromium
from tests.report.test_report import HOSTILE, needs_chromium
from tools.rehearse import page, rehearse, setting, tables, wording
from tools.rehearse.setting import Setting

DEPARTMENTS = Path(__file__).parents[2] / "departments.toml"


def names(counts: dict[str, int]) -> dict[str, Any]:
    return {"first": list(counts.items()), "names": len(counts), "others": 0}


def hours(number: int) -> dict[str, list[int]]:
    return {"by_hour": [number] * 24, "by_weekday": [number * 3] * 7}


def received(messages: int) -> dict[str, Any]:
    sent = {
        "at": "2022-02-08T00:37:08Z",
        "events": 3,
        "subject": f"3 accidents in {HOSTILE}",
        "text": f"They were in {HOSTILE}.",
        "sms": "3 accidents",
    }
    window = {
        "begin": "2022-02-08T00:37:00Z",
        "messages": messages,
        "events": 3 * messages,
        "first": [sent, sent],
    }
    return {
        "single": {"messages": messages - 1, "events": messages - 1},
        "digests": {"messages": 1, "events": 3},
        "storms": {"messages": 0, "events": 0},
        **hours(messages),
        **dict.fromkeys(("minute", "hour", "day"), window),
        "days": 18,
        "largest": sent,
    }


def load(messages: int) -> dict[str, Any]:
    window = {"begin": "2022-02-08T13:00:00Z", "messages": 2, "events": 3, "first": []}
    return {
        "events": 2 * messages,
        "messages": messages,
        "days": 9,
        **dict.fromkeys(("minute", "hour", "day"), window),
    }


def at_threshold(above: int) -> dict[str, Any]:
    return {
        "above": above,
        "severities": [str(severity) for severity in range(above + 1, 5)],
        "every": load(400 - 100 * above),
        "departments": [["Franklin", load(0)], [HOSTILE, load(7)]],
    }


def nothing() -> dict[str, Any]:
    window = {"begin": None, "messages": 0, "events": 0, "first": []}
    return {
        **{kind: {"messages": 0, "events": 0} for kind in ("single", "digests", "storms")},
        **hours(0),
        **dict.fromkeys(("minute", "hour", "day"), window),
        "days": 0,
        "largest": None,
    }


def of_setting(name: str, messages: int) -> dict[str, Any]:
    months = {"most": 40, "all": 70, "months": 2}
    return {
        "name": name,
        "severe": {
            "events": 190,
            "rejected": 0,
            "by_severity": names({"3": 150, "4": 40}),
            "by_area": names({HOSTILE: 100, "Lucas": 90}),
            **hours(19),
            "days": [[[f"2022-02-{day:02}", [10]] for day in range(8, 27)], [0]],
            "series": [months, months],
            "bound": 500,
        },
        "alerts": {
            "above": 3,
            "events": messages + 2,
            "repeats": 1,
            "raised": 1,
            "rejected": 0,
            "by_severity": names({"4": messages + 2}),
            "by_area": names({HOSTILE: messages, "Lucas": 2}),
            **hours(4),
            "days": [[[f"2022-02-{day:02}", [2, 2]] for day in range(8, 27)], [0, 0]],
            "received": received(messages),
            "departments": [
                {"name": "Franklin", "protocol": "email", "received": received(messages)},
                {"name": "Quiet", "protocol": "chat", "received": nothing()},
            ],
            "longest_wait_ms": 2_000,
        },
    }


def result() -> dict[str, Any]:
    example = {"id": HOSTILE, "at": "2022-02-08T00:37:08Z", "text": f"Severity 3 in {HOSTILE}."}
    only = {
        "events": 20,
        "by_severity": names({"3": 20}),
        "by_area": names({HOSTILE: 20}),
        "examples": [example],
    }
    return {
        "rows": {
            "accepted": 1_000,
            "rejected": 7,
            "rejects": [["bad_severity", 7, f"found {HOSTILE}"]],
            "unreadable_rows": 2,
            "report": {
                "unreadable": {
                    "End_Time": {
                        "cells": 900,
                        "unreadable": 2,
                        "reasons": {"not_a_time": {"cells": 2, "form": "<a>"}},
                    }
                },
                "undecodable_rows": 3,
                "warnings": [f"the header has no column {HOSTILE}"],
            },
            "empty": [f"{HOSTILE}.csv: there is only a header"],
            "time": "Start_Time",
            "timeless": 1,
            "late": 5,
            "rate": {
                "days": ["2022-02-08", "2022-02-26"],
                "seconds": 1_641_600,
                "rows": 1_000,
                "busiest_minute": "2022-02-08T00:37:00Z",
                "rows_of_minute": 3,
                "others": 0,
            },
            "severe": 190,
            "sizes": {"raw": 900_000, "severe": 60_000, "analytical": 200_000},
        },
        "settings": [of_setting("dev", 40), of_setting("prod", 20)],
        "thresholds": list(map(at_threshold, range(4))),
        "difference": {"only": [only, {**only, "events": 0, "examples": []}], "both": 22},
        "notes": [f"{HOSTILE} is named twice, and was read once"],
    }


@pytest.fixture(scope="module")
def settings() -> list[Setting]:
    return [setting.read("us_accidents", env, "", DEPARTMENTS) for env in ("dev", "prod")]


EVERYTHING = """
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];
  all("details").forEach(each => each.open = true);
  return {
    lines: all("#figure-days .scatter").length,
    bars: Object.fromEntries(["hours", "weekdays", "areas", "departments"].map(
      name => [name, all(`#figure-${name} .bars .point`).length])),
    width: document.documentElement.scrollWidth,
    numbers: Object.fromEntries(all("[data-summary]").map(
      each => [each.dataset.summary, each.dataset.value])),
    text: document.querySelector(".alert pre").textContent,
    lead: document.querySelector("main > p").textContent,
    tables: all(".answer h3").map(each => each.textContent),
    cells: all(".answer td").map(each => each.textContent),
  };
"""


@needs_chromium
@pytest.mark.parametrize("width", [1_280, 390])
def test_the_page_shows_every_table_and_figure(
    settings: list[Setting], tmp_path: Path, width: int
) -> None:
    opened = chromium.opened(page.render(result(), settings), tmp_path, EVERYTHING, width=width)
    assert opened["complaints"] == []
    assert [url for url in opened["requests"] if not url.startswith(("data:", "blob:"))] == []
    found = opened["value"]
    # The severe events of both are hidden until they are asked for.
    assert found["lines"] == 4
    assert found["bars"] == {"hours": 48, "weekdays": 14, "areas": 4, "departments": 6}
    assert found["numbers"]["messages"] == "40"
    assert found["numbers"]["saved"] == "2"
    assert found["text"] == f"They were in {HOSTILE}."
    assert len(found["tables"]) == len(tables.every(result(), settings)) == 11
    assert found["tables"][0].startswith("which threshold?")
    assert found["lead"].count(HOSTILE) == 1
    assert "in the worst hour (2022-02-08 00:37)" in found["lead"]
    assert f"found {HOSTILE}" in found["cells"]
    assert found["width"] <= width


def test_the_terminal_shows_the_same(settings: list[Setting]) -> None:
    out = io.StringIO()
    tables.show(result(), settings, Console(file=out, width=160, highlight=False))
    shown = out.getvalue()
    for text in (
        "1 row has no time that can be read",
        "bad_severity",
        "End_Time",
        "digests of one area",
        "what differs; both alert 22 events",
        "3 accidents in",
        "which threshold?",
        "3 (rehearsed)",
        "shards needed",
    ):
        assert text in shown, text
    assert HOSTILE in shown


def test_notes_say_what_may_surprise(settings: list[Setting]) -> None:
    found = wording.notes(result(), settings)
    for text in (
        ".csv: there is only a header",
        "the header has no column",
        "3 rows would have damaged texts",
        "dev: no message would have reached Quiet",
    ):
        assert sum(text in note for note in found) == 1, (text, found)
    same = result()
    same["settings"] = [of_setting("dev", 40), of_setting("prod", 40)]
    assert "both settings alert about the same events by the same messages" in wording.notes(
        same, settings
    )


@pytest.mark.parametrize(
    ("a_second", "shown"),
    [
        (1_234, "1,234 a second"),
        (1, "1 a second"),
        (0.5, "30 a minute"),
        (1 / 2_400, "1.5 an hour"),
        (2.2e-5, "1.9 a day"),
        (1e-7, "3.2 a year"),
        (0, "0 a year"),
    ],
)
def test_a_rate_has_a_unit_in_which_it_can_be_read(a_second: float, shown: str) -> None:
    assert wording.rate(a_second) == shown


def test_a_day_has_no_hour_and_nouns_have_their_number() -> None:
    window = {"begin": "2022-02-08T13:37:00Z"}
    assert [wording.begin(window, unit) for unit in ("minute", "day")] == [
        "2022-02-08 13:37",
        "2022-02-08",
    ]
    assert [wording.counted(number, "row") for number in (0, 1, 2_000)] == [
        "0 rows",
        "1 row",
        "2,000 rows",
    ]


def answers(**given: Any) -> dict[str, Any]:
    usual = {"name": "A-1", "severity": "4", "rejected": None, "nobody": None, "subject": "s"}
    return {"answers": [{**usual, "attributes": [], "subscribers": [], **given}], "more": False}


def test_an_event_that_is_rejected_is_an_error(
    settings: list[Setting], capsys: pytest.CaptureFixture[str]
) -> None:
    assert rehearse.answer(answers(nobody="it is mild"), settings[0]) == 0
    assert "A-1: nobody is alerted, because it is mild." in capsys.readouterr().out
    given = answers(name="event 1 of a.json", rejected="`ID` has no value: expected an id")
    assert rehearse.answer(given, settings[0]) == 1
    said = capsys.readouterr()
    assert said.err == (
        "error: event 1 of a.json would be rejected: `ID` has no value: expected an id\n"
    )
    assert "event 1" not in said.out
