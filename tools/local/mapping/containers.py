"""The functions' containers: processes that run the deployed code and are reused until they end.

https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html
"""

from __future__ import annotations

import json
import queue
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace

from botocore.exceptions import BotoCoreError, ClientError

from tools.local.mapping.cloudwatch import Metrics
from tools.local.mapping.deployments import Deployed, Deployments
from tools.local.mapping.rules import FunctionError, InvocationResult, Succeeded, Throttled
from tools.local.runtime_api import Ended, Failed, RuntimeApi, TimedOut

# How often the deployed configuration is looked up again.
CONFIGURATION_SECONDS = 1.0
# A container that has nothing to do ends after this time.
IDLE_SECONDS = 300

# Receives lines that a container printed.
Log = Callable[[list[str]], None]
# Opens a log by function name, log group and log stream.
Logs = Callable[[str, str, str], Log]


class Container:
    """A process of a function, which takes one invocation at a time."""

    def __init__(self, deployed: Deployed, log: Log, stream: str) -> None:
        self.deployed = deployed
        self.last_used = time.monotonic()
        self._log = log
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._api = RuntimeApi(deployed.timeout, deployed.arn)
        variables = {**deployed.variables, "AWS_LAMBDA_LOG_STREAM_NAME": stream}
        self.process = self._api.start(
            [deployed.program], deployed.name, variables, subprocess.PIPE
        )
        self._threads = [
            threading.Thread(target=target, daemon=True) for target in (self._read, self._deliver)
        ]
        for thread in self._threads:
            thread.start()

    def invoke(self, event: bytes, request: str) -> bytes:
        """Returns the answer to an event; raises `Failed` if there is none."""
        began = time.monotonic()
        status = "success"
        try:
            return self._api.invoke(event, self.process, request)
        except TimedOut:
            status = "timeout"
            raise
        except Ended:
            status = "failure"
            raise
        except Failed:
            status = "error"
            raise
        finally:
            self.last_used = time.monotonic()
            self._lines.put(report_line(request, status, (self.last_used - began) * 1e3))

    def close(self) -> None:
        """Kills the process, then waits until its last lines are delivered."""
        self.process.kill()
        self.process.wait()
        for thread in self._threads:
            thread.join(timeout=10)
        self._api.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.decode("utf-8", "replace").rstrip("\n"))
        self._lines.put(None)

    def _deliver(self) -> None:
        """Delivers lines in batches: those that arrive within 0.1 s go together."""
        ended = False
        while not ended:
            lines: list[str] = []
            line = self._lines.get()
            if line is not None:
                time.sleep(0.1)
            while line is not None:
                lines.append(line)
                try:
                    line = self._lines.get_nowait()
                except queue.Empty:
                    break
            else:
                ended = True
            if lines:
                self._log(lines)


def report_line(request: str, status: str, milliseconds: float) -> str:
    """The line that Lambda logs at the end of an invocation.

    https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-logformat.html
    """
    record = {
        "requestId": request,
        "status": status,
        "metrics": {"durationMs": round(milliseconds, 3)},
    }
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return json.dumps({"time": stamp, "type": "platform.report", "record": record})


class Function:
    """A deployed function, with as many containers as it has invocations at the same time."""

    def __init__(
        self,
        name: str,
        deployments: Deployments,
        logs: Logs,
        metrics: Metrics,
        print_line: Callable[[str], None],
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self._deployments = deployments
        self._logs = logs
        self._metrics = metrics
        self._print_line = print_line
        self._variables = dict(variables or {})
        self._lock = threading.Lock()
        self._idle: list[Container] = []
        self._running = 0
        self._deployed: Deployed | None = None
        self._looked_up = 0.0

    def invoke(self, event: bytes) -> InvocationResult:
        """Lets a free or a new container handle an event, and returns the result."""
        try:
            container = self._acquire()
        except (BotoCoreError, ClientError, OSError) as error:
            # The function was not invoked, so the mapping must not count an attempt.
            self._print_line(f"{self.name} could not be started: {error}")
            return Throttled()
        if container is None:
            self._metrics.count("Throttles", 1, self.name)
            return Throttled()
        began = time.monotonic()
        try:
            payload = self.run(container, event)
        except Failed as failed:
            self._measure(began, errors=1)
            self._release(container, is_usable=not isinstance(failed, Ended))
            return FunctionError(str(failed))
        self._measure(began, errors=0)
        self._release(container, is_usable=True)
        return Succeeded(payload.decode("utf-8", "replace"))

    def run(self, container: Container, event: bytes) -> bytes:
        return container.invoke(event, str(uuid.uuid4()))

    def reap(self) -> None:
        """Ends the containers that have been idle for long."""
        limit = time.monotonic() - IDLE_SECONDS
        with self._lock:
            old = [each for each in self._idle if each.last_used < limit]
            self._idle = [each for each in self._idle if each.last_used >= limit]
        for container in old:
            container.close()

    def close(self) -> None:
        with self._lock:
            containers, self._idle = self._idle, []
        for container in containers:
            container.close()

    def _measure(self, began: float, errors: int) -> None:
        self._metrics.count("Invocations", 1, self.name)
        self._metrics.count("Errors", errors, self.name)
        self._metrics.add_sample("Duration", (time.monotonic() - began) * 1e3, self.name)

    def _acquire(self) -> Container | None:
        """A container of the deployed version; none while the reserved concurrency is in use."""
        with self._lock:
            deployed = self._current()
            outdated = [each for each in self._idle if each.deployed != deployed]
            self._idle = [each for each in self._idle if each.deployed == deployed]
            is_free = self._reserve(deployed)
            idle = self._idle.pop() if self._idle and is_free else None
        for each in outdated:
            each.close()
        return self._alive(idle, deployed) if is_free else None

    def _reserve(self, deployed: Deployed) -> bool:
        """Counts an invocation that begins, unless the reserved concurrency is in use."""
        most = deployed.reserved_concurrency
        is_free = most is None or self._running < most
        self._running += is_free
        return is_free

    def _alive(self, idle: Container | None, deployed: Deployed) -> Container:
        """The idle container if its process still runs, otherwise a new one."""
        if idle is not None and idle.process.poll() is None:
            return idle
        if idle is not None:
            idle.close()
        try:
            return self._start(deployed)
        except BaseException:
            with self._lock:
                self._running -= 1
            raise

    def _current(self) -> Deployed:
        now = time.monotonic()
        if self._deployed is None or now - self._looked_up > CONFIGURATION_SECONDS:
            found = self._deployments.find(self.name)
            variables = {**found.variables, **self._variables}
            self._deployed = replace(found, variables=variables)
            self._looked_up = now
        return self._deployed

    def _start(self, deployed: Deployed) -> Container:
        day = time.strftime("%Y/%m/%d", time.gmtime())
        stream = f"{day}/[$LATEST]{uuid.uuid4().hex}"
        return Container(deployed, self._logs(self.name, deployed.log_group, stream), stream)

    def _release(self, container: Container, is_usable: bool) -> None:
        with self._lock:
            self._running -= 1
            if is_usable:
                self._idle.append(container)
        if not is_usable:
            container.close()
