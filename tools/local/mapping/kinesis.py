"""Mappings from Kinesis streams: one poller for each shard, which does what the rules decide."""

from __future__ import annotations

import base64
import json
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from tools.local.mapping import rules
from tools.local.mapping.cloudwatch import Metrics
from tools.local.mapping.destination import Destination
from tools.local.mapping.rules import InvocationResult, Lane, Record, Settings

# AWS polls a shard once a second. Here nobody pays for requests, and people wait for an alert.
POLL_SECONDS = 0.1
IDLE_POLL_SECONDS = 0.25
IDLE_AFTER_SECONDS = 5.0
# After an error of the stream's.
TROUBLE_SECONDS = 1.0
# How often a stream is looked at for new shards.
SHARDS_SECONDS = 5.0
# The most records of a shard that are read and not done.
MOST_BUFFERED = 20_000
# https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetRecords.html
MOST_READ = 10_000


class Invokes(Protocol):
    """A function, as a mapping sees it."""

    name: str

    def invoke(self, event: bytes) -> InvocationResult: ...


@dataclass
class Progress:
    """What is done of a shard, so that another poller can continue."""

    read: str | None = None  # the last sequence number that was read
    waiting: dict[str, Record] = field(default_factory=dict)  # read and not done, in order
    done: int = 0  # records that are done or discarded
    iterator: str | None = None  # where the next read begins, until it expires
    is_finished: bool = False


@dataclass(frozen=True)
class Context:
    """What the pollers of a mapping have in common."""

    mapping: dict[str, Any]
    settings: Settings
    function: Invokes
    client: Any  # of Kinesis, in the name of the function's role
    destination: Destination
    metrics: Metrics
    say: Callable[[str], None]
    result: Callable[[str], None]  # takes the mapping's `LastProcessingResult`

    @property
    def stream(self) -> str:
        return str(self.mapping["EventSourceArn"])


class Poller:
    """Reads a shard and hands its records to the function, in a thread."""

    def __init__(self, context: Context, shard: str, position: str, progress: Progress) -> None:
        self.shard = shard
        self.progress = progress
        self.error: BaseException | None = None
        self._context = context
        self._position = position
        self._iterator = progress.iterator
        self._read_at = 0.0  # when the next read is due
        self._got_at = time.monotonic()
        self._has_ended = False
        lanes = context.settings.parallelization
        self._lanes = [Lane(context.settings) for _ in range(lanes)]
        self._pool = ThreadPoolExecutor(
            lanes, thread_name_prefix=f"{context.function.name}-{shard}"
        )
        self._answers: queue.Queue[tuple[int, InvocationResult] | None] = queue.Queue()
        self._invoking: set[int] = set()
        self._stopping = threading.Event()
        for record in progress.waiting.values():
            self._add(record)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Waits for the invocations that run, and begins no others."""
        self._stopping.set()
        self._answers.put(None)
        self._thread.join()
        self._pool.shutdown()

    def _add(self, record: Record) -> None:
        self._lanes[rules.lane_of(record.key, len(self._lanes))].add(record)

    def _run(self) -> None:
        try:
            while not self.progress.is_finished:
                if self._stopping.is_set() and not self._invoking:
                    return
                wakes = [] if self._stopping.is_set() else [self._read(), *self._step()]
                self._wait(min(wakes, default=TROUBLE_SECONDS))
            self._pool.shutdown()
        except BaseException as error:
            self.error = error

    def _wait(self, seconds: float) -> None:
        """Waits for an answer, and takes in all that are there."""
        if self.progress.is_finished:
            return
        try:
            answered = self._answers.get(timeout=max(seconds, 0.001))
            while True:
                if answered is not None:
                    lane, answer = answered
                    self._invoking.discard(lane)
                    self._lanes[lane].answered(answer, now_ms())
                    self._settle(lane)
                answered = self._answers.get_nowait()
        except queue.Empty:
            pass

    # ------------------------------------------------------------------------------ reading

    def _read(self) -> float:
        """Reads the shard if that is due; the seconds until the next time."""
        wait = self._read_at - time.monotonic()
        if wait > 0 or self._has_ended:
            return wait if wait > 0 else TROUBLE_SECONDS
        if len(self.progress.waiting) >= MOST_BUFFERED:
            return POLL_SECONDS
        try:
            seconds = self._get_records()
        except (BotoCoreError, ClientError) as error:
            seconds = self._trouble(error)
        self._read_at = time.monotonic() + seconds
        return seconds

    def _get_records(self) -> float:
        kinesis = self._context.client
        if self._iterator is None:
            self._iterator = kinesis.get_shard_iterator(
                StreamARN=self._context.stream, ShardId=self.shard, **self._begin()
            )["ShardIterator"]
        answer = kinesis.get_records(
            ShardIterator=self._iterator, StreamARN=self._context.stream, Limit=MOST_READ
        )
        for record in answer["Records"]:
            self._take(record)
        self._iterator = self.progress.iterator = answer.get("NextShardIterator")
        if self._iterator is None:
            self._end()
        if answer["Records"]:
            self._got_at = time.monotonic()
            return 0.0 if answer.get("MillisBehindLatest") else POLL_SECONDS
        is_idle = time.monotonic() - self._got_at > IDLE_AFTER_SECONDS
        return IDLE_POLL_SECONDS if is_idle else POLL_SECONDS

    def _begin(self) -> dict[str, Any]:
        if self.progress.read is not None:
            return {
                "ShardIteratorType": "AFTER_SEQUENCE_NUMBER",
                "StartingSequenceNumber": self.progress.read,
            }
        begin: dict[str, Any] = {"ShardIteratorType": self._position}
        if self._position == "AT_TIMESTAMP":
            begin["Timestamp"] = self._context.mapping["StartingPositionTimestamp"]
        return begin

    def _take(self, read: dict[str, Any]) -> None:
        number = read["SequenceNumber"]
        arrived = read["ApproximateArrivalTimestamp"].timestamp()
        content = self._event_record(read, arrived)
        record = Record(
            number, read["PartitionKey"], len(read["Data"]), int(arrived * 1e3), content
        )
        self.progress.read = number
        self.progress.waiting[number] = record
        self._add(record)

    def _event_record(self, read: dict[str, Any], arrived: float) -> str:
        """The record as it is in an event.

        https://docs.aws.amazon.com/lambda/latest/dg/with-kinesis.html
        """
        region = self._context.stream.split(":")[3]
        return json.dumps(
            {
                "kinesis": {
                    "kinesisSchemaVersion": "1.0",
                    "partitionKey": read["PartitionKey"],
                    "sequenceNumber": read["SequenceNumber"],
                    "data": base64.b64encode(read["Data"]).decode(),
                    "approximateArrivalTimestamp": round(arrived, 3),
                },
                "eventSource": "aws:kinesis",
                "eventVersion": "1.0",
                "eventID": f"{self.shard}:{read['SequenceNumber']}",
                "eventName": "aws:kinesis:record",
                "awsRegion": region,
                "eventSourceARN": self._context.stream,
            }
        )

    def _trouble(self, error: BotoCoreError | ClientError) -> float:
        code = error.response["Error"]["Code"] if isinstance(error, ClientError) else ""
        if code == "ExpiredIteratorException":
            self._iterator = None
            return 0.0
        if code == "ResourceNotFoundException" and f"{self.shard}" in str(error):
            self._context.say(f"{self.shard} of {self._context.stream} is gone: {error}")
            self._end()
        elif code != "ProvisionedThroughputExceededException" and not self._stopping.is_set():
            self._context.say(
                f"{self.shard} of {self._context.stream} could not be read for "
                f"{self._context.function.name}: {error}"
            )
            self._context.result(f"PROBLEM: {error}")
        return TROUBLE_SECONDS

    def _end(self) -> None:
        self._has_ended = True
        for lane in self._lanes:
            lane.end()

    # ----------------------------------------------------------------------------- invoking

    def _step(self) -> list[float]:
        """Lets each lane do what it can; the seconds until there is more to do."""
        waits = [wait for lane in range(len(self._lanes)) for wait in self._step_lane(lane)]
        if self._has_ended and not self.progress.waiting:
            self.progress.is_finished = True
        return waits

    def _step_lane(self, index: int) -> list[float]:
        while True:
            now = now_ms()
            step = self._lanes[index].step(now)
            if isinstance(step, rules.Invoke):
                self._invoke(index, step.records, now)
            elif isinstance(step, rules.Wait):
                return [] if step.until_ms is None else [(step.until_ms - now) / 1e3]
            elif isinstance(step, rules.Finished):
                return []
            else:
                self._do(step)

    def _settle(self, index: int) -> None:
        """Does what an answer decided, also when no more invocations are to begin."""
        lane = self._lanes[index]
        while lane.has_decided:
            self._do(lane.step(now_ms()))

    def _do(self, step: rules.Step) -> None:
        if isinstance(step, rules.Checkpoint):
            self._done(step.records)
        elif isinstance(step, rules.Discard):
            self._context.destination.put(
                self.shard, step.records, step.reason, step.attempts, event_of(step.records)
            )
            self._done(step.records)

    def _done(self, records: list[Record]) -> None:
        for record in records:
            del self.progress.waiting[record.number]
        self.progress.done += len(records)

    def _invoke(self, index: int, records: list[Record], now: int) -> None:
        age = max(now - records[-1].arrived_ms, 0)
        self._context.metrics.add_sample("IteratorAge", age, self._context.function.name)
        self._invoking.add(index)
        event = event_of(records)
        future = self._pool.submit(self._context.function.invoke, event)
        future.add_done_callback(lambda done: self._answers.put((index, self._answer(done))))

    def _answer(self, done: Future[InvocationResult]) -> InvocationResult:
        if (error := done.exception()) is not None:
            # A fault of this program; it must not stop the shard without a word.
            self._context.say(f"{self._context.function.name} could not be invoked: {error!r}")
            return rules.Throttled()
        answer = done.result()
        if isinstance(answer, rules.FunctionError):
            self._context.say(f"{self._context.function.name} failed: {answer.text[:500]}")
        is_success = isinstance(answer, rules.Succeeded)
        self._context.result("OK" if is_success else "PROBLEM: Function call failed")
        return answer


def event_of(records: list[Record]) -> bytes:
    return ('{"Records": [' + ", ".join(record.content for record in records) + "]}").encode()


def now_ms() -> int:
    return int(time.time() * 1e3)


class KinesisMapping:
    """A mapping from a stream to a function; it watches the stream's shards."""

    def __init__(self, context: Context, progress: dict[str, Progress] | None = None) -> None:
        self.progress = progress if progress is not None else {}
        self._context = context
        # Those that the stream had when the mapping was made; a later one is read from its
        # beginning.
        self._known = set(self.progress)
        self._pollers: dict[str, Poller] = {}
        self._look_at = 0.0

    @property
    def done(self) -> int:
        """The records that are done or discarded."""
        return sum(each.done for each in self.progress.values())

    def tend(self) -> None:
        """Begins with shards that are due; to be called again and again."""
        for poller in self._pollers.values():
            if poller.error is not None:
                raise poller.error
        ended = [name for name, each in self._pollers.items() if each.progress.is_finished]
        for name in ended:
            del self._pollers[name]
            self._look_at = 0.0
        if time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + SHARDS_SECONDS
        try:
            parents = self._list_shards()
        except (BotoCoreError, ClientError) as error:
            self._context.say(f"{self._context.stream} could not be read: {error}")
            self._context.result(f"PROBLEM: {error}")
            self._look_at = time.monotonic() + TROUBLE_SECONDS
            return
        self._known = self._known or set(parents)
        finished = {name for name, each in self.progress.items() if each.is_finished}
        for shard in rules.due(parents, {*self._pollers, *finished}, finished):
            self._begin(shard)

    def _begin(self, shard: str) -> None:
        position = self._context.settings.position
        if shard not in self._known:
            position = rules.position_of_later_shard(position)
        progress = self.progress.setdefault(shard, Progress())
        self._pollers[shard] = Poller(self._context, shard, position, progress)

    def _list_shards(self) -> dict[str, list[str]]:
        """The shards, each with its parents."""
        listed: list[dict[str, Any]] = []
        request: dict[str, Any] = {"StreamARN": self._context.stream}
        while True:
            answer = self._context.client.list_shards(**request)
            listed += answer["Shards"]
            if "NextToken" not in answer:
                break
            request = {"NextToken": answer["NextToken"]}
        return {
            each["ShardId"]: [
                each[name] for name in ("ParentShardId", "AdjacentParentShardId") if each.get(name)
            ]
            for each in listed
        }

    def stop(self) -> None:
        for poller in self._pollers.values():
            poller.stop()
        self._pollers.clear()
