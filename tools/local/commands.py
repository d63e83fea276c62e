"""Runs the project's tools: with their progress shown, or with their output in a log."""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from rich.console import Console

from tools import interruptible

REPOSITORY = Path(__file__).resolve().parents[2]

# The status of a command that Ctrl-C has ended, as shells have it.
INTERRUPTED = 128 + signal.SIGINT


class CommandError(RuntimeError):
    """A tool failed; the text ends with the last lines of what it said."""


class Parser(argparse.ArgumentParser):
    """Reports a wrong option in one sentence, by the name of its variable in `make`."""

    def error(self, message: str) -> NoReturn:
        def variable(option: re.Match[str]) -> str:
            return option[1].replace("-", "_").upper()

        message = re.sub(r"(?:argument )?--([a-z-]+)", variable, message)
        chosen = re.match(r"(\w+): invalid choice: '(.*)' \(choose from (.*)\)$", message)
        if chosen:
            choices = chosen[3].replace("'", "").replace(", ", " or ")
            message = f"{chosen[1]}: expected {choices}, found {chosen[2]}"
        self.exit(2, f"error: {message}\n")


def port(text: str) -> int:
    """A port, as an option names it."""
    if not (text.isdecimal() and text.isascii() and 0 < int(text) < 65_536):
        raise argparse.ArgumentTypeError(f"expected a port from 1 to 65535, found {text}")
    return int(text)


def console(**options: Any) -> Console:
    """A console that writes plain text if `NO_COLOR` is set, without bold or dim text too."""
    plain = {"color_system": None} if os.environ.get("NO_COLOR") else {}
    return Console(**plain, **options)


def nothing_left() -> str:
    """What an interrupted command leaves that only computes, in a sentence."""
    return "nothing was sent or changed"


def run(main: Callable[[], int], left: Callable[[], str] = nothing_left) -> NoReturn:
    """Runs a command; one that is interrupted ends in a line that says what is left running."""
    interruptible()
    try:
        status = main()
    except KeyboardInterrupt:
        # A second Ctrl-C would end in a traceback instead of the line.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        say(f"\ninterrupted; {left()}")
        status = INTERRUPTED
    # While Python ends, it would print a traceback of its own.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(status)


def shown(command: Sequence[str]) -> None:
    """Runs a command whose own output is its progress."""
    status = subprocess.run(command, cwd=REPOSITORY, env=tools({}), check=False).returncode
    if status != 0:
        raise CommandError(f"`{' '.join(command)}` failed with status {status}")


def logged(title: str, command: Sequence[str], log: Path, variables: Mapping[str, str]) -> None:
    """Runs a command with its output in a log, and shows how long it has been at it."""
    live = sys.stderr.isatty()
    if not live:
        say(title)
    log.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env=tools(variables),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            while process.poll() is None:
                if live:
                    seconds = time.monotonic() - started
                    print(f"\r{title} ({seconds:.0f} s)", end="", file=sys.stderr, flush=True)
                try:
                    process.wait(timeout=1)
                except subprocess.TimeoutExpired:
                    continue
        except BaseException:
            process.terminate()
            raise
    if live:
        say("")
    if process.returncode != 0:
        raise CommandError(f"`{command[0]} {command[1]}` failed:\n{tail(log)}\nsee {log}")


def tools(variables: Mapping[str, str]) -> dict[str, str]:
    """The environment of a tool: this interpreter's neighbours come first on its path."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    environment = without_aws(os.environ)
    return {**environment, "PATH": path, "SAM_CLI_TELEMETRY": "0", **variables}


def without_aws(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment less all that would lead to somebody's AWS account."""
    return {name: value for name, value in environment.items() if not name.startswith("AWS_")}


def tail(log: Path, lines: int = 30) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
