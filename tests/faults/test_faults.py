"""The functions' own binaries, started like in Lambda, with a proxy that injects faults, and
killed during invocations: nothing is lost.

Every number is read from the services' side: records on the streams, objects in the lake, messages
in a queue subscribed to the topic, the metric in CloudWatch. `EVENTS`, `SHARE` and `SEED` in the
environment change what is sent, how much of it fails, and how (`make faults`).
"""

from __future__ import annotations

import csv
import io
import os
import shutil
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.faults.environment import Environment
from tests.faults.mapping import Shard
from tests.faults.proxy import REFUSED, WHOLE, FaultProxy
from tools.local import cloud
from tools.local.cloud import Cloud
from tools.local.commands import REPOSITORY, say
from tools.local.functions import FUNCTIONS, binary
from tools.local.runtime_api import Failed
from tools.local.stack import AlertQueue, Stack, now, wait_for

PORT = int(os.environ.get("E2E_PORT", "4576"))
EVENTS = int(os.environ.get("EVENTS", "2000"))
SHARE = float(os.environ.get("SHARE", "0.2"))
SEED = int(os.environ.get("SEED", "1"))

REPLAY = binary("replay")
LOGS = REPOSITORY / "target" / "faults"
# Rows in a request to ingest, and records in a batch of a mapping: enough requests to get every
# fault, and few enough to finish in time with many events.
BATCH = min(max(EVENTS // 20, 20), 500)
CALLERS = 2
KILL_SHARE = 0.1
DEADLINE_SECONDS = 1_800
PROGRESS_SECONDS = 10

Row = dict[str, str]


@dataclass
class Run:
    """The sent events, the state of each stage at the end, and the faults."""

    ids: dict[str, int]  # with their severities
    raw_stream: Counter[str] = field(default_factory=Counter)
    raw_layer: Counter[str] = field(default_factory=Counter)
    severe_stream: Counter[str] = field(default_factory=Counter)
    analytical_layer: Counter[str] = field(default_factory=Counter)
    alerts: Counter[str] = field(default_factory=Counter)
    counted: float = 0
    rejects: int = 0
    injected: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)

    def above(self, severity: int) -> set[str]:
        return {event for event, own in self.ids.items() if own > severity}


@pytest.fixture(scope="module")
def local() -> Iterator[Cloud]:
    try:
        local = cloud.up(PORT, fresh=True)
        disable_mappings(local)
        yield local
    finally:
        cloud.down(PORT)


def disable_mappings(local: Cloud) -> None:
    """The emulator's mappings ignore reported failures; this test has its own."""
    functions = local.client("lambda")
    mappings = functions.list_event_source_mappings()["EventSourceMappings"]
    for mapping in mappings:
        functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)

    def disabled() -> bool | None:
        states = functions.list_event_source_mappings()["EventSourceMappings"]
        return True if all(each["State"] == "Disabled" for each in states) else None

    wait_for(disabled, 30, 0.1, lambda: "the mappings were not disabled")


@pytest.fixture(scope="module")
def binaries(local: Cloud, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Copies of the functions' binaries: a build cannot overwrite running ones."""
    folder = tmp_path_factory.mktemp("binaries")
    return {name: Path(shutil.copy2(binary(name), folder / name)) for name in FUNCTIONS}


@pytest.fixture(scope="module")
def run(local: Cloud, binaries: dict[str, Path]) -> Run:
    stack = Stack.of(local)
    alerts = AlertQueue(stack, "faults-alerts")
    started = now()
    header, rows = generate()
    run = Run({row["ID"]: int(row["Severity"]) for row in rows})
    raw, severe = stack.raw_stream(), stack.severe_stream()
    proxy = FaultProxy(PORT, SHARE, SEED)
    environments: list[Environment] = []
    shards: list[Shard] = []
    LOGS.mkdir(parents=True, exist_ok=True)

    def environment(function: str) -> Environment:
        environments.append(
            start(
                local,
                function,
                binaries[function],
                proxy.endpoint,
                f"{function}-{len(environments)}",
            )
        )
        return environments[-1]

    def consume(function: str, stream: str) -> list[Shard]:
        kinesis = local.client("kinesis")
        described = kinesis.describe_stream(StreamName=local.outputs[stream])["StreamDescription"]
        consumers = [
            Shard(kinesis, described["StreamARN"], each["ShardId"], environment(function), BATCH)
            for each in described["Shards"]
        ]
        shards.extend(consumers)
        return consumers

    try:
        transform = consume("transform", "RawStreamName")
        metrics = consume("metrics", "SevereStreamName")
        notify = consume("notify", "SevereStreamName")
        batches = [rows[begin : begin + BATCH] for begin in range(0, len(rows), BATCH)]
        with ThreadPoolExecutor(CALLERS) as callers:
            sending = Sending(header, [environment("ingest") for _ in range(CALLERS)])
            sent = [callers.submit(sending.send, batch) for batch in batches]
            for each in sent:
                each.result()

        def worked_off(consumers: list[Shard], events: list[Any]) -> bool:
            for shard in consumers:
                if shard.error is not None:
                    raise shard.error
            return sum(shard.done for shard in consumers) == len(events)

        def through() -> bool | None:
            counts = f"faults: {len(raw.poll())} on stream 1, {len(severe.poll())} on stream 2"
            progress(f"{counts}, {sum(shard.done for shard in notify)} processed by notify")
            if not worked_off(transform, raw.poll()):
                return None
            # Stream 2 is complete once transform is done with stream 1.
            events = severe.poll()
            return True if worked_off(metrics, events) and worked_off(notify, events) else None

        progress = Progress()
        wait_for(through, DEADLINE_SECONDS, 0.2, lambda: f"it did not get through; see {LOGS}")
    finally:
        for shard in shards:
            shard.stop()
        for each in environments:
            each.close()
            run.outcomes += each.outcomes
        proxy.close()

    say("faults: reading each stage")
    run.injected = proxy.injected
    run.raw_stream = Counter(event["ID"] for event in raw.poll())
    run.severe_stream = Counter(event["ID"] for event in severe.poll())
    run.alerts = Counter(event for alert in alerts.poll() for event in alert.ids)
    run.counted = sum(stack.metric_sums(started).values())
    run.raw_layer = in_table(stack, "RawTableName")
    run.analytical_layer = in_table(stack, "AnalyticalTableName")
    run.rejects = sum(stack.rejects_by_function().values())
    report(run)
    return run


class Progress:
    """Prints a line from time to time."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __call__(self, text: str) -> None:
        if time.monotonic() - self._last >= PROGRESS_SECONDS:
            self._last = time.monotonic()
            say(text)


def generate() -> tuple[list[str], list[Row]]:
    arguments = [REPLAY, "generate", "--rows", str(EVENTS), "--seed", str(SEED)]
    printed = subprocess.run(arguments, capture_output=True, check=True, encoding="utf-8").stdout
    rows = list(csv.DictReader(io.StringIO(printed, newline="")))
    return list(rows[0]), rows


def start(local: Cloud, function: str, binary: Path, endpoint: str, log: str) -> Environment:
    """An environment of a deployed function: its own binary and variables, behind the proxy."""
    name = local.outputs[f"{function.title()}FunctionName"]
    deployed = local.client("lambda").get_function_configuration(FunctionName=name)
    variables = {
        **deployed["Environment"]["Variables"],
        **local.credentials,
        "AWS_ENDPOINT_URL": endpoint,
    }
    seed = SEED + sum(map(ord, log))
    return Environment(name, binary, variables, LOGS / f"{log}.log", KILL_SHARE, seed)


class Sending:
    """Sends rows as a caller that waits for the answer, and sends failed rows again until none
    is left."""

    def __init__(self, header: list[str], environments: list[Environment]) -> None:
        self._header = header
        self._free = list(environments)
        self._lock = threading.Lock()

    def send(self, rows: list[Row]) -> None:
        with self._lock:
            environment = self._free.pop()
        try:
            while rows:
                rows = self._failed(environment, rows)
        finally:
            with self._lock:
                self._free.append(environment)

    def _failed(self, environment: Environment, rows: list[Row]) -> list[Row]:
        body = io.StringIO(newline="")
        writer = csv.DictWriter(body, self._header)
        writer.writeheader()
        writer.writerows(rows)
        try:
            answer = environment.invoke({"format": "csv", "body": body.getvalue()})
        except Failed:
            return rows
        assert answer["accepted"] + answer["failed"] == len(rows), answer
        return [row for first, last in answer["failed_indexes"] for row in rows[first : last + 1]]


def in_table(stack: Stack, table: str) -> Counter[str]:
    """The ids in a table of the lake, once no more objects are being written."""
    sql = f"select id from {stack.outputs[table]}"
    found = stack.query(sql).rows

    def settled() -> bool | None:
        nonlocal found
        before, found = found, stack.query(sql).rows
        return True if len(found) == len(before) else None

    wait_for(settled, 300, 2, lambda: f"{stack.outputs[table]} does not settle")
    return Counter(str(row[0]) for row in found)


def report(run: Run) -> None:
    stages = {
        "stream 1": run.raw_stream,
        "raw layer": run.raw_layer,
        "stream 2": run.severe_stream,
        "analytical layer": run.analytical_layer,
        "alerts": run.alerts,
    }
    say(f"faults: {len(run.ids)} events at {SHARE:.0%} faults, seed {SEED}")
    for stage, found in stages.items():
        say(f"  {stage}: {len(found)} ids in {found.total()} records")
    say(f"  metric: {run.counted:.0f} of {len(run.above(2))} severe events")
    say(f"  invocations: {dict(run.outcomes)}")
    for fault, count in sorted(run.injected.items()):
        say(f"  {count:6} {fault}")


def test_a_build_may_replace_the_binaries_during_the_run(
    run: Run, binaries: dict[str, Path]
) -> None:
    for function, copied in binaries.items():
        assert not copied.samefile(binary(function))


def test_every_fault_was_injected(run: Run) -> None:
    injected: Counter[str] = Counter()
    for name, count in run.injected.items():
        injected[name.partition(": ")[2]] += count
    assert {fault for fault in (*WHOLE, "entry refused") if not injected[fault]} == set()
    for action in REFUSED:
        assert run.injected[f"{action}: entry refused"], action
    assert run.outcomes["killed"]


def test_every_event_is_in_the_raw_layer(run: Run) -> None:
    assert set(run.raw_stream) == set(run.ids)
    assert set(run.raw_layer) == set(run.ids)


def test_every_severe_event_is_on_stream_2_and_in_the_analytical_layer(run: Run) -> None:
    assert set(run.severe_stream) == run.above(2)
    assert set(run.analytical_layer) == run.above(2)


def test_every_event_of_severity_4_is_alerted(run: Run) -> None:
    assert set(run.alerts) == run.above(3)


def test_every_severe_event_is_counted(run: Run) -> None:
    assert run.counted >= len(run.above(2))


def test_no_good_event_is_rejected(run: Run) -> None:
    assert run.rejects == 0
