"""Makes ready what a command needs: the Python tools and the compiled programs, at the same time.

    python3 -m tools.setup --tools local --compile programs

It runs before anything is installed, and needs only Python. It prints nothing if all is ready.
"""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Callable

from tools import interruptible
from tools.setup.compiling import BUILDS, Cargo, SetupError
from tools.setup.environments import VirtualEnvironment
from tools.setup.progress import Display

# A piece of work, and how it is stopped.
Work = tuple[Callable[[], None], Callable[[], None]]


def works(arguments: argparse.Namespace, display: Display) -> list[Work]:
    """What is to be done."""
    found: list[Work] = []
    for folder, wanted in ((".venv", arguments.tools), (".venv-check", arguments.check_tools)):
        environment = VirtualEnvironment(folder, display)
        if missing := environment.missing(wanted):
            found.append((lambda e=environment, m=missing: e.install(m), environment.stop))
    if arguments.compile:
        cargo = Cargo(arguments.compile, display)
        found.append((cargo.run, cargo.stop))
    return found


def run(found: list[Work], display: Display) -> list[SetupError]:
    """Does all the work at the same time; the first error stops the rest."""
    errors: list[SetupError] = []

    def attempt(work: Callable[[], None]) -> None:
        try:
            work()
        except SetupError as error:
            errors.append(error)
            stop()

    def stop() -> None:
        for _, end in found:
            end()

    workers = [threading.Thread(target=attempt, args=(work,)) for work, _ in found]
    for worker in workers:
        worker.start()
    try:
        display.watch(workers)
    except KeyboardInterrupt:
        stop()
        raise
    return errors


def main() -> int:
    interruptible()
    parser = argparse.ArgumentParser(description="make ready what a command needs")
    parser.add_argument("--tools", nargs="+", default=[], help="files of tools/requirements")
    parser.add_argument("--check-tools", nargs="+", default=[], help="those for .venv-check")
    parser.add_argument("--compile", choices=BUILDS, help="what to compile")
    arguments = parser.parse_args()
    display = Display()
    try:
        errors = run(works(arguments, display), display)
    except KeyboardInterrupt:
        display.say("\ninterrupted; the next run continues with what is ready")
        return 130
    for error in errors[:1]:
        display.say(f"error: {error}")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
