"""Writes the figures of a run into the README, its chart and the plan's measurements."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from math import log10
from typing import Any

from tools.local.commands import REPOSITORY

BEGIN, END = "<!-- bench: written by make bench README=yes -->", "<!-- /bench -->"
CHART = REPOSITORY / "docs" / "bench.svg"
PLAN = REPOSITORY / "tools" / "plan" / "measured.toml"

# The bars of a function: with its requests, and the last two without.
CONTENDERS = (
    ("with_requests", "ours", "Perishable", "#1a7f5a"),
    ("with_requests", "batched", "Python, boto3 in batches", "#c77c2a"),
    ("with_requests", "single", "Python, one call each", "#b3423a"),
    ("functions", "ours", "without requests: Perishable", "#7fc4a8"),
    ("functions", "straightforward", "straightforward Rust", "#cdb48f"),
    ("functions", "floor", "the floor", "#9aa0a6"),
)
# The load with requests, the one without, and what both are called.
ROWS = (
    ("ingest_object", "ingest_csv", "ingest, CSV"),
    ("transform", "transform", "transform"),
    ("metrics", "metrics", "metrics"),
    ("notify", "notify", "notify"),
)


def write(summary: Mapping[str, Any]) -> None:
    path = REPOSITORY / "README.md"
    text = path.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise SystemExit(f"error: README.md must hold `{BEGIN}` and `{END}` once each")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    path.write_text(f"{before}{BEGIN}\n{section(summary)}\n{END}{after}", encoding="utf-8")
    CHART.write_text(chart(summary), encoding="utf-8")
    PLAN.write_text(measurements(summary, PLAN.read_text(encoding="utf-8")), encoding="utf-8")


def rates(summary: Mapping[str, Any], row: Sequence[str]) -> list[float | None]:
    """Records a second of one core, by contender."""
    found: list[float | None] = []
    for kind, contender, _, _ in CONTENDERS:
        if kind == "with_requests":
            result = summary[kind][row[0]][contender]
            milliseconds = result["cpu_ms"]
        else:
            result = summary[kind][row[1]]
            milliseconds = result.get(f"{contender}_ms")
        found.append(result["records"] / milliseconds * 1e3 if milliseconds else None)
    return found


def section(summary: Mapping[str, Any]) -> str:
    head = "| records a second, one core | " + " | ".join(name for _, _, name, _ in CONTENDERS)
    lines = ["![Records a second, on a logarithmic scale](docs/bench.svg)", ""]
    lines += [head + " |", "| --- |" + " ---: |" * len(CONTENDERS)]
    for row in ROWS:
        found = rates(summary, row)
        cells = " | ".join(f"{value:,.0f}" if value else "" for value in found)
        lines.append(f"| {row[2]} | {cells} |")
    cold = summary["cold_start_ms"]
    calls = summary["api_calls_per_10000_events"]
    ours, theirs = (sum(calls[name].values()) for name in ("perishable", "cookbook"))
    functions = [cold[name] for name in summary["package_mb"]]
    package, memory = (max(summary[name].values()) for name in ("package_mb", "memory_mb"))
    lines += [
        "",
        f"Cold start {min(functions):.0f} to {max(functions):.0f} ms (a hello world with one SDK"
        f" client {cold['hello']:.0f}, Python with boto3 {cold['python']:,.0f}); packages of"
        f" {package:.1f} MB at most; {memory:.0f} MB resident at payloads of 6 MB; {ours:,.0f} API"
        f" calls for 10,000 events (the cookbook: {theirs:,.0f}). Measured on"
        f" {summary['machine']}.",
    ]
    return "\n".join(lines)


def chart(summary: Mapping[str, Any]) -> str:
    """Bars on a logarithmic scale: each step to the left is a tenth."""
    left, width, bar, gap = 120, 560, 14, 18
    values = {row: rates(summary, row) for row in ROWS}
    highest = max(value for row in values.values() for value in row if value)
    low, high = 3.0, log10(highest) + 0.1

    def x(value: float) -> float:
        return left + max(0.0, (log10(value) - low) / (high - low)) * width

    parts: list[str] = []
    y = 58
    for row in ROWS:
        parts.append(text(left - 10, y + bar * 3 + 4, row[2], "end"))
        for (_, _, _, colour), value in zip(CONTENDERS, values[row]):
            if value:
                parts.append(
                    f'<rect x="{left}" y="{y}" width="{x(value) - left:.1f}" height="{bar - 2}"'
                    f' fill="{colour}"/>'
                )
                parts.append(text(x(value) + 5, y + bar - 4, f"{value:,.0f}", "start", 10))
            y += bar
        y += gap
    legend = []
    for index, (_, _, name, colour) in enumerate(CONTENDERS):
        at, line = left + 200 * (index % 3), 12 + 18 * (index // 3)
        legend.append(f'<rect x="{at:.0f}" y="{line}" width="11" height="11" fill="{colour}"/>')
        legend.append(text(at + 16, line + 10, name, "start", 12))
    caption = text(left, y + 4, "records a second on one core, logarithmic", "start", 11)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 780 {y + 14}" role="img"'
        f' aria-label="records a second" font-family="sans-serif">\n'
        f'<rect width="100%" height="100%" fill="#ffffff"/>\n'
        + "\n".join([*legend, *parts, caption])
        + "\n</svg>\n"
    )


def text(x: float, y: float, words: str, anchor: str, size: int = 13) -> str:
    return (
        f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}" text-anchor="{anchor}" fill="#333333">'
        f"{escape(words)}</text>"
    )


def measurements(summary: Mapping[str, Any], held: str) -> str:
    """The plan's file, updated with the numbers of this run."""
    parts = re.split(r"(?m)^(?=\[)", held)
    updated = [
        re.sub(r'(?m)^machine = ".*"', lambda _: f'machine = "{summary["machine"]}"', parts[0])
    ]
    for part in parts[1:]:
        numbers = summary["plan"].get(part[1 : part.index("]")], {})
        for name, value in numbers.items():
            part = re.sub(rf"(?m)^{name} = [\d.]+", f"{name} = {value:.4g}", part)
        updated.append(part)
    return "".join(updated)
