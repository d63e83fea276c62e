"""The state of each stage after the run, read from the services."""

from __future__ import annotations

import json
import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.e2e.conftest import REPLAY, Run, objects
from tools.local.cloud import Cloud
from tools.local.stack import Stack, now, timestamp

DUCKDB_TYPES = {
    "string": "VARCHAR",
    "int": "INTEGER",
    "bigint": "BIGINT",
    "double": "DOUBLE",
    "boolean": "BOOLEAN",
    "timestamp": "TIMESTAMP",
}

PROJECTION = ["ID", "Severity", "City", "County", "Txn_Timestamp"]
DETAILS = ["Start_Time", "Street", "Start_Lat", "Start_Lng", "Description"]

DAY = r"year=(\d{4})/month=(\d\d)/day=(\d\d)"


def ids(events: list[dict[str, Any]]) -> Counter[str]:
    return Counter(event["ID"] for event in events)


def exactly(line: str) -> list[tuple[str, Any]]:
    """A JSON object as its keys in order, with numbers as their digits."""
    return json.loads(line, parse_float=str, parse_int=str, object_pairs_hook=list)


def as_dimension(value: str) -> str:
    """A text as a value of a dimension, which is ASCII and not empty."""
    return {"Doña Ana": "Dona Ana", "": "unknown"}.get(value, value).strip()


def test_the_simulator_counts_what_the_services_hold(run: Run) -> None:
    rows = len(run.rows)
    assert (run.summary["accepted"], run.summary["rejected"]) == (rows, len(run.refused))
    assert run.summary["failed"] == 0


def test_stream_1_holds_every_valid_row_once(run: Run) -> None:
    assert ids(run.raw_events) == ids(run.rows)


def test_stream_2_holds_every_severe_event_once(run: Run) -> None:
    assert ids(run.severe_events) == ids(run.above(2))


def test_stream_2_holds_only_the_projection_and_the_details_of_the_events(run: Run) -> None:
    raw = {event["ID"]: event for event in run.raw_events}
    for event in run.severe_events:
        assert list(event)[: len(PROJECTION)] == PROJECTION
        assert set(event) <= {*PROJECTION, *DETAILS}
        for name in [*PROJECTION, *DETAILS]:
            assert event.get(name) == raw[event["ID"]].get(name)


def test_the_raw_table_holds_every_row_once(run: Run, stack: Stack) -> None:
    found = Counter(row[0] for row in stack.query("select id from us_accidents_raw").rows)
    assert {row["ID"]: found[row["ID"]] for row in run.rows} == ids(run.rows)


def test_the_analytical_table_holds_every_severe_row_once(run: Run, stack: Stack) -> None:
    found = Counter(row[0] for row in stack.query("select id from us_accidents_analytical").rows)
    assert {row["ID"]: found[row["ID"]] for row in run.above(2)} == ids(run.above(2))


def test_an_unreadable_cell_keeps_its_row_and_its_text(run: Run) -> None:
    event = next(event for event in run.raw_events if event["ID"] == "E2E-time")
    assert event["_invalid"] == {"Start_Time": "45:00.0"}
    assert "Start_Time" not in event


def test_the_metric_sums_to_the_rows_of_each_series(run: Run) -> None:
    rows = Counter(
        (str(int(float(row["Severity"]))), *map(as_dimension, (row["City"], row["County"])))
        for row in run.above(2)
    )
    sums = {tuple(map(str.strip, key)): round(value) for key, value in run.metric_sums.items()}
    assert sums == dict(rows)


def test_every_alert_reports_one_row_of_severity_4(run: Run) -> None:
    alerted = Counter(event for alert in run.alerts for event in alert.ids)
    assert alerted == ids(run.above(3))
    rows = {row["ID"]: row for row in run.above(3)}
    for alert in run.alerts:
        row = rows[alert.attributes["id"]]
        assert float(alert.attributes["severity"]) == float(row["Severity"])
        assert alert.attributes["county"] == row["County"]


def test_an_alert_can_be_understood_at_a_glance(run: Run) -> None:
    rows = {row["ID"]: row for row in run.above(3)}
    for alert in run.alerts:
        row = rows[alert.attributes["id"]]
        assert len(alert.subject) < 100
        assert alert.subject.isprintable()
        for part in (row["City"].strip(), row["County"]):
            assert part in alert.subject
            assert part in alert.text
        assert row["ID"] in alert.text


@pytest.fixture(scope="module")
def raw_objects(run: Run, local: Cloud, stack: Stack) -> dict[str, bytes]:
    return objects(local, stack.outputs["RawBucketName"])


@pytest.fixture(scope="module")
def analytical_objects(run: Run, local: Cloud, stack: Stack) -> dict[str, bytes]:
    found = objects(local, stack.outputs["AnalyticalBucketName"])
    return {key: body for key, body in found.items() if "_alerts/" not in key}


def test_raw_objects_are_in_the_folder_of_their_day(raw_objects: dict[str, bytes]) -> None:
    name = re.compile(rf"traffic/us/us_accidents_raw/{DAY}/us_accidents_raw_(\d{{8}})\D.*")
    for key in raw_objects:
        year, month, day, date = name.fullmatch(key).groups()
        assert date == year + month + day


def test_raw_lines_equal_the_output_of_replay_normalise(
    run: Run, raw_objects: dict[str, bytes]
) -> None:
    printed = subprocess.run(
        [REPLAY, "normalise", run.file], capture_output=True, check=True, encoding="utf-8"
    )
    normalised = [exactly(line) for line in printed.stdout.splitlines()]
    lines = [exactly(line) for body in raw_objects.values() for line in body.decode().splitlines()]

    def without_stamp(event: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
        return [(key, value) for key, value in event if key != "Txn_Timestamp"]

    expected = {dict(event)["ID"]: without_stamp(event) for event in normalised}
    found = {dict(event)["ID"]: without_stamp(event) for event in lines}
    assert len(expected) == len(run.rows)
    assert {event: found.get(event) for event in expected} == expected
    digits = dict(found["E2E-number"])["Start_Lat"]
    assert digits == "39.928059000000005"
    assert len(printed.stderr.splitlines()) > len(run.refused)


def test_every_raw_record_is_one_line(raw_objects: dict[str, bytes]) -> None:
    for body in raw_objects.values():
        assert body.endswith(b"\n")
        assert all(line.startswith(b"{") for line in body.splitlines())


def test_analytical_objects_are_in_the_folder_of_severity_and_day(
    analytical_objects: dict[str, bytes],
) -> None:
    # Folder 5 has the severities above all that the data set lists.
    name = re.compile(
        rf"traffic/us/us_accidents_analytical/severity=[345]/{DAY}/us_accidents_analytical_(\d{{8}})"
        r"\D.*\.parquet"
    )
    for key in analytical_objects:
        year, month, day, date = name.fullmatch(key).groups()
        assert date == year + month + day


def test_parquet_columns_have_the_types_of_the_glue_table(
    analytical_objects: dict[str, bytes], local: Cloud, stack: Stack, tmp_path: Path
) -> None:
    table = local.client("glue").get_table(
        DatabaseName=stack.outputs["GlueDatabaseName"], Name=stack.outputs["AnalyticalTableName"]
    )["Table"]
    columns = table["StorageDescriptor"]["Columns"]
    file = tmp_path / "one.parquet"
    file.write_bytes(next(iter(analytical_objects.values())))
    described = duckdb.sql(f"describe select * from read_parquet('{file}')").fetchall()
    assert [(name, kind) for name, kind, *_ in described] == [
        (column["Name"], DUCKDB_TYPES[column["Type"]]) for column in columns
    ]


def test_parquet_rows_hold_the_events_values(
    run: Run, analytical_objects: dict[str, bytes], stack: Stack, tmp_path: Path
) -> None:
    for number, body in enumerate(analytical_objects.values()):
        (tmp_path / f"{number}.parquet").write_bytes(body)
    relation = duckdb.sql(f"select * from read_parquet('{tmp_path}/*.parquet')")
    names = [column[0] for column in relation.description]
    found = {row[names.index("id")]: dict(zip(names, row)) for row in relation.fetchall()}
    columns = stack.dataset.columns
    for event in run.raw_events:
        if event["Severity"] > 2:
            row = found[event["ID"]]
            for name, column in columns.items():
                if name != "Severity":
                    assert row[column["column"]] == typed(event.get(name), column["type"])


def typed(value: Any, kind: str) -> Any:
    if value is None or kind != "timestamp":
        return value
    return timestamp(value).replace(tzinfo=None)


def test_transform_registers_the_partitions_in_glue(
    analytical_objects: dict[str, bytes], local: Cloud, stack: Stack
) -> None:
    pages = (
        local.client("glue")
        .get_paginator("get_partitions")
        .paginate(
            DatabaseName=stack.outputs["GlueDatabaseName"],
            TableName=stack.outputs["AnalyticalTableName"],
        )
    )
    registered = {tuple(p["Values"]): p for page in pages for p in page["Partitions"]}
    for key in analytical_objects:
        values = tuple(re.findall(r"=([^/]+)/", key))
        location = registered[values]["StorageDescriptor"]["Location"]
        bucket = stack.outputs["AnalyticalBucketName"]
        assert f"s3://{bucket}/{key}".startswith(location.rstrip("/") + "/")


def test_rejects_hold_the_reason_and_all_that_a_resend_needs(
    run: Run, local: Cloud, stack: Stack
) -> None:
    lines = [
        json.loads(line)
        for key, body in objects(local, stack.outputs["RejectsBucketName"]).items()
        if not key.startswith("redrive/")  # marks of what was sent again
        for line in body.decode().splitlines()
    ]
    header = run.file.read_text(encoding="utf-8").splitlines()[0]
    rejects = {
        line["payload"].partition(",")[0]: line
        for line in lines
        if line.get("header") == header and line.get("part", 1) == 1
    }
    assert set(rejects) == set(run.refused)
    for line in rejects.values():
        assert line["function"] == "ingest"
        assert (line["format"], line["date_order"]) == ("csv", "mdy")
        assert line["detail"]
        assert line["source"]
        assert timestamp(line["rejected_at"]) <= now()


def test_rejects_name_the_reason(run: Run, stack: Stack) -> None:
    # Payloads of other tests that are not UTF-8 are in `payload_base64`.
    sql = "select payload, reason from us_accidents_rejects where payload is not null"
    found = stack.query(sql).rows
    reasons = {payload.partition(",")[0]: reason for payload, reason in found}
    assert {first: reasons[first] for first in run.refused} == run.refused
