"""The main job, end to end: a CSV through the deployed pipeline on the local cloud.

Starts the local cloud afresh, deploys, replays the rows through the deployed ingest function, waits
until they are through, and shows what came out at every stage, read back from the services.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from tools.local import cloud, commands, functions, report
from tools.local.alert_queue import Alert, AlertQueue, event_to_alert_ms
from tools.local.commands import (
    REPOSITORY,
    CommandError,
    Parser,
    console,
    run,
    say,
    without_aws,
)
from tools.local.functions import DATASET
from tools.local.problems import sentence
from tools.local.stack import QueryFailed, Stack, now, percentile, top_areas_query

REPLAY = functions.binary("replay")
OUTPUT = REPOSITORY / "target" / "demo"
SUMMARY = OUTPUT / "summary.json"
REPORT = OUTPUT / "report.html"
GENERATED = OUTPUT / "rows.csv"
MORE = OUTPUT / "more.csv"
SEED = 1
BEGINNING = 50  # lines of a file that are tried before anything is started for it

# Slow enough to be watched.
ROWS_PER_SECOND = "200"
ROWS = "2000"

# No count has moved for so long: what is missing will not come any more.
STALLED_AFTER_SECONDS = 90
PAUSE_SECONDS = 0.5

# Between two lines of progress where there is no terminal to draw a table on.
LINE_EVERY_SECONDS = 5

FIRST_ALERTS = 3
TOP_AREAS = 5


class DemoFailed(Exception):
    """Why the demo did not come to its end."""


# What ends the demo, in one sentence.
PROBLEMS = (
    DemoFailed,
    CommandError,
    QueryFailed,
    TimeoutError,
    BotoCoreError,
    ClientError,
)


@dataclass(frozen=True)
class Counts:
    """The counts at each stage, of the rows of a file; none where nobody has looked.

    The lake is looked at last, because a query costs the local cloud seconds which the functions
    need themselves. Until then the events on stream 1 say how many are severe.
    """

    rows: int
    accepted: int = 0
    severe: int = 0
    to_alert: int = 0
    rejected: int | None = None
    raw_rows: int | None = None
    severe_events: int = 0
    analytical_rows: int | None = None
    metric_sum: int | None = None
    alerts: int = 0
    alerted_events: int | None = None

    @property
    def gaps(self) -> list[str]:
        """The stages whose count is not the expected one."""
        return [
            f"{what}: {found:,} of {expected:,}"
            for what, found, expected in self._stages()
            if found is not None and found != expected
        ]

    @property
    def exceed(self) -> bool:
        """Whether a stage has more than it should, which waiting does not change."""
        return any(found is not None and found > expected for _, found, expected in self._stages())

    @property
    def complete(self) -> bool:
        return self.raw_rows is not None and not self.gaps

    def _stages(self) -> list[tuple[str, int | None, int]]:
        return [
            ("accepted or rejected", self.accepted + (self.rejected or 0), self.rows),
            ("severe events on stream 2", self.severe_events, self.severe),
            ("alerts", self.alerts, self.to_alert),
            ("severe events in the metric", self.metric_sum, self.severe),
            ("events in the alerts table", self.alerted_events, self.to_alert),
            ("severe rows in the analytical layer", self.analytical_rows, self.severe),
            ("rows in the raw layer", self.raw_rows, self.accepted),
        ]


class Pipeline:
    """Watches the rows of one run on their way through the stages."""

    def __init__(self, stack: Stack, rows: int) -> None:
        self.stack = stack
        self.queue = AlertQueue(stack, f"{stack.outputs['WorkGroupName']}-demo")
        self.raw = stack.raw_stream()
        self.severe = stack.severe_stream()
        # What is expected follows from what is deployed.
        self.severe_above = stack.severity_above("Transform")
        self.alert_above = max(self.severe_above, stack.severity_above("Notify"))
        self.started = now()
        self.counts = Counts(rows)

    def look(self) -> Counts:
        """Reads the counts, upstream last, so that no stage seems to have more than its source."""
        alerts = sum(alert.count for alert in self.queue.poll())
        severe_events = len(self.severe.poll())
        dataset = self.stack.dataset
        severities = [
            dataset.severities.level(event[dataset.severity]) for event in self.raw.poll()
        ]
        counts = replace(
            self.counts,
            accepted=len(severities),
            severe=sum(severity > self.severe_above for severity in severities),
            to_alert=sum(severity > self.alert_above for severity in severities),
            severe_events=severe_events,
            alerts=alerts,
        )
        if severe_events >= counts.severe and alerts >= counts.to_alert:
            counts = self._look_into_lake(counts)
        self.counts = counts
        return counts

    def _look_into_lake(self, counts: Counts) -> Counts:
        counts = replace(counts, rejected=self.stack.rejects_by_function().get("ingest", 0))
        if counts.accepted + counts.rejected < counts.rows:
            return counts
        counts = replace(
            counts,
            metric_sum=round(sum(self.stack.metric_sums(self.started).values())),
            analytical_rows=self.stack.analytical_rows(),
            alerted_events=self.stack.alerted_events(),
        )
        if counts.gaps:
            return counts
        raw_rows, severe, to_alert = self.stack.raw_counts(self.severe_above, self.alert_above)
        counts = replace(counts, raw_rows=raw_rows)
        # From here on the raw layer says what is severe, unless it still lags.
        return counts if counts.gaps else replace(counts, severe=severe, to_alert=to_alert)


def count_rows(path: Path) -> int:
    """The rows of a CSV below its header, counted independently of the pipeline."""
    csv.field_size_limit(sys.maxsize)
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            rows = max(0, sum(1 for row in csv.reader(file) if row) - 1)
    except OSError as error:
        raise DemoFailed(f"cannot read CSV={path}: {error.strerror}") from error
    except csv.Error as error:
        raise DemoFailed(f"CSV={path} is not a CSV file: {error}") from error
    if not rows:
        raise DemoFailed(f"CSV={path} has no rows below its header")
    return rows


def generate(dataset: str, rows: int) -> Path:
    options = ["--dataset", dataset, "--rows", str(rows), "--seed", str(SEED)]
    with GENERATED.open("w") as output:
        replay("generate", *options, output=output)
    return GENERATED


def replay(
    *arguments: str, output: IO[str] | None = None, variables: dict[str, str] | None = None
) -> None:
    """Runs the project's own simulator, which shows its progress itself."""
    environment = {**without_aws(os.environ), **(variables or {})}
    status = subprocess.run(
        [REPLAY, *arguments], env=environment, stdout=output, check=False
    ).returncode
    if status != 0:
        raise DemoFailed(f"`replay {' '.join(arguments)}` failed with status {status}")


def await_through(console: Console, pipeline: Pipeline, port: int) -> float:
    """Waits until the counts of all stages agree and a second look finds the same; answers when
    the first one did."""
    moved = printed = time.monotonic()
    spinner = Spinner("dots")
    with Live(console=console, refresh_per_second=8, transient=True) as live:
        while True:
            before, counts = pipeline.counts, pipeline.look()
            if counts != before:
                moved = time.monotonic()
            elif counts.complete:
                return moved
            if reason := cloud.without_mappings(port):
                raise DemoFailed(reason)
            check(pipeline, counts, time.monotonic() - moved)
            waiting_for = "; ".join(counts.gaps) or "reading the lake"
            if console.is_terminal:
                spinner.update(text=Text(waiting_for))
                live.update(Group(stage_table(pipeline.stack, counts), spinner))
            elif time.monotonic() - printed > LINE_EVERY_SECONDS:
                printed = time.monotonic()
                console.print(waiting_for, highlight=False)
            time.sleep(PAUSE_SECONDS)


def check(pipeline: Pipeline, counts: Counts, still: float) -> None:
    """Fails if waiting longer cannot help."""
    if counts.exceed:
        raise DemoFailed(f"the numbers do not add up: {'; '.join(counts.gaps)}")
    if still > STALLED_AFTER_SECONDS:
        failing = [f"{name} fails" for name in pipeline.stack.failing_functions()]
        gaps = counts.gaps or ["the raw layer could not be read"]
        raise DemoFailed(f"nothing moved for {still:.0f} s: {'; '.join([*gaps, *failing])}")


def stage_table(stack: Stack, counts: Counts) -> Table:
    """The run at a glance: the count of each stage."""
    outputs, dataset = stack.outputs, stack.dataset
    stages = [
        ("rows in the file", "the CSV itself", counts.rows),
        ("accepted, on stream 1", f"Kinesis {outputs['RawStreamName']}", counts.accepted),
        ("rejected", f"Athena {outputs['RejectsTableName']}", counts.rejected),
        ("raw layer", f"Athena {outputs['RawTableName']}", counts.raw_rows),
        ("severe, on stream 2", f"Kinesis {outputs['SevereStreamName']}", counts.severe_events),
        ("analytical layer", f"Athena {outputs['AnalyticalTableName']}", counts.analytical_rows),
        ("counted", f"CloudWatch {dataset.metric}", counts.metric_sum),
        ("alerted", f"SNS {stack.alert_topic.rpartition(':')[2]}", counts.alerts),
        ("alerts table", f"Athena {outputs['AlertsTableName']}", counts.alerted_events),
    ]
    table = Table(title=f"{dataset.title}s, stage by stage", title_justify="left")
    table.add_column("stage")
    table.add_column("read from", style="dim", overflow="fold")
    table.add_column("count", justify="right")
    for stage, place, count in stages:
        table.add_row(stage, place, "…" if count is None else f"{count:,}")
    return table


def alert_panel(alert: Alert) -> Panel:
    return Panel(Text(alert.text.strip()), title=Text(alert.subject), title_align="left", width=80)


def area_table(stack: Stack) -> Table:
    table = Table()
    table.add_column(f"worst by {stack.dataset.area}", min_width=24)
    table.add_column("severe events", justify="right")
    for name, events in stack.top_areas(TOP_AREAS):
        table.add_row(Text(name), f"{events:,}")
    return table


def next_steps(stack: Stack, port: int) -> Text:
    of = "" if stack.dataset.name == DATASET else f" DATASET={stack.dataset.name}"
    # Whatever credentials the shell has, these go to the cloud that was just started.
    at = f"{of} LOCAL=1" + ("" if port == cloud.PORT else f" PORT={port}")
    # Rows with ids of their own: notify recognises repeats and does not alert them again.
    generate = f"{shorter(REPLAY)} generate --dataset {stack.dataset.name} --rows 200 --seed 2"
    steps = [
        ("ask the lake", f'make query SQL="{top_areas_query(stack, TOP_AREAS)}"{at}'),
        *[
            ("ask a saved question", f"make query FILE={shorter(file)}{at}")
            for file in stack.dataset.queries[-1:]
        ],
        (
            "send other rows, as live events",
            f"{generate} >{shorter(MORE)} && make replay CSV={shorter(MORE)} RATE=20{at}",
        ),
        ("stop the local cloud", "make down" + ("" if port == cloud.PORT else f" PORT={port}")),
    ]
    text = Text("what to try next")
    for purpose, command in steps:
        text.append(f"\n  {purpose}\n", style="dim").append(f"    {command}")
    return text


def summary_of(pipeline: Pipeline, seconds: float) -> dict[str, Any]:
    counts, dataset = pipeline.counts, pipeline.stack.dataset
    latencies = event_to_alert_ms(pipeline.severe.events, pipeline.queue.alerts, dataset)
    return {
        "rows": counts.rows,
        "accepted": counts.accepted,
        "rejected": counts.rejected,
        "raw_rows": counts.raw_rows,
        "severe_events": counts.severe_events,
        "analytical_rows": counts.analytical_rows,
        "metric_sum": counts.metric_sum,
        "alerts": counts.alerts,
        "alerted_events": counts.alerted_events,
        "event_to_alert_ms": {"p50": percentile(latencies, 50), "p99": percentile(latencies, 99)},
        "seconds": round(seconds, 1),
    }


def report_of(pipeline: Pipeline, summary: dict[str, Any]) -> str:
    stack = pipeline.stack
    answers = []
    for file in stack.dataset.queries:
        sql = file.read_text(encoding="utf-8")
        answers.append(report.QuestionResult(report.question(sql), stack.query(sql)))
    run = report.Run(
        dataset=stack.dataset,
        summary=summary,
        events=pipeline.raw.events,
        severe_above=pipeline.severe_above,
        alerts=pipeline.queue.alerts,
        latencies_ms=event_to_alert_ms(
            pipeline.severe.events, pipeline.queue.alerts, stack.dataset
        ),
        answers=answers,
    )
    return report.render(run)


def shorter(path: Path) -> Path:
    """The path as it is typed in the repository's own folder."""
    return path.relative_to(REPOSITORY) if path.is_relative_to(REPOSITORY) else path


def show(console: Console, pipeline: Pipeline, summary: dict[str, Any]) -> None:
    console.print(stage_table(pipeline.stack, pipeline.counts))
    console.print(f"through after {summary['seconds']} s; see {shorter(SUMMARY)}", highlight=False)
    console.print(f"as a picture, in any browser: {shorter(REPORT)}", highlight=False)
    if alerts := pipeline.queue.alerts[:FIRST_ALERTS]:
        latency = summary["event_to_alert_ms"]
        console.print(
            f"from event to alert {latency['p50']:,} ms (p50), {latency['p99']:,} ms (p99)\n\n"
            "the first alerts, as their readers get them",
            highlight=False,
        )
        console.print(*map(alert_panel, alerts), sep="\n")
    raised = [each for each in pipeline.queue.alarms if each["NewStateValue"] == "ALARM"]
    for alarm in raised[:1]:
        console.print(Text(f"while they arrived, an alarm was raised: {alarm['AlarmName']}"))
        console.print(Text(alarm["NewStateReason"], style="dim"))
    console.print()
    console.print(area_table(pipeline.stack))
    console.print()


def check_input(arguments: argparse.Namespace) -> None:
    """Refuses what cannot work, before anything is started for it."""
    if not (arguments.rows.isdecimal() and int(arguments.rows) > 0):
        raise DemoFailed(f"ROWS={arguments.rows}: expected a number of rows, such as {ROWS}")
    if arguments.rate != "max" and not (arguments.rate.isdecimal() and int(arguments.rate) > 0):
        raise DemoFailed(
            f"RATE={arguments.rate}: expected rows a second, such as {ROWS_PER_SECOND}, or max"
        )
    if arguments.csv:
        count_rows(arguments.csv)


def check_rows(dataset: str, file: Path) -> None:
    """Refuses a file whose first rows ingest would all reject, with the reason for the first."""
    beginning = OUTPUT / "beginning.csv"
    with file.open("rb") as rows:
        beginning.write_bytes(b"".join(itertools.islice(rows, BEGINNING)))
    command = [REPLAY, "normalise", "--dataset", dataset, "--format", "csv", beginning]
    tried = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    if tried.returncode != 0:
        reason = tried.stderr.partition("\n")[0]
        raise DemoFailed(f"CSV={file}: none of the first rows can be used: {reason}")


def show_run(console: Console, local: cloud.Cloud, arguments: argparse.Namespace) -> None:
    rows = arguments.csv or generate(arguments.dataset, int(arguments.rows))

    pipeline = Pipeline(Stack.of(local), count_rows(rows))
    console.print(f"{pipeline.counts.rows:,} rows of {shorter(rows)}", highlight=False)
    try:
        console.print(f"live, in any browser: {cloud.show_page(arguments.port)}", highlight=False)
    except cloud.CloudError as error:
        say(f"the run is not shown live: {error}")
    started = time.monotonic()
    options = ["--dataset", arguments.dataset, "--rate", arguments.rate]
    replay(str(rows), *options, variables=local.credentials)
    seconds = await_through(console, pipeline, arguments.port) - started

    summary = summary_of(pipeline, seconds)
    SUMMARY.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    REPORT.write_text(report_of(pipeline, summary), encoding="utf-8")
    show(console, pipeline, summary)
    # Unfolded, so that the commands can be copied.
    console.print(next_steps(pipeline.stack, arguments.port), soft_wrap=True)


def main() -> int:
    parser = Parser(description="a CSV through the pipeline on the local cloud")
    parser.add_argument("--csv", type=Path, help="the rows to send; without it some are generated")
    parser.add_argument("--dataset", default=DATASET, help="a folder of datasets/")
    parser.add_argument("--rows", default=ROWS, help="how many rows to generate")
    parser.add_argument("--rate", default=ROWS_PER_SECOND, help="rows a second, or max")
    parser.add_argument("--port", type=commands.port, default=cloud.PORT, help="of the local cloud")
    arguments = parser.parse_args()
    where = ""
    try:
        check_input(arguments)
        OUTPUT.mkdir(parents=True, exist_ok=True)
        functions.compile_programs()
        if arguments.csv:
            check_rows(arguments.dataset, arguments.csv)
        local = cloud.up(arguments.port, fresh=True, dataset=arguments.dataset)
        where = f"; the local cloud's log is {cloud.emulator_log(arguments.port)}"
        show_run(console(), local, arguments)
    except PROBLEMS as error:
        say(f"error: {sentence(error)}{where}")
        return 1
    return 0


if __name__ == "__main__":
    run(main, cloud.left_running)
