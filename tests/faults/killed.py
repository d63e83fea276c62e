"""A function some of whose invocations are killed in the middle."""

from __future__ import annotations

import random
import threading
from collections import Counter

from tools.local.mapping.containers import Container, Function
from tools.local.runtime_api import Failed


class Killed(Function):
    """Kills a share of its invocations; `outcomes` counts how they all ended."""

    outcomes: Counter[str]

    def begin(self, share: float, seed: int) -> None:
        self.outcomes = Counter()
        self._share = share
        self._random = random.Random(seed)

    def run(self, container: Container, event: bytes) -> bytes:
        killer = None
        if self._random.random() < self._share:
            # Anywhere between the first byte and some time after most answers.
            killer = threading.Timer(self._random.uniform(0, 0.4), container.process.kill)
            killer.start()
        try:
            answer = super().run(container, event)
        except Failed as failed:
            # The details are in its log.
            self.outcomes["killed" if killer else str(failed).partition(":")[0]] += 1
            raise
        self.outcomes["answered"] += 1
        return answer
