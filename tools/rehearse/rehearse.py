"""Rehearses a stack over files of the past: what it would have accepted, counted and alerted.

    python -m tools.rehearse.rehearse --csv year.csv --set "NotifySeverityAbove=2" --against prod

The functions' own code decides, with the time of an event as the clock. Nothing is sent anywhere.
"""

from __future__ import annotations

import argparse
import glob
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tools.local import functions
from tools.local.commands import REPOSITORY, CommandError, Parser, console, run, say, shown
from tools.local.functions import DATASET
from tools.rehearse import page, tables
from tools.rehearse.setting import Setting, against, read

OUTPUT = REPOSITORY / "target" / "rehearse"
SUMMARY = OUTPUT / "summary.json"
PAGE = OUTPUT / "report.html"

# Beyond this size the build with optimisations is worth its minutes.
OPTIMISED_BYTES = 100_000_000
OPTIMISED = REPOSITORY / "target" / "release" / "rehearse"


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = Parser(prog="make rehearse", description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default=DATASET, help="a folder of datasets/")
    parser.add_argument("--env", default="dev", help="an environment of samconfig.toml")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--csv", help="files, or patterns of them, plain or gzip")
    what.add_argument("--who", help="a file with events to ask about")
    parser.add_argument("--set", default="", help="parameters: NotifySeverityAbove=2 DigestAbove=5")
    parser.add_argument("--against", help="an environment or parameters to compare with")
    parser.add_argument("--departments", default="departments.toml", help="the departments' file")
    parser.add_argument("--time", help="the column with an event's time")
    parser.add_argument("--charset", help="the charset of the files")
    parser.add_argument("--date-order", choices=["mdy", "dmy"], help="how 2/8/2016 is read")
    parsed = parser.parse_args(argv)
    if parsed.who and parsed.against is not None:
        parser.error("AGAINST compares settings over files; expected CSV, not WHO")
    return parsed


def files(text: str) -> list[Path]:
    """The files of a text: one name, or several names and patterns."""
    whole = Path(text)
    if whole.is_file():
        return [whole]
    found: list[Path] = []
    # `Path.glob` takes no pattern that is absolute.
    try:
        words = shlex.split(text)
    except ValueError:  # a quote that does not end
        words = [text]
    for word in words:
        matches = sorted(glob.glob(word))  # noqa: PTH207
        if not matches:
            raise CommandError(f"could not find the file {word}")
        found += map(Path, matches)
    if not found:
        raise CommandError("name the files to rehearse: make rehearse CSV=year.csv")
    return found


def settings(asked: argparse.Namespace) -> list[Setting]:
    departments = Path(asked.departments)
    if not departments.is_file():
        raise CommandError(
            f"could not find the file {departments}; expected one like departments.toml"
        )
    found = [read(asked.dataset, asked.env, asked.set, departments)]
    if asked.against is not None:
        found.append(against(asked.dataset, asked.env, asked.against, departments))
    return found


def program(paths: Sequence[Path]) -> Path:
    """The program, built with optimisations if the files are large."""
    is_large = sum(path.stat().st_size for path in paths) > OPTIMISED_BYTES
    build = "fast rehearsal" if is_large else "rehearsal"
    shown([sys.executable, "-m", "tools.setup", "--compile", build])
    return OPTIMISED if is_large else functions.binary("rehearse")


def ask(binary: Path, command: str, asked: argparse.Namespace, request: dict[str, Any]) -> Any:
    """What the program answers to a request. Its progress and errors are its own."""
    answer = subprocess.run(
        [str(binary), command, "--dataset", asked.dataset],
        input=json.dumps(request).encode(),
        stdout=subprocess.PIPE,
        check=False,
    )
    if answer.returncode != 0:
        # It has said why.
        raise SystemExit(1)
    return json.loads(answer.stdout)


def rehearse(asked: argparse.Namespace) -> int:
    paths = files(asked.who or asked.csv)
    compared = settings(asked)
    request = {
        "files": [str(path) for path in paths],
        "settings": [setting.request() for setting in compared],
        "time": asked.time,
        "charset": asked.charset,
        "date_order": asked.date_order,
    }
    binary = program(paths)
    if asked.who:
        tables.show_answers(ask(binary, "who", asked, request), compared[0], console())
        return 0
    started = time.monotonic()
    result = ask(binary, "run", asked, request)
    seconds = time.monotonic() - started
    out = console(**({} if sys.stdout.isatty() else {"width": 120}), highlight=False)
    tables.show(result, compared, out)
    OUTPUT.mkdir(parents=True, exist_ok=True)
    SUMMARY.write_text(json.dumps(result, indent=1), encoding="utf-8")
    PAGE.write_text(page.render(result, compared), encoding="utf-8")
    out.print(
        f"{result['rows']['accepted'] + result['rows']['rejected']:,} rows of {len(paths)}"
        f" file{'s' if len(paths) > 1 else ''} were rehearsed in {seconds:.0f} s. All tables and"
        f" messages are in {PAGE.relative_to(REPOSITORY)}, and the numbers in"
        f" {SUMMARY.relative_to(REPOSITORY)}.",
        soft_wrap=True,
    )
    return 0


def main() -> int:
    try:
        return rehearse(arguments())
    except CommandError as error:
        say(f"error: {error}")
        return 1


if __name__ == "__main__":
    run(main)
