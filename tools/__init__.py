"""The project's Python tools: `python -m tools.local.demo` and the like.

A command imports its libraries for about a second. Ctrl-C in that time would print their traceback,
so that it ends the process in one line until `interruptible` is called. Until this module runs,
`make` holds the signal back.
"""

import os
import signal
import sys

if sys.version_info < (3, 10):  # noqa: UP036, for whoever has an older one
    found = sys.version.split()[0]
    message = f"expected Python 3.10 or later, found {found}"
    sys.exit(f"error: {message}; name another: make PYTHON=python3.12 …")


def _end(number: int, frame: object) -> None:
    os.write(2, b"\ninterrupted before anything was done\n")
    os._exit(130)


def interruptible() -> None:
    """Lets Ctrl-C raise `KeyboardInterrupt` from now on."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


# Python names itself so while `-m` looks for its module. Tests import this package later. A shell
# that ignores the signal for its commands in the background is left to do so.
if sys.argv[:1] == ["-m"] and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, _end)
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
