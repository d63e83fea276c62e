"""What the live page shows: events, alerts and counts, aggregated as they arrive.

Nothing here knows a service, a clock or a server. What grows with the traffic is bounded: the page
has the latest, and the totals.
"""

from __future__ import annotations

import itertools
from collections import Counter, OrderedDict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from tools.live import figures
from tools.live.atlas import Atlas, Point
from tools.local.alert_queue import Alert
from tools.local.dataset import Dataset
from tools.local.stack import percentile, timestamp

CHART_SECONDS = 180
KEPT_POINTS = 5_000
KEPT_ALERTS = 60
KEPT_LATENCIES = 10_000
KEPT_IDS = 100_000
# Points of events that are not severe are the backdrop: a share of them for each second.
BACKDROP_A_SECOND = 25
RATE_SECONDS = 10

TEXT_CHARS = 300
LONG_TEXT_CHARS = 2_000


@dataclass(frozen=True)
class Stage:
    """A count on the page, and which other it should reach."""

    name: str
    title: str
    read_from: str
    of: str | None = None


@dataclass(frozen=True)
class Entry:
    """Something of the page with its number, by which a browser asks for what is new."""

    number: int
    content: Any


class Numbered:
    """The latest entries of a sequence."""

    def __init__(self, most: int) -> None:
        self._entries: deque[Entry] = deque(maxlen=most)
        self.count = 0

    def append(self, content: Any) -> None:
        self.count += 1
        self._entries.append(Entry(self.count, content))

    def since(self, number: int) -> list[Any]:
        """The contents after that number, the oldest first, as far as they are kept."""
        newer = itertools.takewhile(lambda entry: entry.number > number, reversed(self._entries))
        return [entry.content for entry in newer][::-1]


@dataclass
class View:
    """The state of a run."""

    dataset: Dataset
    atlas: Atlas
    severe_above: int
    stages: Sequence[Stage]
    counts: dict[str, int | None] = field(default_factory=dict)
    points: Numbered = field(default_factory=lambda: Numbered(KEPT_POINTS))
    alerts: Numbered = field(default_factory=lambda: Numbered(KEPT_ALERTS))
    latencies_ms: deque[int] = field(default_factory=lambda: deque(maxlen=KEPT_LATENCIES))
    within: dict[str, int | None] | None = None  # percentiles that a service has computed
    accepted: int = 0
    severe_accepted: int = 0
    severe: int = 0
    alerted: int = 0
    unplaced: int = 0  # severe events without a place on the map
    messages: int = 0
    recorded: int = 0  # events in the alerts table
    fresh_seconds: float = 5  # how late the newest event may be known
    by_second: Counter[tuple[int, int]] = field(default_factory=Counter)
    _backdrop: Counter[int] = field(default_factory=Counter)
    _received: OrderedDict[str, datetime] = field(default_factory=OrderedDict)
    _messages: OrderedDict[str, int] = field(default_factory=OrderedDict)  # of the queue
    _rows: OrderedDict[str, int] = field(default_factory=OrderedDict)  # of other messages

    # ---------------------------------------------------------------------------- what comes in

    def take_events(self, events: Iterable[dict[str, Any]]) -> None:
        """Events of stream 1."""
        for event in events:
            self.accepted += 1
            received, level = self._received_at(event), self._level_of(event)
            if received is None or level is None:
                continue  # not from ingest; transform rejects it
            second = int(received.timestamp())
            self.by_second[second, level] += 1
            if level > self.severe_above:
                self.severe_accepted += 1
                self._take_point(event, level, cut(self.dataset.label_of(event)))
            elif self._backdrop[second] < BACKDROP_A_SECOND and (place := self._place(event)):
                self._backdrop[second] += 1
                self.points.append([*place, 0, ""])
        self._forget_seconds()

    def take_severe(self, events: Iterable[dict[str, Any]]) -> None:
        """Events of stream 2."""
        for event in events:
            self.severe += 1
            if received := self._received_at(event):
                remember(self._received, str(event.get(self.dataset.id)), received)

    def take_alert(self, message_id: str, alert: Alert, is_mapped: bool = False) -> None:
        """A message from the queue; `is_mapped` puts the places in it on the map."""
        if message_id in self._messages:
            return
        remember(self._messages, message_id, alert.count)
        self.alerted += alert.count
        if earlier := self._rows.pop(message_id, 0):
            self.alerted -= earlier
            return  # its row was faster
        self.messages += 1
        ages = self._ages_ms(alert)
        self.latencies_ms.extend(ages)
        level = self._level(alert.content.get(self.dataset.severity_attribute))
        self.alerts.append(
            {
                "subject": cut(alert.subject),
                "text": cut(alert.text.strip(), LONG_TEXT_CHARS),
                "details": self._details(alert.content),
                "rank": self._rank(level),
                "count": alert.count,
                "at": alert.received.strftime("%H:%M:%S"),
                "latency_ms": min(ages, default=None),
            }
        )
        if is_mapped:
            self._take_places(alert.content, level, cut(alert.subject))

    def take_row(self, row: dict[str, Any]) -> None:
        """A row of the alerts table. It is shown if its message was sent before the queue was
        there."""
        count, message_id = int(row["event_count"]), row.get("message_id")
        self.recorded += count
        if message_id in self._messages:
            return
        self.alerted += count
        if message_id:
            remember(self._rows, message_id, self._rows.get(message_id, 0) + count)
            if self._rows[message_id] > count:
                return  # another row of the same message
        self.messages += 1
        if (latency := row.get("latency_ms")) is not None:
            self.latencies_ms.append(latency)
        self.alerts.append(
            {
                "subject": cut(str(row["subject"])),
                "text": "",
                "details": "",
                "rank": self._rank(int(row["severity"])),
                "count": count,
                "at": str(row["alerted_at"])[11:19],
                "latency_ms": latency,
            }
        )

    # --------------------------------------------------------------------------- what is shown

    def hello(self, place: str) -> dict[str, Any]:
        """What a page needs before anything else."""
        return {
            "title": self.dataset.heading,
            "place": place,
            "outline": self.atlas.outline,
            "has_map": self.dataset.location is not None,
            "stages": [
                {"name": stage.name, "title": stage.title, "read_from": stage.read_from}
                for stage in self.stages
            ],
            "severities": [
                {"rank": self._rank(level), "text": self.dataset.named(level)}
                for level in self.dataset.severities.ascending
                if level > self.severe_above
            ],
        }

    def news(self, points: int, alerts: int) -> dict[str, Any]:
        """What is new since those numbers of the points and alerts."""
        return {
            "points": self.points.since(points),
            "alerts": self.alerts.since(alerts),
            "next": [self.points.count, self.alerts.count],
        }

    def summary(self, now: datetime) -> dict[str, Any]:
        """All that may change, without what `news` has."""
        within = self.percentiles()
        charts = {"events": self._events_figure(), "latency": self._latency_figure(within)}
        return {
            "counts": {stage.name: self._count(stage) for stage in self.stages},
            "unplaced": self.unplaced,
            "rate": self.rate(now),
            "within": within,
            "figures": {name: figures.as_json(figure) for name, figure in charts.items()},
        }

    def percentiles(self) -> dict[str, int | None]:
        """Of the latencies of the latest alerted events, unless a service has computed them."""
        latest = list(self.latencies_ms)
        return self.within or {"p50": percentile(latest, 50), "p99": percentile(latest, 99)}

    def rate(self, now: datetime) -> float:
        """Events a second over the last seconds, or zero if none has arrived lately."""
        last = max((second for second, _ in self.by_second), default=0)
        if now.timestamp() - last > self.fresh_seconds:
            return 0
        # The last second may not be over.
        first = max(min(second for second, _ in self.by_second), last - RATE_SECONDS)
        seconds = range(first, max(last, first + 1))
        events = sum(count for (second, _), count in self.by_second.items() if second in seconds)
        return round(events / len(seconds), 1)

    def _count(self, stage: Stage) -> dict[str, int | None]:
        count, of = self.counts.get(stage.name), stage.of and self.counts.get(stage.of)
        behind = None if count is None or of is None else of - count
        return {"count": count, "behind": behind}

    def _events_figure(self) -> Any:
        return figures.events_by_second(self.by_second, self.dataset, second_text)

    def _latency_figure(self, within: dict[str, int | None]) -> Any:
        return figures.latency(list(self.latencies_ms), within)

    # -------------------------------------------------------------------------------- its parts

    def _rank(self, level: int) -> int:
        return figures.rank(level, self.dataset.severities.ascending)

    def _level_of(self, event: dict[str, Any]) -> int | None:
        try:
            return self.dataset.severities.level(event[self.dataset.severity])
        except (KeyError, ValueError, OverflowError):
            return None

    def _received_at(self, event: dict[str, Any]) -> datetime | None:
        try:
            return timestamp(str(event[self.dataset.received_at]))
        except (KeyError, ValueError):
            return None

    def _forget_seconds(self) -> None:
        first = max((second for second, _ in self.by_second), default=0) - CHART_SECONDS
        for old in [key for key in self.by_second if key[0] < first]:
            del self.by_second[old]
        for old in [second for second in self._backdrop if second < first]:
            del self._backdrop[old]

    def _place(self, event: dict[str, Any]) -> Point | None:
        if self.dataset.location is None:
            return None
        return self.atlas.place(*(event.get(side) for side in self.dataset.location))

    def _take_point(self, event: dict[str, Any], level: int, label: str) -> None:
        if place := self._place(event):
            self.points.append([*place, self._rank(level), label])
        elif self.dataset.location is not None:
            self.unplaced += 1

    def _take_places(self, content: dict[str, Any], level: int, label: str) -> None:
        """The places in an alert: of its event, or of the first of a digest."""
        for each in [content, *content.get("events", [])]:
            if isinstance(each.get("details"), dict):
                self._take_point(each["details"], level, label)

    def _level(self, severity: Any) -> int:
        """The level in an alert: a digest over several has a list."""
        levels = severity if isinstance(severity, list) else [severity]
        return max((level for level in levels if isinstance(level, int)), default=0)

    def _ages_ms(self, alert: Alert) -> list[int]:
        """The time from event to alert, of each event whose receipt is known."""
        received = [self._received[event] for event in alert.ids if event in self._received]
        if not received and alert.content.get("at"):
            received = [timestamp(alert.content["at"])]
        return [round((alert.received - each).total_seconds() * 1000) for each in received]

    def _details(self, content: dict[str, Any]) -> str:
        """The details in words, without the place, which the map shows."""
        details = content.get("details")
        if not isinstance(details, dict):
            return ""
        words = [str(value) for value in details.values() if not isinstance(value, float)]
        return cut(" · ".join(words))


def remember(entries: OrderedDict[str, Any], key: str, value: Any) -> None:
    """Keeps an entry, and forgets the oldest beyond the limit."""
    entries[key] = value
    if len(entries) > KEPT_IDS:
        entries.popitem(last=False)


def cut(text: str, chars: int = TEXT_CHARS) -> str:
    return text if len(text) <= chars else text[: chars - 1] + "…"


def second_text(second: int) -> str:
    """A second as a chart's axis takes it."""
    return datetime.fromtimestamp(second, timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
