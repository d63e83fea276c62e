"""Every record is written once, in time, with those of its partition."""

from __future__ import annotations

import random

from tools.local.services.buffering import Batch, Buffers, Hints, Record

HINTS = Hints(size=100, interval=2.0)


def record(number: int, arrived: float, size: int = 8) -> Record:
    return Record(str(number).encode().ljust(size, b" "), arrived)


def test_a_buffer_is_written_after_its_interval() -> None:
    buffers = Buffers()
    buffers.add("a", record(1, 10.0), HINTS)
    buffers.add("a", record(2, 11.9), HINTS)
    assert buffers.due(11.99, HINTS) == []
    (batch,) = buffers.due(12.0, HINTS)
    assert [each.arrived for each in batch.records] == [10.0, 11.9]
    assert buffers.due(20.0, HINTS) == []
    assert buffers.oldest is None


def test_a_buffer_is_written_once_it_has_its_size() -> None:
    buffers = Buffers()
    for number in range(5):
        buffers.add("a", record(number, 10.0, 50), HINTS)
    batches = buffers.due(10.0, HINTS)
    assert [len(batch.records) for batch in batches] == [2, 2]
    assert [len(batch.records) for batch in buffers.due(12.0, HINTS)] == [1]


def test_each_partition_has_an_object_of_its_own() -> None:
    buffers = Buffers()
    for number in range(6):
        buffers.add(number % 3, record(number, 10.0), HINTS)
    assert buffers.partitions == 3
    assert [batch.partition for batch in buffers.due(12.0, HINTS)] == [0, 1, 2]
    assert buffers.partitions == 0


def test_what_could_not_be_written_is_due_again() -> None:
    buffers = Buffers()
    buffers.add("a", record(1, 10.0), HINTS)
    (batch,) = buffers.due(12.0, HINTS)
    buffers.give_back(batch, not_before=14.0)
    buffers.add("a", record(2, 12.5), HINTS)
    assert buffers.oldest == 10.0
    assert buffers.due(13.9, HINTS) == []
    first, second = buffers.due(14.5, HINTS)
    assert (first.failures, first.arrived, second.arrived) == (1, 10.0, 12.5)


def test_every_record_is_written_once_in_order_and_in_time() -> None:
    random.seed(1)
    for _ in range(300):
        hints = Hints(size=random.choice((1, 64, 10_000)), interval=random.choice((0.0, 1.0, 5.0)))
        buffers, now = Buffers(), 1000.0
        sent: list[tuple[int, Record]] = []
        written: list[Batch] = []
        for number in range(random.randint(1, 60)):
            now += random.choice((0.0, 0.1, 3.0))
            partition, each = random.randrange(3), record(number, now, random.choice((8, 40)))
            sent.append((partition, each))
            buffers.add(partition, each, hints)
            for batch in buffers.due(now, hints):
                if random.random() < 0.3:
                    buffers.give_back(batch, now + random.choice((0.0, 1.0)))
                    continue
                written.append(batch)
            oldest = buffers.oldest
            failed = any(batch.failures for batch in buffers._full)
            assert oldest is None or failed or now - oldest < hints.interval
        written += buffers.due(now + 100.0, hints)
        found = [(batch.partition, each) for batch in written for each in batch.records]
        assert sorted(found, key=lambda of: int(of[1].data)) == sent
        for batch in written:
            assert batch.records == sorted(batch.records, key=lambda each: int(each.data))
            assert batch.size == sum(len(each.data) for each in batch.records)
            assert batch.size - len(batch.records[-1].data) < hints.size
