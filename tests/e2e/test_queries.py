"""The saved queries: their form, and their answers compared with those computed from the file."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlglot
from sqlglot import exp

from tests.e2e.conftest import Run, statement
from tools.local.cloud import Cloud
from tools.local.functions import DATASETS
from tools.local.stack import QueryResult, Stack, timestamp, wait_for

QUERIES = sorted(DATASETS.glob("*/queries/*.sql"))

ZONES = {"US/Eastern": 5, "US/Central": 6, "US/Mountain": 7, "US/Pacific": 8}

Row = dict[str, str]


def name_of(file: Path) -> str:
    return str(file.relative_to(DATASETS))


def header(file: Path) -> list[str]:
    lines = statement(file).splitlines()
    return [line[2:].strip() for line in lines if line.startswith("--")]


def example(file: Path) -> list[list[str]]:
    """The rows of the answer in the header, with the names of the columns first."""
    return [[c.strip() for c in line.split("|")] for line in header(file) if " | " in line]


@pytest.mark.parametrize("file", QUERIES, ids=name_of)
def test_a_query_says_its_question_its_cost_and_an_answer(file: Path) -> None:
    question, *rest = header(file)
    assert question.endswith("?")
    assert any(line.startswith("Cost: ") and "partition" in line for line in rest)
    names, *rows = example(file)
    assert rows
    assert {len(row) for row in rows} == {len(names)}


@pytest.mark.parametrize("file", QUERIES, ids=name_of)
def test_a_query_is_one_select_of_athenas_dialect(file: Path) -> None:
    (parsed,) = sqlglot.parse(statement(file), read="athena")
    assert isinstance(parsed, exp.Select)
    assert parsed.named_selects == example(file)[0]


# ------------------------------------------------------------------- the answers, from the file


def severity(row: Row) -> int:
    return int(float(row["Severity"]))


def instant(text: str) -> datetime | None:
    try:
        return datetime.strptime(text.partition(".")[0], "%Y-%m-%d %H:%M:%S")
    except ValueError:
        return None


def nearest_rank(values: Sequence[int], percent: int) -> int:
    return sorted(values)[math.ceil(len(values) * percent / 100) - 1]


def percent(part: int, whole: int) -> float:
    share = Decimal(100 * part) / whole
    return float(share.quantize(Decimal("0.1"), ROUND_HALF_UP))


def stamps(run: Run) -> dict[str, datetime]:
    return {
        event["ID"]: timestamp(event["Txn_Timestamp"]).replace(tzinfo=None)
        for event in run.raw_events
    }


def by(rows: Iterable[Row], key: Callable[[Row], Any]) -> dict[Any, list[Row]]:
    groups = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return groups


def last(text: str | None) -> tuple[bool, str]:
    """Orders texts like a query, with null last."""
    return text is None, text or ""


def severe_last_hour(run: Run) -> list[tuple]:
    stamped = stamps(run)
    answer = [
        (county, len(rows), max(map(severity, rows)), max(stamped[row["ID"]] for row in rows))
        for county, rows in by(run.above(2), lambda row: row["County"] or None).items()
    ]
    return sorted(answer, key=lambda row: (-row[1], last(row[0])))


def daily_severity_mix(run: Run) -> list[tuple]:
    stamped = stamps(run)
    days = by(run.rows, lambda row: stamped[row["ID"]].strftime("%Y-%m-%d"))
    return [
        (day, each, count, percent(count, len(rows)))
        for day, rows in sorted(days.items())
        for each, count in sorted(Counter(map(severity, rows)).items())
    ]


def rejects_by_reason(run: Run) -> list[tuple]:
    counts = Counter(run.refused.values())
    return [("ingest", *each) for each in sorted(counts.items(), key=lambda c: (-c[1], c[0]))]


def repeats(run: Run) -> list[tuple]:
    assert len({row["ID"] for row in run.rows}) == len(run.rows)
    return []


def unreadable_cells(run: Run) -> list[tuple]:
    stamped = stamps(run)
    cells = [
        (name.lower(), stamped[event["ID"]])
        for event in run.raw_events
        for name in event.get("_invalid", {})
    ]
    answer = [
        (name, len(found), min(at for _, at in found), max(at for _, at in found))
        for name, found in by(cells, lambda cell: cell[0]).items()
    ]
    return sorted(answer, key=lambda row: (-row[1], row[0]))


def severe_by_county(run: Run) -> list[tuple]:
    areas = by(run.above(2), lambda row: (row["County"] or None, row["State"] or None))
    answer = [
        (*area, len(rows), sum(severity(row) == 4 for row in rows), max(map(severity, rows)))
        for area, rows in areas.items()
    ]
    return sorted(answer, key=lambda row: (-row[2], last(row[0]), last(row[1])))[:20]


def hot_spots(run: Run) -> list[tuple]:
    def cell(row: Row) -> tuple[float, float]:
        south, west = (
            math.floor(float(row[name]) * 10) / 10 for name in ("Start_Lat", "Start_Lng")
        )
        return south, west

    located = [row for row in run.above(2) if row["Start_Lat"] and row["Start_Lng"]]
    answer = [
        (*corner, len(rows), sum(severity(row) == 4 for row in rows))
        for corner, rows in by(located, cell).items()
    ]
    return sorted(answer, key=lambda row: (-row[2], *row[:2]))[:20]


def weather_and_severity(run: Run) -> list[tuple]:
    known = [row for row in run.rows if row["Weather_Condition"]]
    answer = [
        (weather, len(rows), severe, percent(severe, len(rows)))
        for weather, rows in by(known, lambda row: row["Weather_Condition"]).items()
        for severe in [sum(severity(row) > 2 for row in rows)]
        if len(rows) >= 20
    ]
    return sorted(answer, key=lambda row: (-row[3], -row[1], row[0]))


def clearance_time(run: Run) -> list[tuple]:
    minutes = defaultdict(list)
    for row in run.above(2):
        start, end = instant(row["Start_Time"]), instant(row["End_Time"])
        if start and end and end >= start:
            minutes[severity(row)].append(int((end - start).total_seconds()) // 60)
    return [
        (each, len(values), nearest_rank(values, 50), nearest_rank(values, 95))
        for each, values in sorted(minutes.items())
    ]


def lateness(run: Run) -> list[tuple]:
    stamped = stamps(run)
    hours = defaultdict(list)
    for row in run.above(2):
        start, received = instant(row["Start_Time"]), stamped[row["ID"]]
        if start and row["Timezone"] in ZONES:
            seconds = int((received.replace(microsecond=0) - start).total_seconds())
            day = received.strftime("%Y-%m-%d")
            hours[day].append(seconds // 3600 - ZONES[row["Timezone"]])
    return [
        (day, len(values), nearest_rank(values, 50), nearest_rank(values, 95), max(values))
        for day, values in sorted(hours.items())
    ]


def never_alerted(_: Run) -> list[tuple]:
    return []


def alerted_twice(run: Run) -> list[tuple]:
    ids = [event for row in run.alert_rows for event in row["ids"]]
    assert len(set(ids)) == len(ids)
    return []


def time_to_alert(run: Run) -> list[tuple]:
    stamped = stamps(run)
    county = {row["ID"]: row["County"] or None for row in run.rows}
    waits = defaultdict(list)
    for row in run.alert_rows:
        at = datetime.fromisoformat(row["alerted_at"])
        for event in row["ids"]:
            received = stamped[event]
            # Athena counts the milliseconds between two timestamps of milliseconds.
            received_ms = received.replace(microsecond=received.microsecond // 1000 * 1000)
            hour = received.replace(minute=0, second=0, microsecond=0)
            ms = (at - received_ms) // timedelta(milliseconds=1)
            waits[hour, county[event]].append(ms)
    answer = [
        (*key, len(values), nearest_rank(values, 50), nearest_rank(values, 99))
        for key, values in waits.items()
    ]
    return sorted(answer, key=lambda row: (row[0], last(row[1])))


def severe_windows(run: Run) -> list[tuple]:
    stamped = stamps(run)

    def window(row: Row) -> tuple[datetime, str | None]:
        received = stamped[row["ID"]].replace(second=0, microsecond=0)
        return received - timedelta(minutes=received.minute % 10), row["County"] or None

    answer = [
        (start, start + timedelta(minutes=10), county, len(rows))
        for (start, county), rows in by(run.above(2), window).items()
    ]
    return sorted(answer, key=lambda row: (row[0], -row[3], last(row[2])))


EXPECTED = [
    never_alerted,
    alerted_twice,
    time_to_alert,
    severe_windows,
    severe_last_hour,
    daily_severity_mix,
    rejects_by_reason,
    repeats,
    unreadable_cells,
    severe_by_county,
    hot_spots,
    weather_and_severity,
    clearance_time,
    lateness,
]


def like(cell: str | None, value: Any) -> Any:
    """A cell of an answer, read as a value of the expected one's type."""
    if cell is None or value is None:
        return cell
    if isinstance(value, datetime):
        # The tables of all events have texts that end in Z, the others have times without a zone.
        return datetime.fromisoformat(cell.removesuffix("Z"))
    return type(value)(cell)


def cells(answer: QueryResult, expected: Sequence[tuple]) -> list[tuple]:
    return [
        tuple(like(cell, value) for cell, value in zip(row, right))
        for row, right in zip(answer.rows, expected)
    ]


@pytest.mark.parametrize("expected", EXPECTED, ids=lambda function: function.__name__)
def test_an_answer_is_the_one_computed_from_the_file(
    run: Run, expected: Callable[[Run], list[tuple]]
) -> None:
    answer, right = run.answers[expected.__name__], expected(run)
    assert cells(answer, right) == right
    assert len(answer.rows) == len(right)


def test_every_query_has_a_computed_answer(run: Run) -> None:
    assert {function.__name__ for function in EXPECTED} == set(run.answers)


def test_an_answer_has_the_columns_that_the_header_shows(run: Run, stack: Stack) -> None:
    for file in stack.dataset.queries:
        assert run.answers[file.stem].columns == example(file)[0]


# ------------------------------------------------------------------------------- repeated events


@pytest.mark.usefixtures("run")
def test_the_view_shows_the_newest_event_of_each_id(local: Cloud, stack: Stack) -> None:
    sent = [{"ID": "again", "Severity": 3, "City": city} for city in ("First", "Second", "Third")]
    for row in sent:
        local.client("lambda").invoke(
            FunctionName=local.outputs["IngestFunctionName"],
            Payload=f'{{"records": [{{"ID": "again", "Severity": 3, "City": "{row["City"]}"}}]}}',
        )

    def arrived() -> bool | None:
        table = stack.outputs["AnalyticalTableName"]
        found = stack.query(f"select count(*) from {table} where id = 'again'").rows[0][0]
        return True if found == str(len(sent)) else None

    wait_for(arrived, 60, 0.2, lambda: "the rows did not arrive")
    view = stack.outputs["LatestViewName"]
    assert stack.query(f"select city, severity from {view} where id = 'again'").rows == [
        ["Third", "3"]
    ]
    once = stack.query(f"select count(*), count(distinct id) from {view}").rows[0]
    assert once[0] == once[1]
    repeated = next(file for file in stack.dataset.queries if file.stem == "repeats")
    assert ["again", "3"] in [row[:2] for row in stack.query(statement(repeated)).rows]


@pytest.mark.usefixtures("run")
def test_a_column_that_no_object_has_reads_null(stack: Stack) -> None:
    table = stack.outputs["RawTableName"]
    assert "tmc" in {column["column"] for column in stack.dataset.columns.values()}
    assert stack.query(f"select count(tmc) from {table}").rows == [["0"]]


@pytest.mark.usefixtures("run")
def test_the_raw_table_finds_keys_by_the_mapping(run: Run, stack: Stack) -> None:
    table = stack.outputs["RawTableName"]
    found = dict(stack.query(f"select id, temperature_f from {table}").rows)
    for row in run.rows:
        temperature = row["Temperature(F)"]
        assert found[row["ID"]] == (str(float(temperature)) if temperature else None)
