"""Reads scenario files of the mapping and runs its rules on them; README.md describes the form.

`python -m tests.mapping.scenario PATH…` checks files and folders of them.
"""

from __future__ import annotations

import json
import math
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tools.local.mapping import rules
from tools.local.mapping.rules import (
    Answer,
    Bisect,
    Checkpoint,
    Discard,
    FunctionError,
    InvalidSettings,
    Invoke,
    Lane,
    Record,
    Settings,
    Succeeded,
    Throttled,
)

Json = dict[str, Any]

DAY_MS = 24 * 60 * 60 * 1_000
INVOCATIONS = 5_000  # after which a scenario counts as endless
MOST = 2**53  # the largest number of milliseconds or bytes in a file
HASH_KEYS = 2**128


class InvalidScenario(Exception):
    """A file that is not a scenario: what is wrong with it, in one sentence."""


@dataclass(frozen=True)
class Put:
    """A record that arrives on a shard."""

    at: int
    shard: int
    record: Record


@dataclass(frozen=True)
class Reshard:
    """A shard is split in the middle, or two neighbours are merged."""

    at: int
    parents: tuple[int, ...]


@dataclass(frozen=True)
class Rule:
    """How the function answers a batch that has one of these records; any batch without them."""

    when: frozenset[int] | None
    times: int | None
    takes: int
    answer: Any


@dataclass(frozen=True)
class Scenario:
    settings: Settings
    timestamp: int | None  # of the position AT_TIMESTAMP
    shards: int
    created: int
    puts: list[Put]
    reshards: list[Reshard]
    rules: list[Rule]
    until: int | None
    steps: list[Json]

    @classmethod
    def load(cls, path: Path) -> Scenario:
        try:
            document = strict_json(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise InvalidScenario(f"{path}: could not be read: {error.strerror}") from error
        except ValueError as error:
            raise InvalidScenario(f"{path}: it is not JSON: {error}") from error
        try:
            return cls.read(document)
        except (InvalidScenario, InvalidSettings) as error:
            raise InvalidScenario(f"{path}: {error}") from error

    @classmethod
    def read(cls, document: Any) -> Scenario:
        scenario = Fields("the scenario", document)
        scenario.text("rule", "")
        scenario.text("source", "")
        mapping = scenario.take("mapping", {})
        settings, timestamp = read_mapping(mapping)
        shards = scenario.number("shards", 1, 1, 100)
        created = scenario.number("created", 0, 0, MOST)
        if timestamp is not None and timestamp > created:
            raise InvalidScenario("`StartingPositionTimestamp` is after `created`")
        puts = [put for each in scenario.list("records") for put in read_records(each)]
        reshards = [read_reshard(each) for each in scenario.list("reshards")]
        for times in ([put.at for put in puts], [each.at for each in reshards]):
            if times != sorted(times):
                raise InvalidScenario("`records` and `reshards` are expected in the order of `at`")
        read = cls(
            settings,
            timestamp,
            shards,
            created,
            numbered(puts),
            reshards,
            [read_rule(each) for each in scenario.list("function")],
            scenario.optional("until"),
            [read_step(each) for each in scenario.list("steps")],
        )
        scenario.end()
        return read


def strict_json(text: str) -> Any:
    """JSON as its standard has it: Python also takes infinities and halves of a character."""
    document = json.loads(text, parse_constant=finite, parse_float=finite, parse_int=whole)
    json.dumps(document, ensure_ascii=False).encode()
    return document


def finite(word: str) -> float:
    number = float(word)
    if not math.isfinite(number):
        raise ValueError(f"{word[:20]} is not a number of JSON")
    return number


def whole(word: str) -> int:
    finite(word)
    return int(word)


def numbered(puts: list[Put]) -> list[Put]:
    """The records with their numbers, in the order of arrival."""
    return [
        replace(put, record=replace(put.record, number=sequence_number(number), content=number))
        for number, put in enumerate(puts)
    ]


def sequence_number(number: int) -> str:
    return f"49{number:054}"


class Fields:
    """The fields of an object in a file, each of which must be known."""

    def __init__(self, where: str, value: Any) -> None:
        if not isinstance(value, dict):
            raise InvalidScenario(f"{where} is {shown(value)}, expected an object")
        self._where = where
        self._left = dict(value)

    def take(self, name: str, default: Any) -> Any:
        return self._left.pop(name, default)

    def text(self, name: str, default: str) -> str:
        value = self.take(name, default)
        if not isinstance(value, str):
            raise InvalidScenario(f"`{name}` of {self._where} is {shown(value)}, expected a text")
        return value

    def number(self, name: str, default: int | None, least: int, most: int) -> int:
        value = self.take(name, default)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise InvalidScenario(
                f"`{name}` of {self._where} is {shown(value)}, expected {least} to {most}"
            )
        return value

    def optional(self, name: str, least: int = 0) -> int | None:
        return self.number(name, None, least, MOST) if name in self._left else None

    def list(self, name: str) -> list[Any]:
        value = self.take(name, [])
        if not isinstance(value, list):
            raise InvalidScenario(f"`{name}` of {self._where} is {shown(value)}, expected a list")
        return value

    def end(self) -> None:
        for name in self._left:
            raise InvalidScenario(f"`{name}` is not a field of {self._where}")


def shown(value: Any) -> str:
    return "missing" if value is None else json.dumps(value)[:60]


MAPPING = {
    "BatchSize",
    "MaximumBatchingWindowInSeconds",
    "ParallelizationFactor",
    "BisectBatchOnFunctionError",
    "MaximumRetryAttempts",
    "MaximumRecordAgeInSeconds",
    "FunctionResponseTypes",
    "StartingPosition",
}


def read_mapping(value: Any) -> tuple[Settings, int | None]:
    fields = Fields("the mapping", value)
    settings = {name: value[name] for name in MAPPING if name in value}
    for name in settings:
        fields.take(name, None)
    read = Settings.read(settings)
    timestamp = None
    if read.position == "AT_TIMESTAMP":
        timestamp = fields.number("StartingPositionTimestamp", None, 0, MOST)
    fields.end()
    return read, timestamp


def read_records(value: Any) -> Iterator[Put]:
    fields = Fields("a record", value)
    at = fields.number("at", 0, 0, MOST)
    shard = fields.number("shard", 0, 0, 1_000)
    key = fields.text("key", "k")
    size = fields.number("bytes", 100, 0, 10 * 1024 * 1024)
    count = fields.number("count", 1, 1, 100_000)
    fields.end()
    if not 1 <= len(key) <= 256:
        raise InvalidScenario("`key` of a record is expected to have 1 to 256 characters")
    put = Put(at, shard, Record("", key, size, at))
    return iter([put] * count)


def read_reshard(value: Any) -> Reshard:
    fields = Fields("a reshard", value)
    at = fields.number("at", None, 0, MOST)
    merged = fields.take("merge", None)
    if merged is None:
        parents = (fields.number("split", None, 0, 1_000),)
    elif isinstance(merged, list) and len(merged) == 2 and all(map(is_index, merged)):
        parents = tuple(merged)
    else:
        raise InvalidScenario(
            f"`merge` of a reshard is {shown(merged)}, expected the numbers of two shards"
        )
    fields.end()
    return Reshard(at, parents)


def is_index(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def read_rule(value: Any) -> Rule:
    fields = Fields("a rule of the function", value)
    when = fields.take("when", None)
    if when is not None and not (isinstance(when, list) and all(map(is_index, when))):
        raise InvalidScenario(
            f"`when` of a rule of the function is {shown(when)}, expected numbers of records"
        )
    rule = Rule(
        None if when is None else frozenset(when),
        fields.optional("times", 1),
        fields.number("takes", 0, 0, MOST),
        fields.take("answer", "done"),
    )
    fields.end()
    answer_of(rule.answer)
    return rule


def answer_of(value: Any) -> Answer:
    if value == "done":
        return Succeeded('{"batchItemFailures": []}')
    if value == "error":
        return FunctionError()
    if value == "throttled":
        return Throttled()
    if isinstance(value, dict) and list(value) == ["failed"]:
        failed = value["failed"]
        if isinstance(failed, list) and all(map(is_index, failed)):
            items = [{"itemIdentifier": sequence_number(number)} for number in failed]
            return Succeeded(json.dumps({"batchItemFailures": items}))
    if isinstance(value, dict) and list(value) == ["response"]:
        return Succeeded(json.dumps(value["response"]))
    raise InvalidScenario(
        f"`answer` of a rule of the function is {shown(value)}, "
        'expected "done", "error", "throttled", {"failed": […]} or {"response": …}'
    )


def read_step(value: Any) -> Json:
    fields = Fields("a step", value)
    step: Json = {
        "at": fields.number("at", None, 0, MOST),
        "shard": fields.number("shard", 0, 0, 1_000),
        "lane": fields.number("lane", 0, 0, 9),
    }
    kinds = ("invoke", "checkpoint", "bisect", "discard")
    named = [kind for kind in kinds if kind in value]
    if len(named) != 1:
        raise InvalidScenario(f"a step has one of {', '.join(kinds)}, found {shown(value)}")
    step[named[0]] = fields.text(named[0], "")
    if named == ["discard"]:
        step["reason"] = fields.text("reason", "")
    fields.end()
    return step


def ranges(records: Sequence[Record]) -> str:
    """The numbers of records, such as `0-3,5`."""
    parts: list[list[int]] = []
    for record in records:
        if parts and parts[-1][-1] + 1 == record.content:
            parts[-1] = [parts[-1][0], record.content]
        else:
            parts.append([record.content])
    return ",".join("-".join(map(str, part)) for part in parts)


@dataclass
class Shard:
    """A shard of the scenario: its range of hash keys, its records, and its lanes when read."""

    first: int
    last: int
    parents: tuple[int, ...] = ()
    is_open: bool = True
    arrived: list[Record] = field(default_factory=list)
    lanes: list[Lane] = field(default_factory=list)
    finished: set[int] = field(default_factory=set)
    begins_at: int | None = None  # its first record for a mapping at the position LATEST

    @property
    def is_finished(self) -> bool:
        return bool(self.lanes) and len(self.finished) == len(self.lanes)


class Run:
    """The steps of the mapping in a scenario."""

    def __init__(self, scenario: Scenario) -> None:
        self.steps: list[Json] = []
        self._scenario = scenario
        self._now = 0
        share = (HASH_KEYS - 1) // scenario.shards
        self._shards = [
            Shard(share * n, HASH_KEYS - 1 if n + 1 == scenario.shards else share * (n + 1) - 1)
            for n in range(scenario.shards)
        ]
        # Whose answers are awaited, by shard and lane, each with its time.
        self._answers: dict[tuple[int, int], tuple[int, Answer]] = {}
        self._used: Counter[tuple[int, int, int]] = Counter()
        self._invocations = 0
        self._is_created = False

    def run(self) -> list[Json]:
        events = self._events()
        wakes: list[int] = []
        while events or wakes:
            self._now = min([*wakes, *(at for at, _ in events[:1])])
            if self._scenario.until is not None and self._now >= self._scenario.until:
                break
            while events and events[0][0] <= self._now:
                events.pop(0)[1]()
            wakes = self._work()
        self.steps.sort(key=lambda step: (step["at"], step["shard"], step["lane"]))
        return self.steps

    def _events(self) -> list[tuple[int, Callable[[], None]]]:
        """What happens to the stream and the mapping: at one instant, shards change first, then
        records arrive, then the mapping is created, and the stream ends last."""
        scenario = self._scenario
        ordered: list[tuple[int, int, Callable[[], None]]] = [
            (each.at, 0, lambda each=each: self._reshard(each)) for each in scenario.reshards
        ]
        ordered += [(each.at, 1, lambda each=each: self._put(each)) for each in scenario.puts]
        ordered.append((scenario.created, 2, self._create))
        last = max(at for at, _, _ in ordered)
        ordered.append((last + DAY_MS, 3, self._end))
        ordered.sort(key=lambda event: event[:2])
        return [(at, event) for at, _, event in ordered]

    def _put(self, put: Put) -> None:
        if put.shard >= len(self._shards):
            raise InvalidScenario(f"a record at {put.at} is for shard {put.shard}, which is not")
        shard = self._shards[put.shard]
        if not shard.is_open:
            raise InvalidScenario(
                f"a record at {put.at} is for shard {put.shard}, which was split or merged before"
            )
        shard.arrived.append(put.record)
        if shard.lanes:
            self._hand(shard, put.record)

    def _hand(self, shard: Shard, record: Record) -> None:
        lanes = self._scenario.settings.parallelization
        shard.lanes[rules.lane_of(record.key, lanes)].add(record)

    def _reshard(self, reshard: Reshard) -> None:
        for number in reshard.parents:
            if number >= len(self._shards) or not self._shards[number].is_open:
                raise InvalidScenario(
                    f"a reshard at {reshard.at} is of shard {number}, which is not open"
                )
        parents = [self._shards[number] for number in reshard.parents]
        first, last = parents[0].first, parents[-1].last
        if len(parents) == 2 and parents[0].last + 1 != parents[1].first:
            raise InvalidScenario(
                f"a reshard at {reshard.at} merges shards {reshard.parents[0]} and "
                f"{reshard.parents[1]}, of which the second does not follow on the first"
            )
        for shard in parents:
            shard.is_open = False
            for lane in shard.lanes:
                lane.end()
        middle = first + (last - first) // 2
        halves = [(first, middle), (middle + 1, last)] if len(parents) == 1 else [(first, last)]
        self._shards += [Shard(*each, parents=reshard.parents) for each in halves]

    def _create(self) -> None:
        self._is_created = True
        for shard in self._shards:
            shard.begins_at = len(shard.arrived)

    def _end(self) -> None:
        for shard in self._shards:
            shard.is_open = False
            for lane in shard.lanes:
                lane.end()

    def _begin_due(self) -> bool:
        """Begins to read the shards that are due; whether there were any."""
        if not self._is_created:
            return False
        shards = {str(number): shard for number, shard in enumerate(self._shards)}
        names = rules.due(
            {name: [str(parent) for parent in shard.parents] for name, shard in shards.items()},
            {name for name, shard in shards.items() if shard.lanes},
            {name for name, shard in shards.items() if shard.is_finished},
        )
        for name in names:
            self._begin(shards[name])
        return bool(names)

    def _begin(self, shard: Shard) -> None:
        settings = self._scenario.settings
        shard.lanes = [Lane(settings) for _ in range(settings.parallelization)]
        position, begins_at = settings.position, shard.begins_at
        if begins_at is None:
            position, begins_at = rules.position_of_later_shard(position), 0
        for record in shard.arrived[begins_at if position == "LATEST" else 0 :]:
            if position != "AT_TIMESTAMP" or record.arrived_ms >= (self._scenario.timestamp or 0):
                self._hand(shard, record)
        if not shard.is_open:
            for lane in shard.lanes:
                lane.end()

    def _work(self) -> list[int]:
        """Lets every lane do what it can at this time; the times at which there is more."""
        wakes: list[int] = []
        self._begin_due()
        number = 0
        while number < len(self._shards):
            for lane in range(len(self._shards[number].lanes)):
                wakes += self._lane(number, lane)
            number += 1
            # A child follows its parents in the list.
            self._begin_due()
        return wakes

    def _lane(self, number: int, index: int) -> list[int]:
        shard = self._shards[number]
        lane = shard.lanes[index]
        while True:
            if awaited := self._answers.get((number, index)):
                at, answer = awaited
                if at > self._now:
                    return [at]
                del self._answers[number, index]
                lane.answered(answer, self._now)
            step = lane.step(self._now)
            if isinstance(step, rules.Wait):
                return [] if step.until_ms is None else [step.until_ms]
            if isinstance(step, rules.Finished):
                shard.finished.add(index)
                return []
            self._note(step, number, index)
            if isinstance(step, Invoke):
                takes, answer = self._answer(step, number, index)
                self._answers[number, index] = (self._now + takes, answer)

    def _answer(self, step: Invoke, shard: int, lane: int) -> tuple[int, Answer]:
        self._invocations += 1
        if self._invocations > INVOCATIONS:
            raise InvalidScenario(
                f"it does not end within {INVOCATIONS} invocations; `until` ends it before"
            )
        numbers = {record.content for record in step.records}
        for index, rule in enumerate(self._scenario.rules):
            used = (index, shard, lane)
            if rule.times is not None and self._used[used] >= rule.times:
                continue
            if rule.when is None or rule.when & numbers:
                self._used[used] += 1
                return rule.takes, answer_of(rule.answer)
        return 0, answer_of("done")

    def _note(self, step: rules.Step, shard: int, lane: int) -> None:
        noted: Json = {"at": self._now, "shard": shard, "lane": lane}
        if isinstance(step, Invoke):
            noted["invoke"] = ranges(step.records)
        elif isinstance(step, Checkpoint):
            noted["checkpoint"] = ranges(step.records)
        elif isinstance(step, Bisect):
            noted["bisect"] = f"{ranges(step.first)} | {ranges(step.second)}"
        elif isinstance(step, Discard):
            noted["discard"], noted["reason"] = ranges(step.records), step.reason
        self.steps.append(noted)


def steps_of(scenario: Scenario) -> list[Json]:
    """The steps of the mapping in a scenario."""
    return Run(scenario).run()


def difference(scenario: Scenario) -> str | None:
    """The first step that is not the expected one, in a sentence; none when all are."""
    found, expected = steps_of(scenario), scenario.steps
    for number in range(max(len(found), len(expected))):
        own = found[number] if number < len(found) else None
        other = expected[number] if number < len(expected) else None
        if own != other:
            return f"step {number} is {sentence(own)}, expected {sentence(other)}"
    return None


def sentence(step: Json | None) -> str:
    return "none" if step is None else json.dumps(step)


def files(paths: Sequence[Path]) -> list[Path]:
    """The scenario files of these files and folders."""
    found: list[Path] = []
    for path in paths:
        within = sorted(path.glob("*.json")) if path.is_dir() else [path]
        if not within:
            raise InvalidScenario(f"{path}: the folder has no scenario, a file that ends in .json")
        found += within
    return found


def main() -> int:
    failed = False
    try:
        for path in files([Path(each) for each in sys.argv[1:]]):
            scenario = Scenario.load(path)
            try:
                wrong = difference(scenario)
            except InvalidScenario as error:
                raise InvalidScenario(f"{path}: {error}") from error
            print(f"{path}: {wrong or 'all steps are as expected'}")
            failed = failed or wrong is not None
    except InvalidScenario as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
