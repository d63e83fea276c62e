"""The rules of Lambda's event source mapping, without a clock, a service or a thread.

A lane is a sequence of batches of one shard. A shard has as many lanes as its mapping's
parallelization factor says, and each partition key belongs to one of them. Times are milliseconds.

Sources: Lambda developer guide, "Using Lambda to process records from Amazon Kinesis Data Streams",
"Configuring partial batch response with Kinesis Data Streams and Lambda", "Retain discarded batch
records for a Kinesis Data Streams event source in Lambda", and "Handling errors for an SQS event
source in Lambda"; API reference, CreateEventSourceMapping.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, NoReturn

# Lambda quotas: the payload of a synchronous invocation.
EVENT_BYTES = 6 * 1024 * 1024
# Bytes of a record in an event in addition to its data, rounded up.
RECORD_BYTES = 500

# AWS documents retries "with a back-off" and no times. The first pause and the longest one.
FIRST_PAUSE_MS = 500
LONGEST_PAUSE_MS = 60_000

RETRY_ATTEMPTS_EXHAUSTED = "RetryAttemptsExhausted"
RECORD_AGE_EXCEEDED = "RecordAgeExceeded"


class InvalidSettings(ValueError):
    """A setting that Lambda refuses."""


@dataclass(frozen=True)
class Settings:
    """The settings of a mapping, with AWS's defaults."""

    batch_size: int = 100
    window_ms: int = 0
    parallelization: int = 1
    bisects: bool = False
    retries: int | None = None  # without a limit
    age_ms: int | None = None  # without a limit
    reports_failures: bool = False
    position: str = "TRIM_HORIZON"

    @classmethod
    def read(cls, mapping: Mapping[str, Any]) -> Settings:
        """The settings in the form of `CreateEventSourceMapping` and its siblings."""
        retries = within(mapping, "MaximumRetryAttempts", -1, 10_000, -1)
        age = within(mapping, "MaximumRecordAgeInSeconds", -1, 604_800, -1)
        if -1 < age < 60:
            raise InvalidSettings(
                f"MaximumRecordAgeInSeconds is {age}, expected -1 or 60 to 604800"
            )
        types = mapping.get("FunctionResponseTypes") or []
        if types not in ([], ["ReportBatchItemFailures"]):
            raise InvalidSettings(
                f'FunctionResponseTypes is {types}, expected [] or ["ReportBatchItemFailures"]'
            )
        bisects = mapping.get("BisectBatchOnFunctionError", False)
        if not isinstance(bisects, bool):
            raise InvalidSettings(
                f"BisectBatchOnFunctionError is {bisects!r}, expected true or false"
            )
        position = mapping.get("StartingPosition", "TRIM_HORIZON")
        if position not in ("TRIM_HORIZON", "LATEST", "AT_TIMESTAMP"):
            raise InvalidSettings(
                f"StartingPosition is {position!r}, expected TRIM_HORIZON, LATEST or AT_TIMESTAMP"
            )
        return cls(
            batch_size=within(mapping, "BatchSize", 1, 10_000, 100),
            window_ms=within(mapping, "MaximumBatchingWindowInSeconds", 0, 300, 0) * 1_000,
            parallelization=within(mapping, "ParallelizationFactor", 1, 10, 1),
            bisects=bisects,
            retries=None if retries == -1 else retries,
            age_ms=None if age == -1 else age * 1_000,
            reports_failures=bool(types),
            position=position,
        )


def within(mapping: Mapping[str, Any], name: str, least: int, most: int, default: int) -> int:
    value = mapping.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise InvalidSettings(f"{name} is {value!r}, expected {least} to {most}")
    return value


@dataclass(frozen=True)
class Record:
    """A record of a shard; `content` belongs to the caller."""

    number: str  # its sequence number
    key: str  # its partition key
    bytes: int  # of its data
    arrived_ms: int
    content: Any = None

    @property
    def event_bytes(self) -> int:
        """What it takes of an event, in which its data is in base64."""
        return RECORD_BYTES + -(-self.bytes // 3) * 4


@dataclass(frozen=True)
class Succeeded:
    """The function answered."""

    payload: str


@dataclass(frozen=True)
class FunctionError:
    """The function was invoked and failed, ended or took too long."""

    text: str = ""


@dataclass(frozen=True)
class Throttled:
    """The function could not be invoked."""


InvocationResult = Succeeded | FunctionError | Throttled


@dataclass(frozen=True)
class Invoke:
    """The function is invoked with these records; `answered` takes the answer."""

    records: list[Record]
    attempts: int  # those before


@dataclass(frozen=True)
class Checkpoint:
    """These records are done."""

    records: list[Record]


@dataclass(frozen=True)
class Bisect:
    """A failed batch becomes two, which are retried one after the other."""

    first: list[Record]
    second: list[Record]


@dataclass(frozen=True)
class Discard:
    """These records go to the on-failure destination, and the lane continues after them."""

    records: list[Record]
    reason: str
    attempts: int  # invocations with them that failed, splits not counted


@dataclass(frozen=True)
class Wait:
    """Nothing is to be done before this time, or before records or an answer arrive."""

    until_ms: int | None


@dataclass(frozen=True)
class Finished:
    """The shard has ended, and all its records are done or discarded."""


Step = Invoke | Checkpoint | Bisect | Discard | Wait | Finished


@dataclass
class _Work:
    """Records that are processed together, and how often that has failed."""

    records: list[Record]
    attempts: int = 0


class Lane:
    """Decides what happens next with the records of one lane."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._pending: deque[Record] = deque()  # in no batch yet
        self._work: deque[_Work] = deque()
        self._decided: deque[Step] = deque()
        self._invoked: _Work | None = None
        self._window_ends: int | None = None
        self._resumes: int = 0
        self._ended = False

    def __len__(self) -> int:
        """The records that are neither done nor discarded."""
        work = [*self._work, *([self._invoked] if self._invoked else [])]
        return len(self._pending) + sum(len(each.records) for each in work)

    @property
    def has_decided(self) -> bool:
        """Whether `step` has a consequence of the last answer, which is not an invocation."""
        return bool(self._decided)

    def add(self, record: Record) -> None:
        """Takes in a record that was read from the shard."""
        self._pending.append(record)

    def end(self) -> None:
        """The shard has no more records than those that were added."""
        self._ended = True

    def step(self, now: int) -> Step:
        """What to do at this time. After `Wait`, ask again when the time or an event has come."""
        if self._decided:
            return self._decided.popleft()
        if self._invoked:
            return Wait(None)
        if now < self._resumes:
            return Wait(self._resumes)
        if not self._work:
            self._gather(now)
        if not self._work:
            is_finished = self._ended and not self._pending
            return Finished() if is_finished else Wait(self._window_ends)
        work = self._work[0]
        if aged := self._aged(work, now):
            del work.records[: len(aged)]
            if not work.records:
                self._work.popleft()
            return Discard(aged, RECORD_AGE_EXCEEDED, work.attempts)
        self._invoked = self._work.popleft()
        return Invoke(list(self._invoked.records), self._invoked.attempts)

    def answered(self, answer: InvocationResult, now: int) -> None:
        """Takes in the answer to the last `Invoke`."""
        work, self._invoked = self._invoked, None
        assert work is not None, "an answer follows an invocation"
        if isinstance(answer, Throttled):
            # The function was not called, so this is not an attempt: it ends only by age.
            self._retry(work, now)
            return
        first = self._first_to_retry(answer, work.records)
        if first is None:
            self._fail(work, now)
            return
        if first:
            self._decided.append(Checkpoint(work.records[:first]))
        if first == len(work.records):
            return
        # Records before the reported one are done. A split uses no retry, but without any it is
        # not a split.
        is_split = self._settings.bisects and first > 0
        rest = _Work(work.records[first:], work.attempts + (0 if is_split else 1))
        self._retry_or_discard(rest, now)

    def _gather(self, now: int) -> None:
        """Makes a batch once it is full, its window ends, or the shard has ended."""
        size = taken = 0
        is_full = False
        for record in self._pending:
            is_full = size + record.event_bytes > EVENT_BYTES and taken > 0
            if is_full:
                break
            size += record.event_bytes
            taken += 1
            is_full = taken == self._settings.batch_size
            if is_full:
                break
        if not taken:
            return
        if self._window_ends is None:
            self._window_ends = now + self._settings.window_ms
        if is_full or self._ended or now >= self._window_ends:
            self._window_ends = None
            self._work.append(_Work([self._pending.popleft() for _ in range(taken)]))

    def _aged(self, work: _Work, now: int) -> list[Record]:
        """The first records that are too old."""
        age = self._settings.age_ms
        if age is None:
            return []
        return list(takewhile(lambda record: now - record.arrived_ms > age, work.records))

    def _first_to_retry(self, answer: InvocationResult, records: Sequence[Record]) -> int | None:
        """The position of the first record that is not done; none when the whole batch failed."""
        if not isinstance(answer, Succeeded):
            return None
        if not self._settings.reports_failures:
            return len(records)
        positions = {record.number: position for position, record in enumerate(records)}
        failed = reported(answer.payload, positions)
        if failed is None:
            return None
        return min((positions[number] for number in failed), default=len(records))

    def _fail(self, work: _Work, now: int) -> None:
        if not self._settings.bisects or len(work.records) == 1:
            work.attempts += 1
            self._retry_or_discard(work, now)
            return
        middle = -(-len(work.records) // 2)
        first, second = work.records[:middle], work.records[middle:]
        self._decided.append(Bisect(first, second))
        self._work.appendleft(_Work(second, work.attempts))
        self._retry(_Work(first, work.attempts), now)

    def _retry_or_discard(self, work: _Work, now: int) -> None:
        retries = self._settings.retries
        if retries is not None and work.attempts > retries:
            self._decided.append(Discard(work.records, RETRY_ATTEMPTS_EXHAUSTED, work.attempts))
        else:
            self._retry(work, now)

    def _retry(self, work: _Work, now: int) -> None:
        self._work.appendleft(work)
        self._resumes = now + pause_ms(work.attempts)


def pause_ms(attempts: int) -> int:
    """The pause before a batch is invoked again."""
    return min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS << min(attempts, 10))


def lane_of(key: str, lanes: int) -> int:
    """The lane of a partition key, whose order is kept because it has only one."""
    return hashlib.md5(key.encode(), usedforsecurity=False).digest()[15] % lanes


def reported(payload: str, known: Collection[str]) -> set[str] | None:
    """The items that an answer reports as failed; none when it fails the whole batch.

    That is an answer which is not JSON, or an identifier that is missing, null, empty or unknown.
    """
    if not payload.strip():
        return set()
    try:
        answer = json.loads(payload, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    failures = answer.get("batchItemFailures") if isinstance(answer, dict) else None
    if failures is None:
        return set()
    if not isinstance(failures, list):
        return None
    failed = [each.get("itemIdentifier") if isinstance(each, dict) else None for each in failures]
    if not all(isinstance(identifier, str) and identifier in known for identifier in failed):
        return None
    return set(failed)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def due(
    parents: Mapping[str, Collection[str]], begun: Collection[str], finished: Collection[str]
) -> list[str]:
    """The shards to begin with: a shard is read after its parents are finished.

    A parent that the stream no longer lists has no records left.
    """
    return [
        shard
        for shard, its_parents in parents.items()
        if shard not in begun
        and all(parent in finished or parent not in parents for parent in its_parents)
    ]


def position_of_later_shard(position: str) -> str:
    """Where a shard begins that the stream got after the mapping was made: nothing is skipped."""
    return "TRIM_HORIZON" if position == "LATEST" else position
