"""The run of a demo as one page that needs no network: what came in, where, how fast, and what was
alerted.

The charts are Plotly's, whose script is part of the page.
"""

from __future__ import annotations

import html
import json
import math
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from tools.local.stack import Alert, Dataset, QueryResult, timestamp

# From the least severe to the most, and for those that the scale does not reach.
COLOURS = ("#f2c14e", "#f08a3c", "#d8432f", "#8f1d2c")

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
class Answer:
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
    answers: Sequence[Answer] = field(default=())

    def severity(self, event: dict[str, Any]) -> int:
        return self.dataset.severities.level(event[self.dataset.severity])

    def named(self, severity: int) -> str:
        return f"severity {self.dataset.severities.text(severity)}"


def render(run: Run) -> str:
    """The page."""
    figures = {
        "events": events_by_second(run),
        "stages": stages(run),
        "latency": latency(run),
    }
    if (places := where(run)) is not None:
        figures["map"] = places
    return PAGE.substitute(
        title=html.escape(heading(run.dataset)),
        lead=html.escape(lead(run)),
        counts=counts(run.summary),
        figures="".join(FIGURES[name] for name in FIGURES if name in figures),
        alerts=alerts(run.alerts),
        answers="".join(map(answer, run.answers)),
        plotly=get_plotlyjs(),
        data=in_script({name: figure.to_plotly_json() for name, figure in figures.items()}),
    )


def heading(dataset: Dataset) -> str:
    return f"{dataset.title[:1].upper()}{dataset.title[1:]}s, from the file to the alert"


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


def colour(severity: int, severities: Sequence[int]) -> str:
    """By its place among the severities that occur, the last for the most severe."""
    place = len(COLOURS) - len(severities) + severities.index(severity)
    return COLOURS[max(0, place)]


def events_by_second(run: Run) -> go.Figure:
    """Events of each severity in every second, empty ones too."""
    by_second: Counter[tuple[int, int]] = Counter()
    for event in run.events:
        second = int(timestamp(event[run.dataset.received_at]).timestamp())
        by_second[second, run.severity(event)] += 1
    severities = sorted({severity for _, severity in by_second})
    figure = go.Figure()
    if by_second:
        first, last = min(by_second)[0], max(second for second, _ in by_second)
        seconds = range(first, last + 1)
        for severity in severities:
            figure.add_bar(
                x=[second - first for second in seconds],
                y=[by_second[second, severity] for second in seconds],
                name=run.named(severity),
                marker_color=colour(severity, severities),
                hovertemplate="second %{x}: %{y}",
            )
    figure.update_layout(barmode="stack", bargap=0.1, showlegend=True)
    figure.update_xaxes(title="seconds since the first event")
    figure.update_yaxes(title="events a second")
    return figure


def where(run: Run) -> go.Figure | None:
    """The severe events by their coordinates, over the others as a faint backdrop."""
    if run.dataset.location is None:
        return None
    latitude, longitude = run.dataset.location
    placed = [event for event in run.events if event.get(latitude) and event.get(longitude)]
    severe = [event for event in placed if run.severity(event) > run.severe_above]
    if not severe:
        return None
    others = [event for event in placed if run.severity(event) <= run.severe_above]
    if len(others) > BACKDROP_POINTS:
        others = random.Random(0).sample(others, BACKDROP_POINTS)
    figure = go.Figure()
    figure.add_scatter(
        x=[event[longitude] for event in others],
        y=[event[latitude] for event in others],
        mode="markers",
        name="not severe",
        marker={"size": 3, "color": "#8a8f98", "opacity": 0.35},
        hoverinfo="skip",
    )
    severities = sorted({run.severity(event) for event in severe})
    for severity in severities:
        here = [event for event in severe if run.severity(event) == severity]
        figure.add_scatter(
            x=[event[longitude] for event in here],
            y=[event[latitude] for event in here],
            text=[html.escape(str(event.get(run.dataset.area, "unknown"))) for event in here],
            mode="markers",
            name=run.named(severity),
            marker={"size": 7, "color": colour(severity, severities), "opacity": 0.85},
            hovertemplate="%{text}<br>%{y:.3f}, %{x:.3f}",
        )
    middle = sum(float(event[latitude]) for event in severe) / len(severe)
    # A degree of longitude is shorter the farther it is from the equator.
    ratio = 1 / max(0.2, math.cos(math.radians(middle)))
    figure.update_layout(showlegend=True)
    figure.update_xaxes(title="longitude", zeroline=False)
    figure.update_yaxes(title="latitude", zeroline=False, scaleanchor="x", scaleratio=ratio)
    return figure


def stages(run: Run) -> go.Figure:
    """The counts of each stage."""
    names = list(TITLES)[::-1]
    figure = go.Figure(
        go.Bar(
            x=[run.summary[name] for name in names],
            y=[TITLES[name] for name in names],
            orientation="h",
            marker_color="#3b7ea1",
            text=[f"{run.summary[name]:,}" for name in names],
            textposition="auto",
            hoverinfo="skip",
        )
    )
    figure.update_yaxes(automargin=True)
    return figure


def latency(run: Run) -> go.Figure:
    """How many events were alerted within which time."""
    figure = go.Figure(
        go.Histogram(
            x=list(run.latencies_ms),
            nbinsx=40,
            marker_color="#3b7ea1",
            hovertemplate="%{x} ms: %{y} events",
        )
    )
    for name, label in (("p50", "half within"), ("p99", "99 % within")):
        if (at := run.summary["event_to_alert_ms"][name]) is not None:
            figure.add_vline(x=at, line_dash="dot", line_color="#d8432f")
            figure.add_annotation(
                x=at,
                y=1,
                yref="paper",
                text=f"{label} {at:,} ms",
                showarrow=False,
                yanchor="bottom",
            )
    figure.update_xaxes(title="milliseconds from event to alert", rangemode="tozero")
    figure.update_yaxes(title="events")
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
    more = len(sent) - SHOWN_ALERTS
    return cards + (f"<p>and {more:,} more messages</p>" if more > 0 else "")


def card(alert: Alert) -> str:
    digest = f' <em class="digest">{alert.count:,} in one</em>' if alert.count > 1 else ""
    return (
        f'<details class="alert"><summary>{html.escape(alert.subject)}{digest}'
        f"<time>{alert.received.strftime('%H:%M:%S')}</time></summary>"
        f"<pre>{html.escape(alert.text.strip())}</pre></details>"
    )


def answer(given: Answer) -> str:
    result = given.result
    head = "".join(f"<th>{html.escape(column)}</th>" for column in result.columns)
    rows = "".join(
        f"<tr>{''.join(f'<td>{html.escape(cell or str())}</td>' for cell in row)}</tr>"
        for row in result.rows[:SHOWN_ROWS]
    )
    more = len(result.rows) - SHOWN_ROWS
    note = f"<p>and {more:,} more rows</p>" if more > 0 else ""
    return (
        f'<section class="answer"><h3>{html.escape(given.question)}</h3><div class="table"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>{note}</section>"
    )


def question(sql: str) -> str:
    """What a saved query asks: the first line of its comment."""
    return next(iter(comments(sql.splitlines())), "A query")


def comments(lines: Iterable[str]) -> Iterable[str]:
    return (line.removeprefix("--").strip() for line in lines if line.startswith("-- "))


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
