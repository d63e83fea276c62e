"""Compiles with cargo, and reads from its own progress how far it is.

All commands build the same graph: the whole workspace with the dev profile, so that each crate is
compiled once.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tools.setup.progress import Display, Stream

REPOSITORY = Path(__file__).resolve().parents[2]

# The programs of the local cloud and of the demo.
PROGRAMS = ("ingest", "transform", "metrics", "notify", "replay")

BUILDS = {
    "programs": [f"--bin={name}" for name in PROGRAMS],
    "tests": ["--lib", "--bins", "--tests"],  # and all programs
    "renderer": ["--bin=render"],
    "simulator": ["--bin=simulate"],
    "rehearsal": ["--bin=rehearse"],
    "fast rehearsal": ["--release", "--bin=rehearse"],  # for large files
    "measured rehearsal": ["--release", "--bin=rehearse", "--bin=replay"],
}

# Cargo redraws `   Building [====>    ] 143/321: aws-sdk-s3, aws-sdk-sns`.
STEP = re.compile(r"^\s*\w+ \[[^\]]*\] (\d+)/(\d+)(?:: (.*))?$")
# Lines of a build that goes as it should.
ROUTINE = re.compile(
    r"^\s*(Compiling|Downloaded|Downloading|Executable|Finished|Fresh|Locking|Updating) "
)
COLOUR = re.compile(r"\x1b\[[0-9;]*[mK]")


class SetupError(Exception):
    """Why something could not be set up, in a sentence; what its tools said was shown before."""


def lines(output: io.BufferedReader) -> Iterator[str]:
    """The lines of a tool as soon as they end, with `\\n` or `\\r`.

    Python's own text mode keeps a final `\\r` back, since a `\\n` may follow. A line that cargo
    redraws once a minute would come a minute late.
    """
    rest = b""
    while piece := output.read1():
        *ended, rest = re.split(rb"[\r\n]", rest + piece)
        yield from (line.decode("utf-8", "replace") for line in ended)
    if rest:
        yield rest.decode("utf-8", "replace")


class Cargo:
    """A build of one of `BUILDS`, with its progress."""

    def __init__(self, name: str, display: Display) -> None:
        self._command = ["cargo", "build", "--workspace", *BUILDS[name]]
        self._display = display
        self._stream = Stream(name, "steps")
        self._process: subprocess.Popen[bytes] | None = None
        self._shown = False

    def run(self) -> None:
        """Compiles, and raises an error if that fails."""
        variables = {
            **os.environ,
            "CARGO_TERM_PROGRESS_WHEN": "always",
            "CARGO_TERM_PROGRESS_WIDTH": "200",
        }
        if self._display.live and not os.environ.get("NO_COLOR"):
            variables["CARGO_TERM_COLOR"] = "always"
        try:
            self._process = subprocess.Popen(
                self._command,
                cwd=REPOSITORY,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
        except FileNotFoundError:
            raise SetupError(
                "cargo is not on the PATH; install Rust as https://rustup.rs says"
            ) from None
        assert self._process.stderr is not None
        for line in lines(self._process.stderr):
            self._read(line.rstrip())
        if self._process.wait() != 0:
            raise SetupError(
                f"`{' '.join(self._command[:3])} …` failed; what is compiled stays compiled"
            )
        self._stream.end()

    def stop(self) -> None:
        """Ends cargo and its compilers."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def _read(self, line: str) -> None:
        plain = COLOUR.sub("", line)
        if step := STEP.match(plain):
            done, total, doing = step.groups()
            self._stream.step(int(done), int(total), doing or "")
        elif ROUTINE.match(plain):
            self._show(plain)
        elif plain.strip() or self._shown:
            self._display.say(line)

    def _show(self, plain: str) -> None:
        # A build that has nothing to do prints nothing.
        if not self._shown and plain.split()[0] in ("Compiling", "Downloading", "Updating"):
            self._shown = True
            self._display.add(self._stream)
