"""Rehearses a stack over files of the past: what it would have accepted, counted and alerted.

    python -m tools.rehearse.rehearse --csv year.csv --set "NotifySeverityAbove=2" --against prod

The functions' own code decides, with the time of an event as the clock. Nothing is sent anywhere.
"""

from __future__ import annotations

import argparse
import filecmp
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
from tools.rehearse import page, tables, wording
from tools.rehearse.setting import Setting, against, read

OUTPUT = REPOSITORY / "target" / "rehearse"
SUMMARY = OUTPUT / "summary.json"
PAGE = OUTPUT / "report.html"

# Beyond this size a build with optimisations saves more time than it takes.
OPTIMISED_BYTES = 100_000_000
HINT = "; put a name with blanks in quotes: CSV=\"'a b.csv' c.csv\""
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
    parser.add_argument("--thresholds", choices=["all"], help="try all, also for a large file")
    parser.add_argument("--area", default="", help="areas, with commas: a subscriber for each")
    parser.add_argument("--format", choices=["csv", "ndjson", "json"], help="of all files")
    parser.add_argument("--charset", help="the charset of the files")
    parser.add_argument("--date-order", choices=["mdy", "dmy"], help="how 2/8/2016 is read")
    parsed = parser.parse_args(argv)
    if parsed.who and parsed.against is not None:
        parser.error("AGAINST compares settings over files; expected CSV, not WHO")
    return parsed


def files(text: str) -> list[Path]:
    """The files of a text: a name or a pattern, or several of them. Names may have blanks."""
    found = matches(text.strip())
    if not found:
        try:
            words = shlex.split(text)
        except ValueError:  # an apostrophe in a name
            words = text.split()
        while words:
            # The most words that are the name of something, since a blank may be part of a name.
            for length in range(len(words), 0, -1):
                if matched := matches(" ".join(words[:length])):
                    break
            else:
                hint = "" if words == text.split() == words[:1] else HINT
                raise CommandError(f"could not find the file {words[0]}{hint}")
            found += matched
            words = words[length:]
    if not found:
        raise CommandError("name the files to rehearse: make rehearse CSV=year.csv")
    for path in found:
        if path.is_dir():
            raise CommandError(f"{path} is a folder; name its files, such as CSV='{path}/*.csv'")
    return found


def matches(name: str) -> list[Path]:
    """The files of a name or of a pattern."""
    if not name:
        return []
    # `Path.glob` takes no pattern that is absolute.
    return [Path(name)] if Path(name).exists() else [Path(each) for each in sorted(glob.glob(name))]  # noqa: PTH207


def once(paths: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """The files, each once, and what is said about those that are there twice."""
    found: dict[Path, Path] = {}
    notes = []
    for path in paths:
        if found.setdefault(path.resolve(), path) is not path:
            notes.append(f"{path} is named twice, and was read once")
    by_size: dict[int, list[Path]] = {}
    for path in found.values():
        alike = by_size.setdefault(path.stat().st_size, [])
        same = next((other for other in alike if filecmp.cmp(path, other, shallow=False)), None)
        if same is None:
            alike.append(path)
        elif path.stat().st_size:
            notes.append(f"{path} has the same content as {same}, so that its rows count twice")
    return list(found.values()), notes


def settings(asked: argparse.Namespace) -> list[Setting]:
    departments = Path(asked.departments)
    if not departments.is_file():
        raise CommandError(
            f"could not find the file {departments}; expected one like departments.toml"
        )
    areas = [area.strip() for area in asked.area.split(",") if area.strip()]
    found = [read(asked.dataset, asked.env, asked.set, departments, areas)]
    if asked.against is not None:
        other = against(asked.dataset, asked.env, asked.against, departments, areas)
        if other.values() == found[0].values():
            raise CommandError(
                f"AGAINST={asked.against} is what is rehearsed anyway ({found[0].name}); name"
                " another environment, or parameters that differ"
            )
        found.append(other)
    return found


def program(paths: Sequence[Path]) -> Path:
    """The program, built with optimisations if the files are large."""
    is_large = size(paths) > OPTIMISED_BYTES
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
    paths, notes = once(files(asked.who or asked.csv))
    compared = settings(asked)
    request = {
        "files": [str(path) for path in paths],
        "settings": [setting.request() for setting in compared],
        "time": asked.time,
        "format": asked.format,
        "charset": asked.charset,
        "date_order": asked.date_order,
        # Every row would be kept for the lowest threshold, which takes long for a large file.
        "every_threshold": asked.thresholds == "all" or size(paths) <= OPTIMISED_BYTES,
    }
    binary = program(paths)
    if asked.who:
        return answer(ask(binary, "who", asked, request), compared[0])
    started = time.monotonic()
    result = ask(binary, "run", asked, request)
    seconds = time.monotonic() - started
    result["notes"] = notes + wording.notes(result, compared)
    out = console(width=None if sys.stdout.isatty() else 120, highlight=False)
    tables.show(result, compared, out)
    OUTPUT.mkdir(parents=True, exist_ok=True)
    SUMMARY.write_text(json.dumps(result, indent=1), encoding="utf-8")
    PAGE.write_text(page.render(result, compared), encoding="utf-8")
    rows = result["rows"]["accepted"] + result["rows"]["rejected"]
    out.print(
        f"{wording.counted(rows, 'row')} of {wording.counted(len(paths), 'file')} rehearsed in"
        f" {seconds:.0f} s. All tables and messages are in {PAGE.relative_to(REPOSITORY)}, and the"
        f" numbers in {SUMMARY.relative_to(REPOSITORY)}.",
        soft_wrap=True,
    )
    return 0


def answer(found: dict[str, Any], setting: Setting) -> int:
    """Shows who is alerted; an event that the pipeline would reject is an error."""
    tables.show_answers(found, setting, console(highlight=False))
    rejected = [each for each in found["answers"] if each["rejected"]]
    for each in rejected:
        say(f"error: {each['name']} would be rejected: {each['rejected']}")
    return 1 if rejected else 0


def size(paths: Sequence[Path]) -> int:
    return sum(path.stat().st_size for path in paths)


def main() -> int:
    try:
        return rehearse(arguments())
    except CommandError as error:
        say(f"error: {error}")
        return 1


if __name__ == "__main__":
    run(main)
