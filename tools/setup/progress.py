"""Shows how far the streams of work of a first run are: as live lines, or as a line now and then.

Only the standard library is used: nothing is installed yet.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from collections.abc import Sequence
from typing import TextIO

# Between two lines about a stream where there is no terminal to redraw.
LINE_EVERY_SECONDS = 15.0
REDRAW_EVERY_SECONDS = 0.2


class Stream:
    """One stream of work: what is done, of how much, and what it is at."""

    def __init__(self, name: str, unit: str) -> None:
        self.name = name
        self.unit = unit
        self.done = 0
        self.total = 0
        self.doing = ""
        self.started = time.monotonic()
        self.seconds: float | None = None  # how long it took, once it has ended
        self.printed = self.started

    def step(self, done: int, total: int, doing: str = "") -> None:
        """Sets how far the work is."""
        self.done, self.total, self.doing = done, total, doing

    def end(self) -> None:
        """Notes that all is done."""
        self.seconds = time.monotonic() - self.started

    def __str__(self) -> str:
        if self.seconds is not None:
            counted = f"{self.total} {self.unit} " if self.total else ""
            return f"{self.name}: {counted}ready after {duration(self.seconds)}"
        elapsed = duration(time.monotonic() - self.started)
        doing = f": {self.doing}" if self.doing else ""
        if not self.total:
            return f"{self.name}: {elapsed}{doing}"
        left = self.total - self.done
        return (
            f"{self.name}: {self.done} of {self.total} {self.unit}, {left} left, {elapsed}{doing}"
        )


class Display:
    """Shows streams until all have ended."""

    def __init__(self, output: TextIO | None = None) -> None:
        self._output = output or sys.stderr
        self._live = self._output.isatty() and os.environ.get("TERM") != "dumb"
        self._streams: list[Stream] = []
        self._drawn = 0
        self._lock = threading.Lock()

    @property
    def live(self) -> bool:
        """Whether lines are redrawn in place."""
        return self._live

    def add(self, stream: Stream) -> None:
        """Shows a stream from now on."""
        with self._lock:
            self._streams.append(stream)
            if not self._live:
                self._print(f"{stream.name}: started")

    def say(self, text: str) -> None:
        """Prints a line that stays, above the live ones."""
        with self._lock:
            self._erase()
            self._print(text)
            self._draw()

    def watch(self, workers: Sequence[threading.Thread]) -> None:
        """Shows the streams until all workers have ended."""
        for worker in workers:
            while worker.is_alive():
                worker.join(REDRAW_EVERY_SECONDS)
                self.refresh()
        self.refresh(last=True)

    def refresh(self, last: bool = False) -> None:
        """Draws the live lines again, or prints those that are due."""
        with self._lock:
            if self._live:
                self._erase()
                self._draw(last)
                return
            now = time.monotonic()
            for stream in self._streams:
                ended = stream.seconds is not None
                if ended or now - stream.printed >= LINE_EVERY_SECONDS:
                    self._print(str(stream))
                    stream.printed = now
            self._streams = [stream for stream in self._streams if stream.seconds is None]

    def _draw(self, last: bool = False) -> None:
        if not self._live:
            return
        columns = shutil.get_terminal_size().columns - 1
        for stream in self._streams:
            self._print(str(stream)[:columns])
        self._drawn = 0 if last else len(self._streams)

    def _erase(self) -> None:
        if self._drawn:
            self._output.write(f"\033[{self._drawn}A\033[J")
            self._drawn = 0

    def _print(self, text: str) -> None:
        self._output.write(f"{text}\n")
        self._output.flush()


def duration(seconds: float) -> str:
    """A duration for people: `8 s`, `2 min 5 s`."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
