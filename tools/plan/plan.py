"""Prints what a steady rate of events needs of AWS, what it costs, and where the quotas end.

    python -m tools.plan.plan --eps 10000 --mode provisioned

Next to it is the cookbook's architecture at the same rate. What is not given is as in
`template.yaml`. Prices are those of `prices.toml`. What a record takes of the processor, and its
bytes, are those of `measured.toml`, which `make bench README=yes` writes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import isfinite, isinf
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tools.local.commands import Parser, console, run
from tools.local.tables import titled
from tools.plan import cookbook, defaults, model, quotas
from tools.plan.model import Line, Workload

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HERE = Path(__file__).resolve().parent

# The rates at which the quotas are shown, next to the one that was asked for.
RATES = (100, 10_000, 1_000_000)


def arguments(argv: Sequence[str] | None = None) -> Workload:
    default = Workload(eps=0, **defaults.read())
    parser = Parser(prog="make plan", description=__doc__.splitlines()[0])

    def add(name: str, what: str, kind: Any = float) -> None:
        field = name.replace("-", "_")
        parser.add_argument(f"--{name}", type=kind, default=getattr(default, field), help=what)

    parser.add_argument("--eps", type=rate, required=True, help="events a second")
    add("severe", "share of the events above transform's threshold", share)
    parser.add_argument(
        "--alerted", type=share, help="share of the events above notify's threshold"
    )
    parser.add_argument(
        "--mode", type=str.lower, choices=["on-demand", "provisioned"], default=default.mode
    )
    parser.add_argument(
        "--pack", type=switch, default=default.pack, help="KPL records on the streams: yes or no"
    )
    parser.add_argument("--architecture", choices=["arm64", "x86_64"], default=default.architecture)
    add("memory-mb", "memory of a function, MB", positive_integer)
    add("batch", "records in a batch of transform", positive_integer)
    add("metrics-batch", "records in a batch of metrics", positive_integer)
    add("notify-batch", "records in a batch of notify", positive_integer)
    add("alerts-per-second", "most alerts at the topic, 0 for no bound", rate_or_zero)
    add("window-seconds", "batching window of transform", rate_or_zero)
    add("metrics-window-seconds", "batching window of metrics", rate_or_zero)
    add("notify-window-seconds", "batching window of notify", rate_or_zero)
    add("log-ids", "whether the logs name the events' ids: yes or no", switch)
    add("ingest-rows", "rows in a request to ingest", positive_integer)
    add("call-ms", "milliseconds of an API call", rate_or_zero)
    add("retention-hours", "hours for which the streams keep a record", rate)
    add("buffer-seconds", "Firehose's longest wait", rate)
    add("series", "distinct series of the metric in a month", positive_integer)
    add("athena-tb", "terabytes that queries scan in a month", rate_or_zero)
    parsed = parser.parse_args(argv)
    if parsed.alerted is None:
        parsed.alerted = min(default.alerted, parsed.severe)  # an alerted event is severe
    if parsed.alerted > parsed.severe:
        parser.error(
            f"--alerted {parsed.alerted:g} is more than --severe {parsed.severe:g}; expected less"
        )
    return replace(default, **vars(parsed))


def within(text: str, expected: str, fits: Callable[[Any], bool], kind: Any = float) -> Any:
    """A number as an option names it."""
    try:
        value = kind(text)
        if isfinite(value) and fits(value):
            return value
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"expected {expected}, found {text}")


def rate(text: str) -> float:
    return within(text, "a number above 0", lambda value: value > 0)


def rate_or_zero(text: str) -> float:
    return within(text, "a number from 0", lambda value: value >= 0)


def positive_integer(text: str) -> int:
    return within(text, "a whole number above 0", lambda value: value > 0, int)


def share(text: str) -> float:
    return within(text, "a share from 0 to 1", lambda value: 0 <= value <= 1)


def switch(text: str) -> bool:
    answers = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
    if text.lower() not in answers:
        raise argparse.ArgumentTypeError(f"expected yes or no, found {text}")
    return answers[text.lower()]


def prices() -> dict[str, Any]:
    return tomllib.loads((HERE / "prices.toml").read_text(encoding="utf-8"))


def measured() -> dict[str, Any]:
    return tomllib.loads((HERE / "measured.toml").read_text(encoding="utf-8"))


def bills(ours: Sequence[Line], theirs: Sequence[Line]) -> Table:
    """Both bills side by side, service by service, each line with what it is for."""
    columns = ("#need here", "#need by the cookbook", "#$ here", "#$ by the cookbook")
    table = titled("a month, in dollars", "service", "what", *columns)
    both: dict[tuple[str, str], list[Line | None]] = {}
    for index, lines in enumerate((ours, theirs)):
        for line in lines:
            both.setdefault((line.service, line.what), [None, None])[index] = line
    services = list(dict.fromkeys(service for service, _ in both))
    for service in services:
        for (owner, what), pair in both.items():
            if owner == service:
                cells = [money(line.dollars) if line else "" for line in pair]
                table.add_row(service, what, *(line.need if line else "" for line in pair), *cells)
        table.add_section()
    table.add_row("", "all", "", "", money(total(ours)), money(total(theirs)), style="bold")
    return table


def money(dollars: float) -> str:
    return f"{dollars:,.2f}" if dollars < 100 else f"{dollars:,.0f}"


def memory_sizes(found: Sequence[model.Memory]) -> Table:
    """What each size of memory costs, and how long a full batch takes with it."""
    names = list(found[0].ms_of_full_batch)
    table = titled(
        "memory of a function: Lambda a month, and a batch of 6 MB",
        *("#MB", "#$ a month", *(f"#{name}, ms" for name in names)),
    )
    for memory in found:
        times = (f"{memory.ms_of_full_batch[name]:,.0f}" for name in names)
        table.add_row(f"{memory.mb:,}", money(memory.dollars), *times)
    return table


def quantity(amount: float) -> str:
    return f"{amount:,.0f}" if amount >= 10 else f"{amount:,.2g}"


def total(lines: Sequence[Line]) -> float:
    return sum(line.dollars for line in lines)


def quota_table(workload: Workload, measurements: Mapping[str, Any]) -> Table:
    rates = sorted({*RATES, workload.eps})
    needed = (f"#need at {eps:,.0f}/s" for eps in rates)
    table = titled(
        "default quotas (eu-west-1, us-east-1, us-west-2)",
        *("service", "quota", *needed, "#default", "#ends at"),
    )
    found = [quotas.limits(replace(workload, eps=eps), measurements) for eps in rates]
    for limit, *needs in zip(quotas.with_ends(workload, measurements), *found):
        cells = [
            f"[red]{need.need:,.4g}[/red]" if need.exceeded else f"{need.need:,.4g}"
            for need in needs
        ]
        table.add_row(
            limit.service,
            limit.quota,
            *cells,
            f"{quantity(limit.default)} {limit.unit}",
            "-" if isinf(limit.ends_at_eps) else f"{limit.ends_at_eps:,.0f}/s",
        )
    return table


def requests(
    rates: Sequence[float], workload: Workload, measurements: Mapping[str, Any]
) -> list[str]:
    """What to ask AWS for at each rate, where a default is not enough."""
    sentences = []
    for eps in sorted(set(rates)):
        found = quotas.limits(replace(workload, eps=eps), measurements)
        exceeded = [limit for limit in found if limit.exceeded]
        if not exceeded:
            sentences.append(f"At {eps:,.0f} events/s the default quotas are enough.")
        for limit in exceeded:
            sentences.append(
                f"At {eps:,.0f} events/s {limit.service}: {limit.quota}: {quantity(limit.need)} are"
                f" needed, the default is {quantity(limit.default)} {limit.unit}; ask for"
                f" {limit.ask}."
            )
    return sentences


def report(workload: Workload, measurements: Mapping[str, Any], price: Mapping[str, Any]) -> None:
    out = console(width=None if sys.stdout.isatty() else 160, highlight=False)
    out.print(
        f"{workload.eps:,.0f} events/s, {workload.severe:.1%} of them severe; list prices of"
        f" {price['region']} on {price['date']}; time per record by {measurements['machine']}\n"
    )
    show_load(workload, model.need(workload, measurements), out)
    show_memory(model.memories(workload, price, measurements), out)
    show_bills(workload, measurements, price, out)
    out.print(quota_table(workload, measurements))
    for sentence in requests((*RATES, workload.eps), workload, measurements):
        out.print(sentence)
    for limit in cookbook.limits(workload):
        if isinf(limit.ends_at_eps):
            continue
        out.print(
            f"The cookbook's architecture ends at {limit.ends_at_eps:,.0f} events/s by"
            f" {limit.service}: {limit.quota}, {limit.default:,.0f} {limit.unit}; {limit.ask}."
        )


def show_load(workload: Workload, needs: model.Need, out: Console) -> None:
    opened = ", which AWS opens by itself" if workload.mode == "on-demand" else ""
    for stream in (needs.raw, needs.severe):
        shards = f"{stream.shards(workload.mode):,} shards{opened}"
        out.print(
            f"{stream.name}: {stream.bytes / model.MB:,.2f} MB/s in"
            f" {stream.records_sent:,.0f} records/s, {shards}"
        )
    for function in needs.functions:
        out.print(
            f"{function.name}: {function.invocations:,.1f} invocations/s of"
            f" {function.seconds * 1e3:,.0f} ms, {function.concurrency:,.1f} at once"
        )
    calls = ", ".join(f"{name} {count:,.1f}" for name, count in needs.calls_per_10_000.items())
    out.print(
        f"API calls per 10,000 events: {sum(needs.calls_per_10_000.values()):,.0f} ({calls})\n"
    )


def show_memory(sizes: Sequence[model.Memory], out: Console) -> None:
    out.print(memory_sizes(sizes))
    best = model.recommended(sizes)
    out.print(
        f"MEMORY_MB={best.mb} is recommended: the fastest of those that cost at most"
        f" {model.SPEED_PREMIUM - 1:.0%} more than the cheapest, ${money(best.dollars)} a month"
        " for Lambda.\n"
    )


def show_bills(
    workload: Workload, measurements: Mapping[str, Any], price: Mapping[str, Any], out: Console
) -> None:
    ours = model.bill(workload, price, measurements)
    theirs = cookbook.bill(workload, price, measurements)
    out.print(bills(ours, theirs))
    per_million = total(ours) / (workload.eps * model.month(price)) * 1e6
    out.print(
        f"A million events cost ${per_million:,.2f} here, {total(theirs) / total(ours):,.1f} times"
        " that by the cookbook's way."
    )
    packed = total(model.bill(replace(workload, pack=True), price, measurements))
    if packed < total(ours):
        out.print(
            f"With records packed by KPL (PACK=yes) the bill would be ${packed:,.0f},"
            f" {1 - packed / total(ours):.0%} less."
        )
    out.print()


def main() -> int:
    report(arguments(), measured(), prices())
    return 0


if __name__ == "__main__":
    run(main)
