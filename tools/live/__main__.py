"""The live page of a stack: `python -m tools.live --local`.

It runs until it is interrupted. A page of the demo ends with its local cloud.
"""

from __future__ import annotations

import argparse
import errno
import signal
import socket
import threading
from types import FrameType

from tools.live import server, sources
from tools.live.feed import Feed
from tools.live.watch import watch
from tools.local import cloud, commands, where
from tools.local.commands import CommandError, Parser, run, say
from tools.local.problems import sentence

# Between two looks at whether to stop, while no browser has come.
OPENED_SECONDS = 0.5


def page_port(text: str) -> int:
    return 0 if text == "0" else commands.port(text)


def listen(host: str, port: int) -> socket.socket:
    try:
        return server.listen(host, port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise CommandError(
                f"port {port} is in use, perhaps by another live page; open "
                f"http://127.0.0.1:{port}/, or choose another port: PAGE={port + 1}"
            ) from error
        raise CommandError(f"cannot listen on {host} port {port}: {error.strerror}") from error


def check(arguments: argparse.Namespace) -> None:
    """Refuses a stack that is not there, unless it may come on the local cloud."""
    try:
        place = where.place_of(arguments)
    except cloud.CloudError:
        return
    if not place.local or arguments.env not in (None, where.DEFAULT_ENVIRONMENT):
        place.announce()
        place.outputs()


def until_interrupted(stop: threading.Event) -> None:
    """Lets the first interruption end things in order, and the second at once."""

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, handle)


def addresses(listener: socket.socket) -> list[str]:
    """Where the page is: for this machine, and for others if it listens on all addresses."""
    host, port = listener.getsockname()[:2]
    hosts = ["127.0.0.1", *filter(None, [own_address()])] if host == "0.0.0.0" else [host]
    return [f"http://{each}:{port}/" for each in hosts]


def own_address() -> str | None:
    """The address by which this machine reaches others, if it has a network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            return None
        return probe.getsockname()[0]


def main() -> int:
    parser = Parser(description="one page that shows a stack while it runs")
    where.add_options(parser, dataset=None)
    parser.add_argument("--page", type=page_port, help="the page's own port, or 0 for any")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on")
    parser.add_argument(
        "--when-opened", action="store_true", help="ask the services only once a browser has come"
    )
    arguments = parser.parse_args()
    stop = threading.Event()
    until_interrupted(stop)
    try:
        check(arguments)
        page = cloud.page_port(arguments.port) if arguments.page is None else arguments.page
        listener = listen(arguments.host, page)
    except where.PROBLEMS as error:
        say(f"error: {sentence(error)}")
        return 1
    feed = Feed()
    server.start(feed, listener)
    own, *others = addresses(listener)
    print(f"live: {own}", flush=True)
    for other in others:
        print(f"live: {other} on other devices of your network", flush=True)
    while arguments.when_opened and not stop.is_set() and not feed.opened.wait(OPENED_SECONDS):
        pass
    watch(feed, lambda: sources.connect(where.place_of(arguments), feed.lock), stop, say)
    say(f"\nlive: the page has ended; {cloud.left_running()}")
    return 0


if __name__ == "__main__":
    run(main, cloud.left_running)
