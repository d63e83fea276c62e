"""Runs the rules of the mapping on scenarios, and compares their steps with those of the file.

`python -m tests.mapping.run PATH…` checks files and folders of them.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.mapping.scenario import InvalidScenario, Json, Put, Reshard, Scenario, answer_of
from tools.local.mapping import rules
from tools.local.mapping.rules import (
    Bisect,
    Checkpoint,
    Discard,
    InvocationResult,
    Invoke,
    Lane,
    Record,
)

DAY_MS = 24 * 60 * 60 * 1_000
INVOCATIONS = 5_000  # after which a scenario counts as endless
HASH_KEYS = 2**128


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
        self._answers: dict[tuple[int, int], tuple[int, InvocationResult]] = {}
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

    def _answer(self, step: Invoke, shard: int, lane: int) -> tuple[int, InvocationResult]:
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
