"""The run of a demo as one page that needs no network: what came in, where, how fast, and what was
alerted.

The charts are Plotly's, whose script is part of the page.
"""

from __future__ import annotations

import html
import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from tools.live.atlas import Atlas
from tools.live.figures import PLAIN, as_json, events_by_second, latency, part, rank
from tools.local.alert_queue import Alert
from tools.local.dataset import Dataset
from tools.local.stack import QueryResult, timestamp

SHOWN_ALERTS = 100
SHOWN_ROWS = 20
BACKDROP_POINTS = 2_000

TITLES = {
    "rows": "rows in the file",
    "accepted": "accepted, on stream 1",
    "rejected": "rejected",
    "raw_rows": "in the raw layer",
    "severe_events": "severe, on stream 2",
    "analytical_rows": "in the analytical layer",
    "metric_sum": "counted in CloudWatch",
    "alerts": "alerted",
    "alerted_events": "in the alerts table",
}


@dataclass(frozen=True)
class QuestionResult:
    """What Athena answered to a saved query."""

    question: str
    result: QueryResult


@dataclass(frozen=True)
class Run:
    """All that the page shows."""

    dataset: Dataset
    summary: dict[str, Any]
    events: Sequence[dict[str, Any]]  # on stream 1
    severe_above: int
    alerts: Sequence[Alert]
    latencies_ms: Sequence[int]
    answers: Sequence[QuestionResult] = field(default=())

    def severity(self, event: dict[str, Any]) -> int:
        return self.dataset.severities.level(event[self.dataset.severity])


def render(run: Run) -> str:
    """The page."""
    figures = {
        "events": events(run),
        "stages": stages(run),
        "latency": latency(run.latencies_ms, run.summary["event_to_alert_ms"]),
    }
    places = where(run)
    sections = {name: section for name, section in FIGURES.items() if name != "map" or places}
    return PAGE.substitute(
        title=html.escape(f"{run.dataset.heading}, from the file to the alert"),
        lead=html.escape(lead(run)),
        theme=part("theme.css"),
        counts=counts(run.summary),
        figures="".join(sections.values()),
        alerts=alerts(run.alerts),
        answers="".join(map(answer, run.answers)),
        plotly=get_plotlyjs(),
        drawing=part("charts.js") + part("map.js"),
        data=in_script({name: as_json(figure) for name, figure in figures.items()}),
        map=in_script(places),
    )


def lead(run: Run) -> str:
    summary = run.summary
    text = (
        f"{summary['rows']:,} rows went through in {summary['seconds']:,} s: "
        f"{summary['severe_events']:,} severe events, {summary['alerts']:,} of them alerted by "
        f"{len(run.alerts):,} messages"
    )
    ages = summary["event_to_alert_ms"]
    if ages["p50"] is None:
        return text + "."
    return f"{text}, half of them within {ages['p50']:,} ms and 99 % within {ages['p99']:,} ms."


# ------------------------------------------------------------------------------------ figures


def events(run: Run) -> go.Figure:
    """Events of each severity in every second."""
    by_second: Counter[tuple[int, int]] = Counter()
    for event in run.events:
        second = int(timestamp(event[run.dataset.received_at]).timestamp())
        by_second[second, run.severity(event)] += 1
    first = min((second for second, _ in by_second), default=0)
    figure = events_by_second(by_second, run.dataset, lambda second: second - first)
    figure.update_xaxes(title="seconds since the first event", tickformat=None, hoverformat=None)
    return figure


def where(run: Run) -> dict[str, Any] | None:
    """The severe events by their coordinates, over the others as a faint backdrop."""
    dataset = run.dataset
    if dataset.location is None:
        return None
    atlas, levels = Atlas.of(dataset.region), dataset.severities.ascending
    severe, others = [], []
    for event in run.events:
        place = atlas.place(*(event.get(side) for side in dataset.location))
        severity = run.severity(event)
        if place and severity > run.severe_above:
            severe.append([*place, rank(severity, levels), dataset.label_of(event)])
        elif place:
            others.append([*place, 0, ""])
    if not severe:
        return None
    if len(others) > BACKDROP_POINTS:
        others = random.Random(0).sample(others, BACKDROP_POINTS)
    legend = [
        {"rank": rank(level, levels), "text": dataset.named(level)}
        for level in levels
        if level > run.severe_above
    ]
    return {"outline": atlas.outline, "points": others + severe, "severities": legend}


def stages(run: Run) -> go.Figure:
    """The counts of each stage."""
    names = list(TITLES)[::-1]
    figure = go.Figure(
        go.Bar(
            x=[run.summary[name] for name in names],
            y=[TITLES[name] for name in names],
            orientation="h",
            marker_color=PLAIN,
            text=[f"{run.summary[name]:,}" for name in names],
            textposition="auto",
            hoverinfo="skip",
        )
    )
    figure.update_yaxes(automargin=True)
    return figure


def in_script(value: Any) -> str:
    """JSON that no end tag or comment inside a text can break out of."""
    return json.dumps(value, default=list).replace("<", "\\u003c")


# --------------------------------------------------------------------------------------- texts


def counts(summary: dict[str, Any]) -> str:
    numbers = [(name, title, summary[name]) for name, title in TITLES.items()]
    numbers += [
        (
            f"event_to_alert_ms.{name}",
            f"ms from event to alert ({name})",
            summary["event_to_alert_ms"][name],
        )
        for name in ("p50", "p99")
    ]
    return "".join(count(*number) for number in numbers)


def count(name: str, title: str, number: int | None) -> str:
    shown = "none" if number is None else f"{number:,}"
    value = "" if number is None else number
    return (
        f'<div class="count"><b data-summary="{name}" data-value="{value}">{shown}</b>'
        f"<span>{html.escape(title)}</span></div>"
    )


def alerts(sent: Sequence[Alert]) -> str:
    if not sent:
        return "<p>No event was severe enough for an alert.</p>"
    cards = "".join(map(card, sent[:SHOWN_ALERTS]))
    return cards + more(len(sent) - SHOWN_ALERTS, "message")


def more(count: int, noun: str) -> str:
    return f"<p>and {count:,} more {noun}{'s' if count > 1 else ''}</p>" if count > 0 else ""


def card(alert: Alert) -> str:
    digest = f' <em class="digest">{alert.count:,} in one</em>' if alert.count > 1 else ""
    return (
        f'<details class="alert"><summary>{html.escape(alert.subject)}{digest}'
        f"<time>{alert.received.strftime('%H:%M:%S')}</time></summary>"
        f"<pre>{html.escape(alert.text.strip())}</pre></details>"
    )


def answer(given: QuestionResult) -> str:
    result = given.result
    head = "".join(f"<th>{html.escape(column)}</th>" for column in result.columns)
    rows = "".join(map(table_row, result.rows[:SHOWN_ROWS]))
    note = more(len(result.rows) - SHOWN_ROWS, "row")
    return (
        f'<section class="answer"><h3>{html.escape(given.question)}</h3><div class="table"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>{note}</section>"
    )


def table_row(cells: Sequence[str | None]) -> str:
    return "<tr>" + "".join(f"<td>{html.escape(cell or '')}</td>" for cell in cells) + "</tr>"


def question(sql: str) -> str:
    """What a saved query asks: the first line of its comment."""
    comments = (line[2:].strip() for line in sql.splitlines() if line.startswith("-- "))
    return next(comments, "A query")


def figure_section(name: str, title: str, text: str) -> str:
    return (
        f'<section class="figure"><h2>{title}</h2><p>{text}</p>'
        f'<div class="plot" id="figure-{name}"></div></section>'
    )


FIGURES = {
    "events": figure_section(
        "events", "Events per second", "As they came in on stream 1, by severity."
    ),
    "map": figure_section(
        "map", "Where the severe ones were", "By their coordinates; grey are the others."
    ),
    "stages": figure_section(
        "stages", "Stage by stage", "The count at each stage, read back from the services."
    ),
    "latency": figure_section(
        "latency",
        "From event to alert",
        "From the moment that ingest took an event in until its alert was in a reader's queue.",
    ),
}

PAGE = Template(Path(__file__).with_suffix(".html").read_text(encoding="utf-8"))
