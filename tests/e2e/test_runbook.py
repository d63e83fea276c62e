"""Every command and query of the runbook runs as written, on the local cloud."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.walk import RUNBOOK, blocks, walk
from tools.local.cloud import Cloud
from tools.local.stack import Stack, wait_for


def test_every_command_of_the_runbook_runs_as_written(local: Cloud, tmp_path: Path) -> None:
    walk(RUNBOOK, tmp_path, local.credentials)


@pytest.fixture(scope="module")
def unlisted_severity(local: Cloud, stack: Stack) -> None:
    """An event whose severity the data set does not list, which Athena shows with its value."""
    event = '{"ID": "unlisted", "Severity": 9, "City": "Nowhere", "County": "None"}'
    local.client("lambda").invoke(
        FunctionName=local.outputs["IngestFunctionName"], Payload=f'{{"records": [{event}]}}'
    )
    table, view = (stack.outputs[name] for name in ("AnalyticalTableName", "LatestViewName"))

    def arrived() -> bool | None:
        found = stack.query(f"select unlisted_severity from {table} where id = 'unlisted'").rows
        return True if found == [["9"]] else None

    wait_for(arrived, 60, 0.2, lambda: "the event of severity 9 is not in the table")
    assert stack.query(f"select severity from {view} where id = 'unlisted'").rows == [["9"]]


@pytest.mark.usefixtures("unlisted_severity")
@pytest.mark.parametrize("sql", blocks(RUNBOOK, "sql"), ids=lambda sql: " ".join(sql.split())[:40])
def test_every_query_of_the_runbook_answers(sql: str, stack: Stack) -> None:
    assert stack.query(sql).rows
