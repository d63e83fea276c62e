"""When a delivery stream writes its records, and which go into one object.

Nothing here knows a clock or a service. Firehose has a buffer for each partition, and writes it
once it has the size, or its first record has waited for the interval, whichever comes first.
Source: https://docs.aws.amazon.com/firehose/latest/dev/create-configure-backup.html
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Record:
    data: bytes
    arrived: float  # seconds since 1970


@dataclass(frozen=True)
class Hints:
    """When a buffer is written: at a size in bytes, or after an interval in seconds."""

    size: int
    interval: float


@dataclass
class Batch:
    """The records of one object."""

    partition: Hashable
    records: list[Record] = field(default_factory=list)
    size: int = 0
    # How often it could not be written, and when to try again.
    failures: int = 0
    not_before: float = 0.0

    @property
    def arrived(self) -> float:
        """When its oldest record came."""
        return self.records[0].arrived


class Buffers:
    """The records of a delivery stream that have not been written."""

    def __init__(self) -> None:
        self._open: dict[Hashable, Batch] = {}
        self._full: list[Batch] = []

    def __contains__(self, partition: Hashable) -> bool:
        return partition in self._open

    @property
    def partitions(self) -> int:
        """How many partitions are active."""
        return len({*self._open, *(batch.partition for batch in self._full)})

    @property
    def oldest(self) -> float | None:
        """When the oldest record came."""
        return min((batch.arrived for batch in [*self._full, *self._open.values()]), default=None)

    def add(self, partition: Hashable, record: Record, hints: Hints) -> None:
        batch = self._open.setdefault(partition, Batch(partition))
        batch.records.append(record)
        batch.size += len(record.data)
        if batch.size >= hints.size:
            self._full.append(self._open.pop(partition))

    def due(self, now: float, hints: Hints) -> list[Batch]:
        """Takes out the batches that are to be written now, the oldest first."""
        waited = [
            partition
            for partition, batch in self._open.items()
            if now - batch.arrived >= hints.interval
        ]
        ready = [*self._full, *(self._open.pop(partition) for partition in waited)]
        self._full = [batch for batch in ready if batch.not_before > now]
        return sorted(
            (batch for batch in ready if batch.not_before <= now), key=lambda batch: batch.arrived
        )

    def give_back(self, batch: Batch, not_before: float) -> None:
        """Keeps a batch that could not be written, to be due again later."""
        batch.failures += 1
        batch.not_before = not_before
        self._full.append(batch)
