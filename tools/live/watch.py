"""Keeps a feed at the state of a stack, whatever happens to the stack meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from time import monotonic

from tools.live.feed import Feed
from tools.live.sources import Gone, Source
from tools.local.problems import sentence
from tools.local.stack import now
from tools.local.where import PROBLEMS

PAUSE_SECONDS = 0.5
RETRY_SECONDS = 2

EXPECTED = (Gone, *PROBLEMS)


def watch(
    feed: Feed, connect: Callable[[], Source], stop: threading.Event, say: Callable[[str], None]
) -> None:
    """Shows a stack until it is time to stop; waits for one as long as there is none."""
    said = ""
    while not stop.is_set():
        try:
            source = connect()
        except EXPECTED as error:
            problem = sentence(error)
            if problem != said:
                said = problem
                say(f"live: waiting: {problem}")
            feed.waits(problem)
            feed.tick(now())
            stop.wait(RETRY_SECONDS)
            continue
        said = ""
        say(f"live: watching {source.place}")
        try:
            feed.show(source.view, str(source.place))
            feed.tick(now())
            follow(feed, source, stop, say)
        finally:
            source.close()


def follow(feed: Feed, source: Source, stop: threading.Event, say: Callable[[str], None]) -> None:
    """Reads a source until it is time to stop, or until a new source is needed."""
    with ThreadPoolExecutor(1) as executor:
        slow: Future[None] | None = None
        due = monotonic()
        while not stop.is_set():
            try:
                source.fast()
                if slow is not None and slow.done():
                    done, slow = slow, None
                    due = monotonic() + source.slow_seconds
                    done.result()
                if slow is None and monotonic() >= due:
                    slow = executor.submit(source.slow)
                feed.fails(None)
            except EXPECTED as error:
                feed.fails(sentence(error))
                say(f"live: {sentence(error)}")
                if isinstance(error, Gone) or not source.repeatable:
                    return
                stop.wait(RETRY_SECONDS)
            feed.tick(now())
            stop.wait(PAUSE_SECONDS)
