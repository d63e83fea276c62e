"""Another data set in the deployed pipeline: the demo itself, on a separate cloud."""

from __future__ import annotations

import csv
import json
import subprocess
import sys

from tests.e2e.conftest import PORT
from tools.local import cloud
from tools.local.commands import REPOSITORY
from tools.local.stack import Dataset, Stack

DATASET = "support_tickets"
ROWS = 80


def test_the_demo_runs_support_tickets_end_to_end() -> None:
    port = PORT + 1
    command = [sys.executable, "-m", "tools.local.demo"]
    command += ["--dataset", DATASET, "--rows", str(ROWS), "--rate", "max", "--port", str(port)]
    try:
        finished = subprocess.run(
            command, cwd=REPOSITORY, capture_output=True, encoding="utf-8", check=False
        )
        assert finished.returncode == 0, finished.stdout + finished.stderr
        stack = Stack.of(cloud.connect(port))
        by_department = dict(stack.top_areas(100))
        answers = {
            file.stem: stack.query(file.read_text("utf-8")) for file in stack.dataset.queries
        }
    finally:
        cloud.down(port)
    demo = REPOSITORY / "target" / "demo"
    summary = json.loads((demo / "summary.json").read_text("utf-8"))
    rows = list(csv.DictReader((demo / "rows.csv").read_text("utf-8").splitlines()))
    severe = [row for row in rows if int(row["Priority"]) > 2]
    urgent = [row for row in rows if int(row["Priority"]) > 3]
    assert urgent, "the seed gives some"
    counts = {"raw_rows": ROWS, "severe_events": len(severe), "analytical_rows": len(severe)}
    counts |= {"metric_sum": len(severe), "alerts": len(urgent), "rejected": 0}
    assert {name: summary[name] for name in counts} == counts
    departments = [row["Department"] for row in severe]
    assert by_department == {each: departments.count(each) for each in set(departments)}
    mix = {int(row[1]): int(row[2]) for row in answers["daily_severity_mix"].rows}
    priorities = [int(row["Priority"]) for row in rows]
    assert mix == {each: priorities.count(each) for each in set(priorities)}
    assert set(answers) == {file.stem for file in Dataset.load(DATASET).queries}
    assert "Priority 4 ticket for" in finished.stdout
