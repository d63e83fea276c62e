"""The functions' containers: processes of their deployed code that are used again while they live.

https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html
"""

from __future__ import annotations

import io
import json
import queue
import shutil
import subprocess
import threading
import time
import urllib.request
import uuid
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from tools.local.mapping.cloudwatch import Metrics
from tools.local.mapping.rules import Answer, FunctionError, Succeeded, Throttled
from tools.local.runtime_api import Ended, Failed, RuntimeApi

# A deployment is noticed so soon.
CONFIGURATION_SECONDS = 1.0
# A container that has nothing to do ends after this time.
IDLE_SECONDS = 300

# Takes the lines that a container has printed.
Log = Callable[[list[str]], None]
# Makes the log of a container of a function, which has this group and stream.
Logs = Callable[[str, str, str], Log]


@dataclass(frozen=True)
class Deployed:
    """A function as it is deployed at one moment."""

    name: str
    arn: str
    revision: tuple[str, ...]
    timeout: float
    variables: dict[str, str]
    program: Path
    log_group: str
    reserved: int | None  # most invocations at the same time


class Deployments:
    """Looks functions up in Lambda, and keeps their code in a folder."""

    def __init__(
        self,
        client: Any,
        endpoint: str,
        folder: Path,
        credentials_of: Callable[[str], dict[str, str]],
    ) -> None:
        self._client = client
        self._endpoint = endpoint
        self._folder = folder
        self._credentials_of = credentials_of
        self._lock = threading.Lock()

    def find(self, name: str) -> Deployed:
        found = self._client.get_function(FunctionName=name)
        configuration = found["Configuration"]
        logging = configuration.get("LoggingConfig") or {}
        group = logging.get("LogGroup") or f"/aws/lambda/{name}"
        region = configuration["FunctionArn"].split(":")[3]
        variables = {
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(configuration.get("MemorySize", 128)),
            "AWS_LAMBDA_LOG_FORMAT": logging.get("LogFormat", "Text"),
            "AWS_LAMBDA_LOG_GROUP_NAME": group,
            "AWS_REGION": region,
            "AWS_DEFAULT_REGION": region,
            "TZ": ":UTC",
            **self._credentials_of(name),
            **(configuration.get("Environment") or {}).get("Variables", {}),
            # The function finds the local cloud by it, whatever its own variables say.
            "AWS_ENDPOINT_URL": self._endpoint,
        }
        sha = configuration["CodeSha256"]
        return Deployed(
            name=name,
            arn=configuration["FunctionArn"],
            revision=(sha, configuration["LastModified"], configuration.get("RevisionId", "")),
            timeout=configuration["Timeout"],
            variables=variables,
            program=self._program(sha, found["Code"]["Location"]),
            log_group=group,
            reserved=found.get("Concurrency", {}).get("ReservedConcurrentExecutions"),
        )

    def _program(self, sha: str, location: str) -> Path:
        """The `bootstrap` of this code, which is downloaded once."""
        folder = self._folder / "".join(each for each in sha if each.isalnum())
        program = folder / "bootstrap"
        with self._lock:
            if not program.exists():
                # The emulator's own name of its host may be another address.
                path = location.partition("://")[2].partition("/")[2]
                with urllib.request.urlopen(f"{self._endpoint}/{path}", timeout=60) as answer:
                    archive = zipfile.ZipFile(io.BytesIO(answer.read()))
                new = folder.with_suffix(".new")
                shutil.rmtree(new, ignore_errors=True)
                archive.extractall(new)
                (new / "bootstrap").chmod(0o755)
                new.rename(folder)
        return program


class Container:
    """A process of a function, which takes one invocation at a time."""

    def __init__(self, deployed: Deployed, log: Log, stream: str) -> None:
        self.deployed = deployed
        self.used = time.monotonic()
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
        """The answer to an event; `Failed` if there is none."""
        began = time.monotonic()
        status = "success"
        try:
            return self._api.invoke(event, self.process, request)
        except Ended as failed:
            status = "timeout" if str(failed) == "timed out" else "failure"
            raise
        except Failed:
            status = "error"
            raise
        finally:
            self.used = time.monotonic()
            self._lines.put(report(request, status, (self.used - began) * 1e3))

    def close(self) -> None:
        """Ends the process, once all that it printed is delivered."""
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
        """Delivers the lines, those of one moment together."""
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


def report(request: str, status: str, milliseconds: float) -> str:
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
        say: Callable[[str], None],
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self._deployments = deployments
        self._logs = logs
        self._metrics = metrics
        self._say = say
        self._variables = dict(variables or {})
        self._lock = threading.Lock()
        self._idle: list[Container] = []
        self._running = 0
        self._deployed: Deployed | None = None
        self._looked_up = 0.0

    def invoke(self, event: bytes) -> Answer:
        """The answer to an event, of a container that is free or new."""
        try:
            container = self._acquire()
        except (BotoCoreError, ClientError, OSError) as error:
            # It was not invoked, so this is not an attempt.
            self._say(f"{self.name} could not be started: {error}")
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
            old = [each for each in self._idle if each.used < limit]
            self._idle = [each for each in self._idle if each.used >= limit]
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
        self._metrics.take("Duration", (time.monotonic() - began) * 1e3, self.name)

    def _acquire(self) -> Container | None:
        """A container of the deployed version; none while the reserved concurrency is in use."""
        with self._lock:
            deployed = self._current()
            outdated = [each for each in self._idle if each.deployed != deployed]
            self._idle = [each for each in self._idle if each.deployed == deployed]
            is_free = deployed.reserved is None or self._running < deployed.reserved
            container = self._idle.pop() if self._idle and is_free else None
            self._running += is_free
        for each in outdated:
            each.close()
        if container is not None and container.process.poll() is not None:
            container.close()
            container = None
        if container is None and is_free:
            try:
                container = self._start(deployed)
            except BaseException:
                with self._lock:
                    self._running -= 1
                raise
        return container

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
