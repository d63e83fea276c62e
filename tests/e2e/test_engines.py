"""The analytical layer read by engines other than Athena, from its objects and folders only."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import datafusion
import duckdb
import pyarrow
import pytest

from tests.e2e.conftest import Run, objects
from tools.local.cloud import Cloud
from tools.local.stack import Stack, timestamp

Counts = dict[tuple[int, str], int]

BY_SEVERITY_AND_DAY = """
    select severity, concat(year, '-', month, '-', day) as day, count(*) as events
    from {table}
    where id in ({ids})
    group by severity, year, month, day
"""


@pytest.fixture(scope="module")
def layer(run: Run, local: Cloud, stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A local copy of the table's folder in the bucket."""
    root = tmp_path_factory.mktemp("layer")
    for key, body in objects(local, stack.outputs["AnalyticalBucketName"]).items():
        (root / key).parent.mkdir(parents=True, exist_ok=True)
        (root / key).write_bytes(body)
    return root / "traffic" / "us" / stack.outputs["AnalyticalTableName"]


@pytest.fixture(scope="module")
def question(run: Run) -> str:
    """Only events of the run: other tests add their own."""
    ids = ", ".join("'" + row["ID"].replace("'", "''") + "'" for row in run.above(2))
    return BY_SEVERITY_AND_DAY.format(table="{table}", ids=ids)


@pytest.fixture(scope="module")
def expected(run: Run) -> Counts:
    """Computed from the file and the times of arrival."""
    days = {e["ID"]: timestamp(e["Txn_Timestamp"]).strftime("%Y-%m-%d") for e in run.severe_events}
    return Counter((int(float(row["Severity"])), days[row["ID"]]) for row in run.above(2))


def counts(rows: list[tuple[int, str, int]]) -> Counts:
    return {(int(severity), day): int(events) for severity, day, events in rows}


def test_athena_counts_the_events(stack: Stack, question: str, expected: Counts) -> None:
    answer = stack.query(question.format(table=stack.outputs["AnalyticalTableName"]))
    assert counts(answer.rows) == expected


def test_duckdb_counts_the_same(layer: Path, question: str, expected: Counts) -> None:
    folders = "hive_partitioning = true, hive_types_autocast = false"
    table = f"read_parquet('{layer}/**/*.parquet', {folders})"
    assert counts(duckdb.sql(question.format(table=table)).fetchall()) == expected


def test_datafusion_counts_the_same(layer: Path, question: str, expected: Counts) -> None:
    context = datafusion.SessionContext()
    keys = [("severity", pyarrow.int32())]
    keys += [(name, pyarrow.string()) for name in ("year", "month", "day")]
    context.register_listing_table("layer", str(layer), table_partition_cols=keys)
    answer = context.sql(question.format(table="layer")).to_pydict()
    rows = list(zip(answer["severity"], answer["day"], answer["events"]))
    assert counts(rows) == expected
