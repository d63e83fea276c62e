"""The functions' own binaries, started like in Lambda, with a proxy that injects faults, and
killed during invocations: nothing is lost.

Every number is read from the services' side: records on the streams, objects in the lake, messages
in a queue subscribed to the topic, the metric in CloudWatch. `EVENTS`, `SHARE` and `SEED` in the
environment change what is sent, how much of it fails, and how (`make faults`).
"""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.faults.killed import Killed
from tests.faults.proxy import REFUSED, WHOLE, FaultProxy
from tests.ports import free_port
from tools.local import cloud
from tools.local.alert_queue import AlertQueue
from tools.local.cloud import Cloud
from tools.local.commands import REPOSITORY, say
from tools.local.functions import binary
from tools.local.mapping.cloudwatch import Metrics
from tools.local.mapping.containers import Log
from tools.local.mapping.deployments import Deployments
from tools.local.mapping.destination import Destination
from tools.local.mapping.kinesis import Context, KinesisMapping
from tools.local.mapping.rules import Settings, Succeeded
from tools.local.mapping.service import Aws
from tools.local.stack import Stack, now, wait_for

PORT = free_port()
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
    discarded: int = 0
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
    """Ends the mappings of the local cloud: this test runs them itself, with other functions."""
    functions = local.client("lambda")
    mappings = functions.list_event_source_mappings()["EventSourceMappings"]
    for mapping in mappings:
        functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)

    def disabled() -> bool | None:
        log = cloud.mapping_log(PORT).read_text(encoding="utf-8")
        names = [each["UUID"] for each in mappings if f"mapping {each['UUID']} runs" in log]
        return True if all(f"mapping {name} was stopped" in log for name in names) else None

    wait_for(disabled, 30, 0.1, lambda: "the mappings were not disabled")


class Pipeline:
    """The functions that are killed, and their mappings, in this process."""

    def __init__(self, local: Cloud, proxy: FaultProxy, folder: Path) -> None:
        self.functions: list[Killed] = []
        self.mappings: list[KinesisMapping] = []
        self._local = local
        self._variables = {"AWS_ENDPOINT_URL": proxy.endpoint}
        self._aws = Aws(local.endpoint, local.region, (cloud.ACCESS_KEY, cloud.SECRET_KEY))
        lookup = self._aws.client("lambda")
        # As the root user, whose requests the proxy may change without breaking their signature.
        self._deployments = Deployments(
            lookup, local.endpoint, folder, lambda _: dict(local.credentials)
        )
        self._metrics = Metrics(self._aws.client("cloudwatch"), self.note)
        LOGS.mkdir(parents=True, exist_ok=True)
        self._notes = (LOGS / "mappings.log").open("w", encoding="utf-8")

    def note(self, text: str) -> None:
        self._notes.write(text + "\n")
        self._notes.flush()

    def function(self, name: str) -> Killed:
        """A deployed function, whose requests go through the proxy."""
        killed = Killed(
            self._local.outputs[f"{name.title()}FunctionName"],
            self._deployments,
            self._log,
            self._metrics,
            self.note,
            self._variables,
        )
        killed.begin(KILL_SHARE, SEED + len(self.functions))
        self.functions.append(killed)
        return killed

    def map(self, name: str) -> KinesisMapping:
        """The deployed mapping of a function, with smaller batches."""
        function = self.function(name)
        (mapping,) = self._aws.client("lambda").list_event_source_mappings(
            FunctionName=function.name
        )["EventSourceMappings"]
        context = Context(
            mapping,
            Settings.read({**mapping, "BatchSize": BATCH}),
            function,
            self._aws.client("kinesis", function.name),
            Destination(mapping, self._aws.client("s3", function.name), self._metrics, self.note),
            self._metrics,
            self.note,
            self.note,
        )
        self.mappings.append(KinesisMapping(context))
        return self.mappings[-1]

    def tend(self) -> None:
        for mapping in self.mappings:
            mapping.tend()

    def close(self) -> None:
        for mapping in self.mappings:
            mapping.stop()
        for function in self.functions:
            function.close()
        self._notes.close()

    @staticmethod
    def _log(function: str, group: str, stream: str) -> Log:
        path = LOGS / f"{function}.log"

        def write(lines: list[str]) -> None:
            with path.open("a", encoding="utf-8") as log:
                log.writelines(f"{line}\n" for line in lines)

        return write


@pytest.fixture(scope="module")
def run(local: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Run:
    stack = Stack.of(local)
    alerts = AlertQueue(stack, "faults-alerts")
    started = now()
    header, rows = generate()
    run = Run({row["ID"]: int(row["Severity"]) for row in rows})
    raw, severe = stack.raw_stream(), stack.severe_stream()
    proxy = FaultProxy(PORT, SHARE, SEED)
    pipeline = Pipeline(local, proxy, tmp_path_factory.mktemp("code"))
    try:
        transform, metrics, notify = map(pipeline.map, ("transform", "metrics", "notify"))
        pipeline.tend()
        batches = [rows[begin : begin + BATCH] for begin in range(0, len(rows), BATCH)]
        with ThreadPoolExecutor(CALLERS) as callers:
            sending = Sending(header, pipeline.function("ingest"))
            sent = [callers.submit(sending.send, batch) for batch in batches]
            for each in sent:
                each.result()

        def through() -> bool | None:
            pipeline.tend()
            counts = f"faults: {len(raw.poll())} on stream 1, {len(severe.poll())} on stream 2"
            progress(f"{counts}, {notify.done} processed by notify")
            if transform.done < len(raw.poll()):
                return None
            # Stream 2 is complete once transform is done with stream 1.
            events = len(severe.poll())
            return True if metrics.done == events and notify.done == events else None

        progress = Progress()
        wait_for(through, DEADLINE_SECONDS, 0.2, lambda: f"it did not get through; see {LOGS}")
    finally:
        pipeline.close()
        proxy.close()
    for function in pipeline.functions:
        run.outcomes += function.outcomes

    say("faults: reading each stage")
    run.injected = proxy.injected
    run.raw_stream = Counter(event["ID"] for event in raw.poll())
    run.severe_stream = Counter(event["ID"] for event in severe.poll())
    run.alerts = Counter(event for alert in alerts.poll() for event in alert.ids)
    run.counted = sum(stack.metric_sums(started).values())
    run.raw_layer = in_table(stack, "RawTableName", set(run.ids))
    run.analytical_layer = in_table(stack, "AnalyticalTableName", run.above(2))
    run.rejects = sum(stack.rejects_by_function().values())
    run.discarded = discarded(local)
    report(run)
    return run


def discarded(local: Cloud) -> int:
    """The batches in the on-failure destination."""
    bucket = local.outputs["FailuresBucketName"]
    return local.client("s3").list_objects_v2(Bucket=bucket)["KeyCount"]


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


class Sending:
    """Sends rows as a caller that waits for the answer, and sends failed rows again until none
    is left."""

    def __init__(self, header: list[str], function: Killed) -> None:
        self._header = header
        self._function = function

    def send(self, rows: list[Row]) -> None:
        while rows:
            rows = self._failed(rows)

    def _failed(self, rows: list[Row]) -> list[Row]:
        body = io.StringIO(newline="")
        writer = csv.DictWriter(body, self._header)
        writer.writeheader()
        writer.writerows(rows)
        event = json.dumps({"format": "csv", "body": body.getvalue()}).encode()
        answered = self._function.invoke(event)
        if not isinstance(answered, Succeeded):
            return rows
        answer = json.loads(answered.payload)
        assert answer["accepted"] + answer["failed"] == len(rows), answer
        return [row for first, last in answer["failed_indexes"] for row in rows[first : last + 1]]


def in_table(stack: Stack, table: str, expected: set[str]) -> Counter[str]:
    """The ids in a table of the lake, once all the expected ones are there."""
    name = stack.outputs[table]

    def arrived() -> Counter[str] | None:
        found = Counter(str(row[0]) for row in stack.query(f"select id from {name}").rows)
        return found if found.keys() >= expected else None

    return wait_for(arrived, 300, 0.5, lambda: f"{name} did not get all {len(expected)} events")


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


def test_no_batch_is_discarded(run: Run) -> None:
    assert run.discarded == 0
