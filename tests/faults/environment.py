"""Execution environments: the functions' own binaries, each with a Runtime API as in Lambda."""

from __future__ import annotations

import json
import random
import subprocess
import threading
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tools.local.runtime_api import Failed, RuntimeApi

TIMEOUT_SECONDS = 30


class Environment:
    """One process of a function, for one invocation at a time. A new process replaces it when it
    has ended. Some invocations are killed in the middle."""

    def __init__(
        self,
        name: str,
        binary: Path,
        variables: Mapping[str, str],
        log: Path,
        kill_share: float,
        seed: int,
    ) -> None:
        self.name = name
        self.outcomes: Counter[str] = Counter()
        self._binary = binary
        self._variables = dict(variables)
        self._log = log
        self._kill_share = kill_share
        self._random = random.Random(seed)
        self._process: subprocess.Popen[bytes] | None = None
        self._api: RuntimeApi | None = None

    def invoke(self, event: Any) -> Any:
        """The function's answer to an event."""
        if self._process is None or self._process.poll() is not None:
            self._start()
        assert self._process is not None
        assert self._api is not None
        api, process = self._api, self._process
        killer = None
        if self._random.random() < self._kill_share:
            # Anywhere between the first byte and some time after most answers.
            killer = threading.Timer(self._random.uniform(0, 0.4), process.kill)
            killer.start()
        try:
            answer = api.invoke(json.dumps(event).encode(), process)
        except Failed as failed:
            # The reported status is an outcome; the details are in its log.
            self.outcomes["killed" if killer else str(failed).partition(":")[0]] += 1
            process.kill()
            process.wait()
            raise
        self.outcomes["answered"] += 1
        return json.loads(answer)

    def _start(self) -> None:
        if self._api is not None:
            self._api.close()
        self._api = RuntimeApi(TIMEOUT_SECONDS)
        with self._log.open("ab") as log:
            self._process = self._api.start([self._binary], self.name, self._variables, log)

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        if self._api is not None:
            self._api.close()
