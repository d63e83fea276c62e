"""Draws scenarios of the mapping at random, with every setting and answer that a file can have."""

from __future__ import annotations

import random
from typing import Any

from tests.mapping.scenario import sequence_number

Json = dict[str, Any]

KEYS = [*"abcdefgh", "é", "日本", "\U0001f600", "\0", '"', "k" * 256]
SIZES = (0, 100)
LARGE = (1_500_000, 6_000_000)  # rare, because every attempt makes an event of them
RESPONSES = (
    None,
    {},
    [],
    "text",
    7,
    {"batchItemFailures": None},
    {"batchItemFailures": []},
    {"batchItemFailures": {}},
    {"batchItemFailures": [None]},
    {"batchItemFailures": [{"itemIdentifier": ""}]},
    {"batchItemFailures": [{"itemIdentifier": None}]},
    {"batchItemFailures": [{"itemidentifier": "1"}]},
)
# What an identifier may be by mistake.
VALUES = (None, "", "1", 1, 0.5, True, [], {}, "é\0")


def draw(seed: int) -> Json:
    """The scenario of a seed, without its steps."""
    chance = random.Random(seed)
    shards = chance.randint(1, 3)
    reshards, owners = draw_reshards(chance, shards)
    records = draw_records(chance, owners)
    created = chance.choice([0, 0, 0, 2_000, 30_000])
    return {
        "mapping": draw_mapping(chance, created),
        "shards": shards,
        "created": created,
        "records": records,
        "reshards": reshards,
        "function": [draw_rule(chance, len(records)) for _ in range(chance.randint(0, 5))],
        # The last is after the end of the stream.
        "until": chance.choice([5_000, 200_000, 200_000_000]),
    }


def draw_mapping(chance: random.Random, created: int) -> Json:
    position = chance.choice(["TRIM_HORIZON", "TRIM_HORIZON", "LATEST", "AT_TIMESTAMP"])
    mapping: Json = {
        "BatchSize": chance.choice([1, 2, 3, 5, 10]),
        "MaximumBatchingWindowInSeconds": chance.choice([0, 0, 1, 5, 300]),
        "ParallelizationFactor": chance.choice([1, 1, 2, 3, 10]),
        "BisectBatchOnFunctionError": chance.random() < 0.5,
        "MaximumRetryAttempts": chance.choice([-1, 0, 1, 2, 5]),
        "MaximumRecordAgeInSeconds": chance.choice([-1, -1, 60, 100]),
        "FunctionResponseTypes": chance.choice([[], ["ReportBatchItemFailures"]]),
        "StartingPosition": position,
    }
    if position == "AT_TIMESTAMP":
        mapping["StartingPositionTimestamp"] = chance.randint(0, created)
    return mapping


def draw_reshards(
    chance: random.Random, shards: int
) -> tuple[list[Json], list[tuple[int, int, int]]]:
    """Splits and merges, and each shard with the times from which and before which it is open."""
    open_shards = list(range(shards))  # in the order of their hash keys
    begins, ends = dict.fromkeys(open_shards, 0), dict.fromkeys(open_shards, 100_000)
    reshards: list[Json] = []
    at = 0
    for _ in range(chance.choice([0, 0, 1, 2, 3])):
        at += chance.choice([0, 1_000, 20_000])
        index = chance.randrange(len(open_shards))
        if chance.random() < 0.5 and index + 1 < len(open_shards):
            parents, children = open_shards[index : index + 2], [len(begins)]
            reshards.append({"at": at, "merge": parents})
        else:
            parents, children = [open_shards[index]], [len(begins), len(begins) + 1]
            reshards.append({"at": at, "split": parents[0]})
        open_shards[index : index + len(parents)] = children
        ends |= dict.fromkeys(parents, at)
        begins |= dict.fromkeys(children, at)
        ends |= dict.fromkeys(children, 100_000)
    return reshards, [(shard, begins[shard], ends[shard]) for shard in begins]


def draw_records(chance: random.Random, owners: list[tuple[int, int, int]]) -> list[Json]:
    records = []
    sizes = (*SIZES, *LARGE) if chance.random() < 0.05 else SIZES
    for _ in range(chance.randint(1, 25)):
        shard, begins, ends = chance.choice(owners)
        if begins < ends:
            # Times that coincide with windows, pauses and answers.
            at = min(begins + chance.choice([0, 0, 500, 1_000, 5_000, 61_000]), ends - 1)
            record = {"at": at, "shard": shard, "key": chance.choice(KEYS)}
            count = chance.choice([1, 1, 1, 1, 3])
            records.append({**record, "bytes": chance.choice(sizes), "count": count})
    return sorted(records, key=lambda record: record["at"])


def draw_rule(chance: random.Random, records: int) -> Json:
    rule: Json = {"takes": chance.choice([0, 0, 1, 500, 1_000, 70_000])}
    if chance.random() < 0.7:
        rule["when"] = sorted({chance.randint(0, records) for _ in range(2)})
    if chance.random() < 0.7:
        rule["times"] = chance.randint(1, 4)
    failed = {"failed": [chance.randint(0, records) for _ in range(chance.randint(0, 2))]}
    response = {"response": draw_response(chance, records)}
    rule["answer"] = chance.choice(
        ["done", "error", "error", "throttled", failed, failed, response]
    )
    return rule


def draw_response(chance: random.Random, records: int) -> Any:
    """A response of any form, often with valid and invalid items side by side."""
    if chance.random() < 0.5:
        return chance.choice(RESPONSES)
    items: list[Any] = []
    for _ in range(chance.randint(1, 4)):
        identifier = sequence_number(chance.randint(0, records))
        wrong = {"itemIdentifier": chance.choice(VALUES)}
        right = {"itemIdentifier": identifier}
        items.append(chance.choice([right, right, {**right, "why": 1}, wrong, identifier, None]))
    return {"batchItemFailures": items, "other": chance.choice(VALUES)}
