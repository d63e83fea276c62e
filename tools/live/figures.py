"""The charts that the report and the live page have in common, as figures of Plotly.

A colour is a variable of `page/theme.css`, which a page resolves for light and dark.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from tools.local.dataset import Dataset

# From the least severe to the most, and for those that the scale does not reach.
RANKS = 4
BARS = 40  # of a histogram, at most
PLAIN = "var(--plain)"

PAGE = Path(__file__).with_name("page")


def part(name: str) -> str:
    """A file that both pages are made of."""
    return (PAGE / name).read_text(encoding="utf-8")


def rank(severity: int, severities: Sequence[int]) -> int:
    """The place of a severity on the scale of colours: the last is the most severe."""
    above = sum(each > severity for each in severities)
    return max(1, RANKS - above)


def colour(rank: int) -> str:
    return f"var(--severity-{rank})"


def events_by_second(
    counts: Mapping[tuple[int, int], int], dataset: Dataset, at: Callable[[int], Any]
) -> go.Figure:
    """Events of each severity in every second, empty ones too; `at` is a second's place on the
    axis."""
    figure = go.Figure()
    if counts:
        first, last = min(counts)[0], max(second for second, _ in counts)
        seconds = range(first, last + 1)
        for severity in sorted({severity for _, severity in counts}):
            figure.add_bar(
                x=[at(second) for second in seconds],
                y=[counts.get((second, severity), 0) for second in seconds],
                name=dataset.named(severity),
                marker_color=colour(rank(severity, dataset.severities.ascending)),
                hovertemplate="%{y}",
            )
    figure.update_layout(barmode="stack", bargap=0.1, showlegend=True, hovermode="x unified")
    figure.update_xaxes(tickformat="%H:%M:%S", hoverformat="%H:%M:%S")
    figure.update_yaxes(title="events a second", rangemode="tozero")
    return figure


def latency(latencies_ms: Sequence[int], within: Mapping[str, int | None]) -> go.Figure:
    """How many events were alerted within which time, with the percentiles `p50` and `p99`."""
    width = bin_width(max(latencies_ms, default=0))
    counts = Counter(max(0, value) // width for value in latencies_ms)
    figure = go.Figure(
        go.Bar(
            x=[(place + 0.5) * width for place in sorted(counts)],
            y=[counts[place] for place in sorted(counts)],
            width=width,
            marker_color=PLAIN,
            text=[f"{place * width:,} to {(place + 1) * width:,} ms" for place in sorted(counts)],
            textposition="none",
            hovertemplate="%{text}: %{y} events<extra></extra>",
        )
    )
    # At two heights, since they may be close to each other.
    marks = (("p50", "half within", 1, "left"), ("p99", "99 % within", 0.88, "right"))
    for name, label, height, anchor in marks:
        if (value := within[name]) is not None:
            figure.add_vline(x=value, line_dash="dot", line_color=colour(RANKS))
            figure.add_annotation(
                x=value,
                y=height,
                yref="paper",
                text=f" {label} {value:,} ms ",
                showarrow=False,
                yanchor="bottom",
                xanchor=anchor,
            )
    figure.update_xaxes(title="milliseconds from event to alert", rangemode="tozero")
    # Room for the texts above the bars.
    figure.update_yaxes(title="events", range=[0, 1.3 * max(counts.values(), default=1)])
    return figure


def bin_width(longest: int) -> int:
    """A round width, so that there are at most forty bars."""
    least = max(1, longest / BARS)
    magnitude = 10 ** math.floor(math.log10(least))
    return next(step * magnitude for step in (1, 2, 5, 10) if step * magnitude >= least)


def as_json(figure: go.Figure) -> dict[str, Any]:
    """What a page draws; it has a template of its own."""
    drawn = figure.to_plotly_json()
    drawn["layout"].pop("template", None)
    return drawn
