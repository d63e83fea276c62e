"""What browsers are sent: the state of a view when they connect, then what is new.

A browser that reads slowly gets the same in larger pieces. Nothing waits for it, and nothing is
kept for it.
"""

from __future__ import annotations

import json
import threading
from datetime import datetime
from typing import Any

from tools.live.view import View


class Feed:
    """The current view, and a version that increases with every change."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.opened = threading.Event()  # by the first browser
        self.view: View | None = None
        self.place = ""
        self.summary = "{}"
        self.generation = 0  # of the view
        self.version = 0  # none before the first tick
        self._problem: str | None = None

    def show(self, view: View, place: str) -> None:
        """Shows another view from the next tick on."""
        with self.lock:
            self.view, self.place, self._problem = view, place, "reading what is there"
            self.generation += 1

    def waits(self, problem: str) -> None:
        """There is nothing to show, for this reason."""
        with self.lock:
            self.generation += self.view is not None
            self.view, self._problem = None, problem

    def fails(self, problem: str | None) -> None:
        """What is shown is not the latest, for this reason, or is again."""
        with self.lock:
            self._problem = problem

    def tick(self, now: datetime) -> None:
        """Offers the changes since the last tick."""
        with self.lock:
            summary = self.view.summary(now) if self.view else {}
            state = {"problem": self._problem, "now": now.strftime("%H:%M:%S"), **summary}
            self.summary = json.dumps(state)
            self.version += 1

    def browser(self) -> Browser:
        """A browser that has just connected."""
        self.opened.set()
        return Browser(self)


class Browser:
    """How much of a feed a browser has."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._generation = self._version = 0
        self._cursor = (0, 0)

    def take(self) -> str:
        """What is new, as server-sent events; blank if nothing is."""
        feed = self._feed
        with feed.lock:
            if feed.version == self._version:
                return ""
            self._version, text = feed.version, ""
            if self._generation != feed.generation:
                self._generation, self._cursor = feed.generation, (0, 0)
                text = self._event("hello", feed.view.hello(feed.place) if feed.view else {})
            news = feed.view.news(*self._cursor) if feed.view else {}
            self._cursor = news.get("next", self._cursor)
            return text + self._event("news", news) + self._text("summary", feed.summary)

    def _event(self, kind: str, content: dict[str, Any]) -> str:
        return self._text(kind, json.dumps(content))

    def _text(self, kind: str, data: str) -> str:
        return f"event: {kind}\nid: {self._version}\ndata: {data}\n\n"
