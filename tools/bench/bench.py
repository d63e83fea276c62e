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

from tools.bench import readme, rehearsal
from tools.local import functions
from tools.local.commands import REPOSITORY, CommandError, Parser, console, run, say, shown
from tools.local.functions import FUNCTIONS
from tools.local.tables import titled

HERE = Path(__file__).resolve().parent

OUT = REPOSITORY / "target" / "bench"
DATA = OUT / "data"
# What a command of the benchmarks has measured.
RESULT = OUT / "result.json"
BUILT = REPOSITORY / "target" / "lambda"
# Programs that are not deployed, built as those of `make rehearse` for large files.
TOOLS = REPOSITORY / "target" / "release"
COLD_LAPS = 15
# What is measured whole, by its function, and the load of its cold start.
WHOLE = {
    "ingest_object": "ingest",
    "ingest_body": "ingest",
    "transform": "transform",
    "metrics": "metrics",
    "notify": "notify",
}
HOW = {
    "ours": "Perishable",
    "bytes": "its bytes only",
    "batched": "boto3 in batches",
    "single": "boto3, one call each",
}
# Who is measured whole, and by how many invocations.
CONTENDER_LAPS = {"ours": 31, "bytes": 31, "batched": 7, "single": 3}
# Two inputs of each function, and how many more records one has: the difference has no start-up.
COUNTED = {
    "ingest": ("accidents-half.csv", "accidents.csv", 10_000),
    "transform": ("transform-6mb.json", "transform.json", 1_000),
    "metrics": ("severe-6mb.json", "severe.json", 1_000),
    "notify": ("severe-6mb.json", "severe.json", 1_000),
}
# Memory of a function, and the memory that comes with a whole processor.
SHARES_MB, CORE_MB = (256, 1_769), 1_769
SHARE_LAPS = 7
MB = 1_000_000
VARIABLES = {
    "AWS_REGION": "eu-west-1",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_LAMBDA_FUNCTION_NAME": "bench",
    "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
    "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/bench",
    "AWS_LAMBDA_LOG_STREAM_NAME": "bench",
    "RAW_STREAM": "raw",
    "SEVERE_STREAM": "severe",
    "ANALYTICAL_DELIVERY_STREAM": "analytical",
    "REJECTS_DELIVERY_STREAM": "rejects",
    "ALERTS_DELIVERY_STREAM": "alerts",
    "GLUE_DATABASE": "d",
    "GLUE_TABLE": "t",
    "TOPIC_ARN": "arn:aws:sns:eu-west-1:000000000000:alerts",
    "ALERTS_PER_SECOND": "0",  # the pauses between alerts are not measured
    "RUST_LOG": "error",
}


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
    # In one build, the functions would have the features of the SDK that these ask for.
    shown([sys.executable, "-m", "tools.setup", "--compile", "measured rehearsal"])


def binary(name: str) -> Path:
    return BUILT / name / "bootstrap"


def batch_sizes() -> list[int]:
    """The stack's default batch sizes."""
    template = functions.load(functions.TEMPLATE)
    names = ("TransformBatchSize", "MetricsBatchSize")
    sizes = [template["Parameters"][name]["Default"] for name in names]
    (mapping,) = template["Resources"]["NotifyFunction"]["Properties"]["Events"].values()
    return [*sizes, mapping["Properties"]["BatchSize"]]


def measured_by(*arguments: object, variables: Mapping[str, str] | None = None) -> Any:
    """What a command of the benchmarks writes to `RESULT`; the functions print other things."""
    completed([binary("bench"), *arguments], env={**os.environ, **(variables or {})})
    return json.loads(RESULT.read_text(encoding="utf-8"))


def completed(command: Sequence[object], **options: Any) -> subprocess.CompletedProcess[bytes]:
    """A command that has succeeded, with what it printed."""
    words = list(map(str, command))
    done = subprocess.run(words, capture_output=True, check=False, **options)
    if done.returncode != 0:
        raise CommandError(f"`{' '.join(words)}` failed: {done.stderr.decode()[-500:].strip()}")
    return done


def cookbook() -> dict[str, Any]:
    return json.loads(completed([sys.executable, HERE / "cookbook.py", DATA]).stdout)


def whole(load: str, laps: int, *command: str | Path, share: str = "all") -> dict[str, Any]:
    """What an invocation uses of a function that is started as Lambda starts it, with a share of a
    processor in thousandths."""
    return measured_by("whole", load, laps, share, RESULT, *command, variables=variables())


def variables() -> dict[str, str]:
    """The environment of a measured function. What it sets for glibc is as the template says."""
    deployed = functions.load(functions.TEMPLATE)["Globals"]["Function"]["Environment"]["Variables"]
    return VARIABLES | {name: deployed[name] for name in deployed if name.startswith("MALLOC_")}


def python(function: str, *how: str) -> list[str | Path]:
    return [sys.executable, HERE / "cookbook.py", "serve", function, *how]


def with_requests() -> dict[str, dict[str, Any]]:
    """Each load whole, by who handles it: the functions, and two ways to write them in Python."""
    results: dict[str, dict[str, Any]] = {}
    for load, function in WHOLE.items():
        ours = whole(load, CONTENDER_LAPS["ours"], binary(function))
        contenders: dict[str, list[str | Path]] = {
            "bytes": bytes_only(ours),
            "batched": python(function, "batched"),
            "single": python(function),
        }
        results[load] = {"ours": ours} | {
            name: whole(load, CONTENDER_LAPS[name], *command)
            for name, command in contenders.items()
        }
        for name, result in results[load].items():
            if not result["entries"] and name != "bytes":
                raise CommandError(f"{load}: {name} sent nothing, so that its time means nothing")
    return results


def bytes_only(ours: Mapping[str, Any]) -> list[str | Path]:
    """A program that receives the same events, and encodes, hashes and sends as many bytes."""
    requests = {name: count // ours["invocations"] for name, count in ours["requests"].items()}
    objects = min(requests.pop("GetObject", 0), 1)  # other reads look for a checkpoint
    size = ours["bytes"] // ours["invocations"]
    return [binary("bench"), "bytes", str(objects), str(sum(requests.values())), str(size)]


def with_shares() -> dict[str, dict[int, Any]]:
    """A batch of 6 MB, by the function and by the memory whose share of a processor it has."""
    return {
        load: {
            mb: whole(load, SHARE_LAPS, binary(load), share=str(1_000 * mb // CORE_MB))
            for mb in SHARES_MB
        }
        for load in ("transform", "metrics", "notify")
    }


def cold_starts() -> dict[str, float]:
    """Milliseconds from a process's start to its first response, each in turn."""
    contenders: dict[str, list[str | Path]] = {
        "hello": [binary("hello")],
        "python": python("transform"),
        **{name: [binary(name)] for name in FUNCTIONS},
    }
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(COLD_LAPS):
        for name, command in contenders.items():
            load = "no_rows" if name == "ingest" else "no_records"
            times[name].append(whole(load, 1, *command)["first_ms"])
    return {name: statistics.median(laps) for name, laps in times.items()}


def memory(results: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """The most memory in MB that each function has used."""
    return {
        function: max(
            results[load]["ours"]["peak_bytes"] / MB for load in WHOLE if WHOLE[load] == function
        )
        for function in FUNCTIONS
    }


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
    valgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"]
    done = completed([*valgrind, binary("bench"), "often", name, data, "1"])
    found = re.search(rb"Collected : (\d+)", done.stderr)
    if found is None:
        raise CommandError(f"valgrind counted no instructions: {done.stderr.decode()[-500:]}")
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


def measure(object_mb: int, object_seconds: int, rehearsal_rows: int) -> dict[str, Any]:
    OUT.mkdir(parents=True, exist_ok=True)
    say("bench: making the records")
    completed([binary("bench"), "data", DATA])
    say("bench: the functions, their floors and the straightforward way (about a minute)")
    measured = measured_by("measure", RESULT, *batch_sizes())
    say(f"bench: an object of {object_mb} MB by invocations of {object_seconds} seconds")
    large = measured_by("object", object_mb, object_seconds, RESULT)
    say(f"bench: a rehearsal of {rehearsal_rows:,} rows")
    rehearsed = rehearsal.measure(TOOLS / "rehearse", TOOLS / "replay", rehearsal_rows, OUT)
    say("bench: the cookbook's steps in Python")
    python = cookbook()
    say("bench: the functions as Lambda starts them, with their requests (some minutes)")
    sending = with_requests()
    say("bench: the same with a share of a processor")
    shares = with_shares()
    say("bench: cold starts")
    cold = cold_starts()
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
        "with_requests": sending,
        "object": {**large, "mb_per_second": large["bytes"] / large["seconds"] / MB},
        "rehearsal": rehearsed,
        "cold_start_ms": cold,
        "memory_mb": memory(sending),
        "package_mb": packages(),
        "api_calls_per_10000_events": api_calls,
        "plan": plan(measured, sending, shares),
    }


def plan(
    measured: Mapping[str, Any],
    sending: Mapping[str, Mapping[str, Any]],
    shares: Mapping[str, Mapping[int, Any]],
) -> dict[str, dict[str, Any]]:
    """The measurements that `make plan` uses, by their table there."""

    def alone(name: str, contender: str) -> float:
        return measured[name][f"{contender}_ms"] * 1e3 / measured[name]["records"]

    def whole(load: str, contender: str) -> float:
        return cpu_ms_per_record(sending[load][contender]) * 1e3

    return {
        "cpu_us_per_record": {
            "ingest": whole("ingest_object", "ours"),
            "transform": whole("transform", "ours"),
            "metrics": whole("metrics", "ours"),
            "notify": whole("notify", "ours"),
            "python_normalise": whole("ingest_object", "single"),
            "python_metrics": whole("metrics", "single"),
        },
        "cpu_us_per_record_without_requests": {
            "ingest": alone("ingest_csv", "ours"),
            "transform": alone("transform", "ours"),
            "metrics": alone("metrics", "ours"),
            "notify": alone("notify", "ours"),
        },
        **{
            f"ms_of_full_batch.{load}": {str(mb): result["wall_ms"] for mb, result in by_mb.items()}
            for load, by_mb in shares.items()
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
        Ratio("transform: Python by it", ratio("transform", "python", "ours"), at_least=10),
        Ratio("ingest: CSV by its bare reading", ratio("ingest_csv", "ours", "floor"), at_most=6),
        Ratio(
            "ingest: the cookbook's Python by it",
            ratio("ingest_csv", "python", "ours"),
            at_least=60,
        ),
        Ratio("metrics: time by its floor's", ratio("metrics", "ours", "floor"), at_most=3),
        Ratio("notify: time by its floor's", ratio("notify", "ours", "floor"), at_most=7),
        Ratio("transform: twice the records", ratio("transform", "double", "ours"), at_most=2.2),
        Ratio("ingest: twice the rows", ratio("ingest_csv", "double", "ours"), at_most=2.2),
        Ratio("metrics: twice the records", ratio("metrics", "ours", "half"), at_most=2.2),
        Ratio("notify: twice the records", ratio("notify", "ours", "half"), at_most=2.2),
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
    found += whole_ratios(summary)
    large = summary["object"]
    found += [
        Ratio("ingest: CSV of a large object, MB/s", large["mb_per_second"], at_least=100),
        Ratio("ingest: memory with a large object, MB", large["peak_bytes"] / MB, at_most=128),
    ]
    found += rehearsal_ratios(summary["rehearsal"])
    found.append(Ratio("API calls for 10,000 events", sum(calls.values()), at_most=120))
    return found


def rehearsal_ratios(rehearsed: Mapping[str, Any]) -> list[Ratio]:
    rows, seconds = rehearsal.PUBLISHED_ROWS / 1e6, rehearsed["seconds_of_published"]
    by_csv = rehearsed["seconds"] / rehearsed["csv_seconds"]
    return [
        Ratio(f"rehearsal: seconds for {rows:g} million rows", seconds, at_most=90),
        Ratio("rehearsal: memory, MB", rehearsed["peak_bytes"] / MB, at_most=256),
        Ratio("rehearsal: time by the csv crate's", by_csv, at_most=4),
    ]


def whole_ratios(summary: Mapping[str, Any]) -> list[Ratio]:
    """Processor time with the requests, compared with the work and the bytes, and with Python's."""
    found: list[Ratio] = []
    bounds = {
        "transform": (None, 10, None),
        "ingest_object": (None, 15, 150),
        "ingest_body": (None, 15, 150),
        "metrics": (2, None, None),
        "notify": (2, None, None),
    }
    for load, (at_most, batched, single) in bounds.items():
        contenders = summary["with_requests"][load]
        name = title(load)
        without = summary["functions"]["ingest_csv" if WHOLE[load] == "ingest" else load]
        alone = without["ours_ms"] / without["records"]
        ours, sent = (cpu_ms_per_record(contenders[who]) for who in ("ours", "bytes"))
        if at_most:
            found.append(Ratio(f"{name}: with requests by without", ours / alone, at_most=at_most))
        found.append(
            Ratio(
                f"{name}: with requests by without and its bytes",
                ours / (alone + sent),
                at_most=1.5,
            )
        )
        for contender, at_least in (("batched", batched), ("single", single)):
            if at_least:
                theirs = cpu_ms_per_record(contenders[contender])
                found.append(
                    Ratio(
                        f"{name}: Python, {HOW[contender]}, by it", theirs / ours, at_least=at_least
                    )
                )
    return found


def cpu_ms_per_record(result: Mapping[str, Any]) -> float:
    return result["cpu_ms"] / result["records"]


def whole_figures(summary: Mapping[str, Any]) -> Table:
    table = titled(
        "for 10,000 records, with their requests: ms of processor time, ms from event to answer,"
        " requests, MB sent, MB of memory",
        *("", "#", "#processor", "#elapsed", "#requests", "#sent", "#memory"),
    )
    for load, contenders in summary["with_requests"].items():
        for contender, result in contenders.items():
            share = 10_000 / result["records"]
            each = share / result["invocations"]
            table.add_row(
                title(load),
                HOW[contender],
                f"{result['cpu_ms'] * share:,.1f}",
                f"{result['wall_ms'] * share:,.1f}",
                f"{sum(result['requests'].values()) * each:,.0f}",
                f"{result['bytes'] * each / MB:,.1f}",
                f"{result['peak_bytes'] / MB:,.0f}",
            )
    return table


def figures(summary: Mapping[str, Any]) -> Table:
    table = titled(
        f"records a second, without their requests ({summary['machine']})",
        *("", "#Perishable", "#floor", "#straightforward Rust", "#cookbook's Python"),
    )
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
    table = titled("ratios", "", "#measured", "#expected", "#")
    for ratio in found:
        mark = "[green]holds[/green]" if ratio.holds else "[red]misses[/red]"
        table.add_row(ratio.what, f"{ratio.value:.2f}", ratio.bound, mark)
    return table


def report(summary: Mapping[str, Any], found: Sequence[Ratio], out: Console) -> None:
    out.print(figures(summary))
    out.print(whole_figures(summary))
    out.print(verdicts(found))
    for name, count in summary.get("instructions_per_record", {}).items():
        out.print(f"{name}: {count:,.0f} instructions a record")
    large = summary["object"]
    out.print(
        f"an object of {large['bytes'] / MB:,.0f} MB: {large['rows']:,} rows, each once, by"
        f" {large['invocations']} invocations in {large['seconds']:.1f} s"
    )
    missed = sum(not ratio.holds for ratio in found)
    out.print(f"{len(found) - missed} of {len(found)} hold; written to target/bench/summary.json")


def arguments() -> argparse.Namespace:
    parser = Parser(prog="make bench", description=__doc__.splitlines()[0])
    parser.add_argument("--readme", action="store_true", help="write the figures into the README")
    parser.add_argument("--instructions", action="store_true", help="count instructions as well")
    parser.add_argument("--object-mb", type=int, default=200, help="size of the large object")
    parser.add_argument(
        "--object-seconds", type=int, default=4, help="time of each invocation that reads of it"
    )
    parser.add_argument(
        "--rehearsal-rows", type=int, default=1_000_000, help="rows of the rehearsal"
    )
    return parser.parse_args()


def main() -> int:
    asked = arguments()
    try:
        build()
        summary = measure(asked.object_mb, asked.object_seconds, asked.rehearsal_rows)
        if asked.instructions:
            say("bench: instructions (some minutes)")
            summary["instructions_per_record"] = instructions()
    except CommandError as error:
        say(f"error: {error}")
        return 1
    found = ratios(summary)
    summary["ratios"] = {
        ratio.what: {"measured": ratio.value, "held_to": ratio.bound, "holds": ratio.holds}
        for ratio in found
    }
    (OUT / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    out = console(width=None if sys.stdout.isatty() else 120, highlight=False)
    report(summary, found, out)
    if asked.readme:
        readme.write(summary)
        out.print("README.md, docs/bench.svg and tools/plan/measured.toml hold the figures")
    return 0


if __name__ == "__main__":
    run(main)
