"""The project's Python tools: `python -m tools.local.demo` and the like.

Importing the libraries takes about a second, and Ctrl-C would print a traceback. Until a command
calls `interruptible`, Ctrl-C therefore ends the process with one line. Before this module runs,
`make` blocks the signal.
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


# `sys.argv[0]` is `-m` only while Python looks for the module, so tests that import this package
# are not affected. If a shell ignores the signal for a command in the background, it stays ignored.
if sys.argv[:1] == ["-m"] and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, _end)
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
