"""Reads scenario files of the mapping; README.md describes their form."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tools.local.mapping.rules import (
    FunctionError,
    InvalidSettings,
    InvocationResult,
    Record,
    Settings,
    Succeeded,
    Throttled,
)

Json = dict[str, Any]

MOST = 2**53  # the largest number of milliseconds or bytes in a file


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


def answer_of(value: Any) -> InvocationResult:
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
