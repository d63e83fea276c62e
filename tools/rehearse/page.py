"""A rehearsal as one page that needs no network, with the charts and the style of the demo's."""

from __future__ import annotations

import html
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs
from rich.table import Table
from rich.text import Text

from tools.live.figures import PLAIN, as_json, colour, part
from tools.local import report
from tools.local.alert_queue import Alert
from tools.local.stack import QueryResult
from tools.rehearse import tables, wording
from tools.rehearse.setting import Setting

WINDOWS = ("minute", "hour", "day")
AREAS = 15
DEPARTMENTS = 30
COLOURS = (PLAIN, colour(3))  # of the first setting and of the second

# The figures, each with its title and what it shows.
FIGURES = (
    ("days", "Day by day", "Severe and alerted events and the messages about them."),
    ("hours", "By the hour of the day", "Messages, in the time of the files."),
    ("weekdays", "By the day of the week", "Messages."),
    ("areas", "Where", "Alerted events by area, the most first."),
    ("departments", "To whom", "Messages that each department would have received."),
)


def render(result: dict[str, Any], settings: Sequence[Setting]) -> str:
    """The page."""
    found = result["settings"]
    answers = [report.answer(answer(table)) for table in tables.every(result, settings)]
    # The thresholds are what most readers look for, so that they are before the figures.
    first = 1 if result["thresholds"] else 0
    figures = {
        "days": days(found),
        "hours": by(found, "by_hour", [f"{hour} h" for hour in range(24)]),
        "weekdays": by(found, "by_weekday", tables.WEEKDAYS),
        "areas": areas(found),
        "departments": departments(found),
    }
    notes = (f"Note: {note}." for note in result["notes"])
    return report.PAGE.substitute(
        title=html.escape(heading(settings)),
        lead="<br>".join(map(html.escape, [*wording.sentences(result), *notes])),
        theme=part("theme.css"),
        counts=counts(result),
        figures="".join([*answers[:first], *(report.figure_section(*each) for each in FIGURES)]),
        alerts="".join(map(worst, found)),
        answers="".join(answers[first:]),
        plotly=get_plotlyjs(),
        drawing=part("charts.js") + part("map.js"),
        data=report.in_script({name: as_json(each) for name, each in figures.items()}),
        map=report.in_script(None),
    )


def heading(settings: Sequence[Setting]) -> str:
    return f"Rehearsal: {' against '.join(setting.name for setting in settings)}"


def counts(result: dict[str, Any]) -> str:
    """The numbers above the charts, those of the first setting."""
    first = result["settings"][0]
    alerts = first["alerts"]
    numbers = [
        ("accepted", "rows accepted", result["rows"]["accepted"]),
        ("rejected", "rows rejected", result["rows"]["rejected"]),
        ("severe", "severe events", first["severe"]["events"]),
        ("alerted", "alerted events", alerts["events"]),
        ("messages", "messages", wording.messages(alerts["received"])),
        ("saved", "messages that digests saved", wording.saved(alerts["received"])),
        ("minute", "messages in the worst minute", alerts["received"]["minute"]["messages"]),
        ("hour", "messages in the worst hour", alerts["received"]["hour"]["messages"]),
        ("day", "messages on the worst day", alerts["received"]["day"]["messages"]),
        ("series", "series in a month", first["severe"]["series"][0]["most"]),
    ]
    return "".join(report.count(*number) for number in numbers)


# ------------------------------------------------------------------------------------ figures


def days(found: Sequence[dict[str, Any]]) -> go.Figure:
    figure = go.Figure()
    for each in found:
        severe, _ = each["severe"]["days"]
        alerted, _ = each["alerts"]["days"]
        lines = {
            "severe events": (severe, 0),
            "alerted events": (alerted, 0),
            "messages": (alerted, 1),
        }
        for what, (of_days, place) in lines.items():
            figure.add_scatter(
                x=[day for day, _ in of_days],
                y=[numbers[place] for _, numbers in of_days],
                mode="lines",
                name=f"{what}, {each['name']}" if len(found) > 1 else what,
                visible=True if what != "severe events" else "legendonly",
                hovertemplate="%{x}: %{y}",
            )
    figure.update_layout(showlegend=True)
    figure.update_yaxes(title="a day", rangemode="tozero")
    return figure


def by(found: Sequence[dict[str, Any]], key: str, names: Sequence[str]) -> go.Figure:
    figure = go.Figure()
    for place, each in enumerate(found):
        figure.add_bar(
            x=list(names),
            y=each["alerts"]["received"][key],
            name=each["name"],
            marker_color=COLOURS[place],
            hovertemplate="%{x}: %{y}",
        )
    figure.update_layout(barmode="group", showlegend=len(found) > 1)
    figure.update_yaxes(title="messages")
    return figure


def areas(found: Sequence[dict[str, Any]]) -> go.Figure:
    names = [name for name, _ in found[0]["alerts"]["by_area"]["first"][:AREAS]]
    return bars(found, names, lambda each: dict(each["alerts"]["by_area"]["first"]))


def departments(found: Sequence[dict[str, Any]]) -> go.Figure:
    def received(each: dict[str, Any]) -> dict[str, int]:
        found = tables.subscribers(each).items()
        return {name: wording.messages(received) for (name, _), received in found}

    names = list(dict.fromkeys(name for each in found for name in received(each)))
    return bars(found, names[:DEPARTMENTS], received)


def bars(found: Sequence[dict[str, Any]], names: Sequence[str], count: Any) -> go.Figure:
    figure = go.Figure()
    for place, each in enumerate(found):
        counts = count(each)
        figure.add_bar(
            x=[counts.get(name, 0) for name in names[::-1]],
            y=[html.escape(name) for name in names[::-1]],
            orientation="h",
            name=each["name"],
            marker_color=COLOURS[place],
            hovertemplate="%{y}: %{x}",
        )
    figure.update_layout(barmode="group", showlegend=len(found) > 1)
    figure.update_yaxes(automargin=True)
    return figure


# --------------------------------------------------------------------------------------- texts


def worst(each: dict[str, Any]) -> str:
    """The messages of the worst minute, hour and day, and the one about the most events."""
    received = each["alerts"]["received"]
    parts = []
    for unit in WINDOWS:
        window = received[unit]
        if not window["messages"]:
            continue
        title = (
            f"{each['name']}: the worst {unit}, from {wording.begin(window, unit)}, with"
            f" {wording.counted(window['messages'], 'message')} about"
            f" {wording.counted(window['events'], 'event')}"
        )
        more = window["messages"] - len(window["first"])
        cards = "".join(report.card(alert(sent)) for sent in window["first"])
        note = f"<p>and {wording.counted(more, 'further message')}</p>" if more > 0 else ""
        parts.append(f"<h3>{html.escape(title)}</h3>{cards}{note}")
    largest = received["largest"]
    if largest and largest["events"] > 1:
        title = f"{each['name']}: the message about the most events"
        parts.append(f"<h3>{html.escape(title)}</h3>{report.card(alert(largest))}")
    return "".join(parts) or f"<p>{html.escape(each['name'])}: no event was alerted.</p>"


def alert(sent: dict[str, Any]) -> Alert:
    return Alert(
        subject=sent["subject"],
        message=sent["text"],
        content={"count": sent["events"], "text": sent["text"]},
        attributes={},
        received=datetime.fromisoformat(sent["at"].replace("Z", "+00:00")),
    )


def answer(table: Table) -> report.QuestionResult:
    """A table of the terminal for the page."""
    columns = [plain(column.header) for column in table.columns]
    cells = [[plain(cell) for cell in column.cells] for column in table.columns]
    rows = [list(row) for row in zip(*cells)]
    result = QueryResult(columns, ["varchar"] * len(columns), rows, 0, 0)
    return report.QuestionResult(plain(table.title), result)


def plain(text: Any) -> str:
    return Text.from_markup(str(text)).plain
