"""Runs the benchmarks, with their floors and baselines in the same run.

    make bench

Prints a table of figures and one of ratios with their expected values, and writes
`target/bench/summary.json`. With `--readme` it also puts the figures and the chart into the README
and `tools/plan/measured.toml`.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tools.bench.lambda_api import ProcessFailed, run
from tools.local import functions
from tools.local.commands import REPOSITORY, CommandError, say, shown

HERE = Path(__file__).resolve().parent

OUT = REPOSITORY / "target" / "bench"
DATA = OUT / "data"
BUILT = REPOSITORY / "target" / "lambda"
FUNCTIONS = ("ingest", "transform", "metrics", "notify")
COLD_LAPS = 15
# How often each batch of 6 MB is sent to measure memory.
PAYLOAD_LAPS = 10
# Two inputs of each function, and how many more records one has: the difference has no start-up.
COUNTED = {
    "ingest": ("accidents-half.csv", "accidents.csv", 10_000),
    "transform": ("transform-6mb.json", "transform.json", 1_000),
    "metrics": ("severe-6mb.json", "severe.json", 1_000),
    "notify": ("severe-6mb.json", "severe.json", 1_000),
}
MB = 1_000_000


@dataclass(frozen=True)
class Ratio:
    """A figure compared with a floor or a baseline, and its expected ratio."""

    what: str
    value: float
    at_most: float | None = None
    at_least: float | None = None

    @property
    def holds(self) -> bool:
        if self.at_most is not None:
            return self.value <= self.at_most
        return self.at_least is not None and self.value >= self.at_least

    @property
    def bound(self) -> str:
        return f"≤ {self.at_most:g}" if self.at_most is not None else f"≥ {self.at_least:g}"


def build() -> None:
    """Builds the benchmarks together with the functions, in one build."""
    command = ["cargo", "lambda", "build", "--release"]
    command += ["--arm64"] if functions.host_architecture() == "arm64" else []
    for binary in (*FUNCTIONS, "bench", "hello"):
        command.append(f"--bin={binary}")
    for package in (*FUNCTIONS, "bench"):
        command.append(f"--package={package}")
    say("bench: building")
    shown(command)


def binary(name: str) -> Path:
    return BUILT / name / "bootstrap"


def batch_sizes() -> list[str]:
    """The stack's default batch sizes."""
    template = functions.load(functions.TEMPLATE)
    names = ("TransformBatchSize", "MetricsBatchSize")
    sizes = [template["Parameters"][name]["Default"] for name in names]
    (mapping,) = template["Resources"]["NotifyFunction"]["Properties"]["Events"].values()
    return [str(size) for size in (*sizes, mapping["Properties"]["BatchSize"])]


def bench(*arguments: str | Path) -> None:
    """Runs the benchmarks of one process and discards the counts that the functions print."""
    command = [str(binary("bench")), *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    if done.returncode != 0:
        raise CommandError(f"`{' '.join(command)}` failed: {done.stderr.decode().strip()}")


def cookbook() -> dict[str, Any]:
    command = [sys.executable, str(HERE / "cookbook.py"), str(DATA)]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode != 0:
        raise CommandError(f"the cookbook's steps failed: {done.stderr.decode()[-500:]}")
    return json.loads(done.stdout)


def cold_starts() -> dict[str, float]:
    """Milliseconds from a process's start to its first response, each in turn."""
    empty = b'{"Records":[]}'
    direct = b'{"format":"csv","body":"ID,Severity\\n"}'
    contenders: dict[str, tuple[list[str | Path], bytes]] = {
        "hello": ([binary("hello")], empty),
        "python": ([sys.executable, HERE / "cookbook.py", "serve"], empty),
    }
    for name in FUNCTIONS:
        contenders[name] = ([binary(name)], direct if name == "ingest" else empty)
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(COLD_LAPS):
        for name, (command, event) in contenders.items():
            times[name].append(run(command, [event])[0])
    return {name: statistics.median(laps) for name, laps in times.items()}


def memory() -> dict[str, float]:
    """The most memory in MB that each function uses for batches of 6 MB."""
    peaks = {}
    for name in ("transform", "metrics", "notify"):
        event = (DATA / f"{'transform' if name == 'transform' else 'severe'}-6mb.json").read_bytes()
        _, peak, calls = run([binary(name)], [event] * PAYLOAD_LAPS)
        if not calls:
            raise CommandError(f"{name} has put nothing, so that its memory says nothing")
        peaks[name] = peak / MB
    return peaks


def packages() -> dict[str, float]:
    """The size in MB of each function's package, zipped as for a deployment."""
    sizes = {}
    for name in FUNCTIONS:
        package = io.BytesIO()
        with zipfile.ZipFile(package, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(binary(name), "bootstrap")
        sizes[name] = len(package.getvalue()) / MB
    return sizes


def instructions() -> dict[str, float]:
    """Instructions for a record, which do not depend on other load; empty without valgrind."""
    if shutil.which("valgrind") is None:
        say("bench: valgrind is not installed, so that instructions are not counted")
        return {}
    counts = {}
    for name, (few, many, records) in COUNTED.items():
        counted = [counted_instructions(name, DATA / data) for data in (few, many)]
        counts[name] = (counted[1] - counted[0]) / records
    return counts


def counted_instructions(name: str, data: Path) -> int:
    out = OUT / "callgrind.out"
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"]
    command += [str(binary("bench")), "often", name, str(data), "1"]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    found = re.search(rb"Collected : (\d+)", done.stderr)
    if done.returncode != 0 or found is None:
        raise CommandError(f"`{' '.join(command)}` failed: {done.stderr.decode()[-500:]}")
    return int(found[1])


def machine() -> str:
    """The processor and the number of its cores, as text."""
    name = platform.processor() or platform.machine()
    try:
        info = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        info = ""
    if found := re.search(r"model name\s*: (.*)", info):
        name = found[1]
    system = f"{platform.system()} {platform.machine()}"
    return f"{name}, {os.cpu_count()} cores, {system}, Python {platform.python_version()}"


def measure(object_mb: int, object_seconds: int) -> dict[str, Any]:
    OUT.mkdir(parents=True, exist_ok=True)
    say("bench: making the records")
    bench("data", DATA)
    say("bench: the functions, their floors and the straightforward way (about a minute)")
    bench("measure", OUT / "measured.json", *batch_sizes())
    measured = json.loads((OUT / "measured.json").read_text(encoding="utf-8"))
    say(f"bench: an object of {object_mb} MB by invocations of {object_seconds} seconds")
    bench("object", str(object_mb), str(object_seconds), OUT / "object.json")
    large = json.loads((OUT / "object.json").read_text(encoding="utf-8"))
    say("bench: the cookbook's steps in Python")
    python = cookbook()
    say("bench: cold starts")
    cold = cold_starts()
    say("bench: memory and packages")
    held, sizes = memory(), packages()
    calls = measured["api_calls"]
    api_calls = {
        "perishable": {
            name: count / calls["events"] * 10_000
            for name, count in calls.items()
            if name not in ("events", "severe")
        },
        "cookbook": python.pop("api_calls"),
    }
    for name, result in python.items():
        measured[name]["python_ms"] = result["ms"]
    return {
        "machine": machine(),
        "at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "functions": {
            name: result for name, result in measured.items() if name not in ("api_calls", "bytes")
        },
        "object": {**large, "mb_per_second": large["bytes"] / large["seconds"] / MB},
        "cold_start_ms": cold,
        "memory_mb": held,
        "package_mb": sizes,
        "api_calls_per_10000_events": api_calls,
        "plan": plan(measured),
    }


def plan(measured: Mapping[str, Any]) -> dict[str, Any]:
    """The measurements that `make plan` uses."""

    def per_record(name: str, contender: str) -> float:
        return measured[name][f"{contender}_ms"] * 1e3 / measured[name]["records"]

    return {
        "machine": machine(),
        "cpu_us_per_record": {
            "ingest": per_record("ingest_csv", "ours"),
            "transform": per_record("transform", "ours"),
            "metrics": per_record("metrics", "ours"),
            "notify": per_record("notify", "ours"),
            "python_normalise": per_record("ingest_csv", "python"),
            "python_metrics": per_record("metrics", "python"),
        },
        "bytes": measured["bytes"],
    }


def ratios(summary: Mapping[str, Any]) -> list[Ratio]:
    results, cold = summary["functions"], summary["cold_start_ms"]

    def ratio(name: str, above: str, below: str) -> float:
        return results[name][f"{above}_ms"] / results[name][f"{below}_ms"]

    calls = summary["api_calls_per_10000_events"]["perishable"]
    found = [
        Ratio("transform: time by its floor's", ratio("transform", "ours", "floor"), at_most=2.5),
        Ratio(
            "transform: straightforward Rust by it",
            ratio("transform", "straightforward", "ours"),
            at_least=4,
        ),
        Ratio("transform: Python by it", ratio("transform", "python", "ours"), at_least=15),
        Ratio("ingest: CSV by its bare reading", ratio("ingest_csv", "ours", "floor"), at_most=5),
        Ratio(
            "ingest: the cookbook's Python by it",
            ratio("ingest_csv", "python", "ours"),
            at_least=100,
        ),
        Ratio("metrics: time by its floor's", ratio("metrics", "ours", "floor"), at_most=3),
        Ratio("notify: time by its floor's", ratio("notify", "ours", "floor"), at_most=3),
        Ratio("transform: twice the records", ratio("transform", "double", "ours"), at_most=2.1),
        Ratio("ingest: twice the rows", ratio("ingest_csv", "double", "ours"), at_most=2.1),
        Ratio("metrics: twice the records", ratio("metrics", "ours", "half"), at_most=2.1),
        Ratio("notify: twice the records", ratio("notify", "ours", "half"), at_most=2.1),
    ]
    for name in FUNCTIONS:
        found.append(
            Ratio(f"{name}: cold start by hello world's", cold[name] / cold["hello"], at_most=1.5)
        )
    found.append(
        Ratio("cold start: Python's by transform's", cold["python"] / cold["transform"], at_least=8)
    )
    found += [
        Ratio(f"{name}: package, MB", size, at_most=6)
        for name, size in summary["package_mb"].items()
    ]
    found += [
        Ratio(f"{name}: memory, MB", peak, at_most=64)
        for name, peak in summary["memory_mb"].items()
    ]
    large = summary["object"]
    found += [
        Ratio("ingest: CSV of a large object, MB/s", large["mb_per_second"], at_least=100),
        Ratio("ingest: memory with a large object, MB", large["peak_bytes"] / MB, at_most=128),
    ]
    found.append(Ratio("API calls for 10,000 events", sum(calls.values()), at_most=120))
    return found


def figures(summary: Mapping[str, Any]) -> Table:
    table = Table(title=f"records a second ({summary['machine']})", title_justify="left")
    table.add_column("")
    for column in ("Perishable", "floor", "straightforward Rust", "cookbook's Python"):
        table.add_column(column, justify="right")
    for name, result in summary["functions"].items():
        cells = [
            f"{result['records'] / result[f'{contender}_ms'] * 1e3:,.0f}"
            if f"{contender}_ms" in result
            else ""
            for contender in ("ours", "floor", "straightforward", "python")
        ]
        table.add_row(title(name), *cells)
    return table


def title(name: str) -> str:
    kind, _, form = name.partition("_")
    return f"{kind}, {form.upper()}" if form else kind


def verdicts(found: Sequence[Ratio]) -> Table:
    table = Table(title="ratios", title_justify="left")
    table.add_column("")
    for column in ("measured", "expected", ""):
        table.add_column(column, justify="right")
    for ratio in found:
        mark = "[green]holds[/green]" if ratio.holds else "[red]misses[/red]"
        table.add_row(ratio.what, f"{ratio.value:.2f}", ratio.bound, mark)
    return table


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__.splitlines()[0])
    parser.add_argument("--readme", action="store_true", help="write the figures into the README")
    parser.add_argument("--no-build", action="store_true", help="measure an existing build")
    parser.add_argument("--instructions", action="store_true", help="count instructions as well")
    parser.add_argument("--object-mb", type=int, default=200, help="size of the large object")
    parser.add_argument(
        "--object-seconds", type=int, default=4, help="time of each invocation that reads of it"
    )
    arguments = parser.parse_args()
    try:
        if not arguments.no_build:
            build()
        summary = measure(arguments.object_mb, arguments.object_seconds)
        if arguments.instructions:
            say("bench: instructions (some minutes)")
            summary["instructions_per_record"] = instructions()
    except (CommandError, ProcessFailed) as error:
        say(f"error: {error}")
        return 1
    found = ratios(summary)
    summary["ratios"] = {
        ratio.what: {"measured": ratio.value, "held_to": ratio.bound, "holds": ratio.holds}
        for ratio in found
    }
    (OUT / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    console.print(figures(summary))
    console.print(verdicts(found))
    if "instructions_per_record" in summary:
        for name, count in summary["instructions_per_record"].items():
            console.print(f"{name}: {count:,.0f} instructions a record")
    large = summary["object"]
    console.print(
        f"an object of {large['bytes'] / MB:,.0f} MB: {large['rows']:,} rows, each once, by"
        f" {large['invocations']} invocations in {large['seconds']:.1f} s"
    )
    missed = sum(not ratio.holds for ratio in found)
    console.print(
        f"{len(found) - missed} of {len(found)} hold; written to target/bench/summary.json"
    )
    if arguments.readme:
        from tools.bench import readme

        readme.write(summary)
        console.print("README.md, docs/bench.svg and tools/plan/measured.toml hold the figures")
    return 0


if __name__ == "__main__":
    sys.exit(main())
