"""Every command in the documents runs as written, on a local cloud of their own."""

from __future__ import annotations

import csv
import json
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Run, statement
from tests.e2e.local_tools import python_with_local_tools
from tests.e2e.walk import DOCS, LEFT_OUT, README, RUNBOOK, blocks, walk, walked
from tests.ports import free_port
from tools.local import cloud
from tools.local.commands import REPOSITORY, tools
from tools.local.stack import Stack

# The pages whose commands follow those of the README.
PAGES = [page for page in sorted(DOCS.glob("*.md")) if page != RUNBOOK and blocks(page, "sh")]


@pytest.fixture(scope="module")
def newcomer(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The variables of a reader who followed the README with their own file."""
    own, written = REPOSITORY / "accidents.csv", REPOSITORY / "rows.csv"
    if own.exists() or written.exists():
        pytest.skip(f"{own.name} or {written.name} is here, and the README's commands use them")
    own.write_bytes(run.file.read_bytes())
    # make reads these from the environment if the command does not set them.
    port = free_port()
    variables = {"PORT": str(port), "ROWS": "100", "LOCAL": "1"}
    try:
        walk(README, tmp_path_factory.mktemp("readme"), variables)
        yield {**variables, **cloud.connect(port).credentials}
    finally:
        own.unlink()
        written.unlink(missing_ok=True)
        cloud.down(port)


@pytest.mark.usefixtures("newcomer")
def test_every_command_of_the_readme_runs_as_written() -> None:
    assert "make demo" in walked(README)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_of_a_page_runs_as_written(
    page: Path, newcomer: dict[str, str], tmp_path: Path
) -> None:
    walk(page, tmp_path, newcomer)


def test_the_demo_of_another_data_set_needs_only_its_own_tools(tmp_path: Path) -> None:
    """The README's command, with fewer rows, and with the packages of `local.txt`."""
    port, rows = free_port(), 80
    command = ["make", "demo", "DATASET=support_tickets", f"ROWS={rows}", "RATE=max"]
    command += [f"PORT={port}", f"PY={python_with_local_tools(tmp_path / 'environment')}"]
    try:
        finished = subprocess.run(
            command,
            cwd=REPOSITORY,
            env=tools({}),
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        assert finished.returncode == 0, finished.stdout + finished.stderr
        stack = Stack.of(cloud.connect(port))
        by_department = dict(stack.top_areas(100))
        answers = {file.stem: stack.query(statement(file)) for file in stack.dataset.queries}
    finally:
        cloud.down(port)
    demo = REPOSITORY / "target" / "demo"
    summary = json.loads((demo / "summary.json").read_text("utf-8"))
    tickets = list(csv.DictReader((demo / "rows.csv").read_text("utf-8").splitlines()))
    severe = [ticket for ticket in tickets if int(ticket["Priority"]) > 2]
    urgent = [ticket for ticket in tickets if int(ticket["Priority"]) > 3]
    assert urgent, "the seed gives some"
    counts = {"raw_rows": rows, "severe_events": len(severe), "analytical_rows": len(severe)}
    counts |= {"metric_sum": len(severe), "alerts": len(urgent), "rejected": 0}
    assert {name: summary[name] for name in counts} == counts
    assert by_department == Counter(ticket["Department"] for ticket in severe)
    mix = {int(row[1]): int(row[2]) for row in answers["daily_severity_mix"].rows}
    assert mix == Counter(int(ticket["Priority"]) for ticket in tickets)
    assert "Priority 4 ticket for" in finished.stdout


def test_the_skipped_commands_exist() -> None:
    text = "".join(body for page in [README, *DOCS.glob("*.md")] for body in blocks(page, "sh"))
    assert [start for start in LEFT_OUT if start not in text] == []
