"""The service of the event source mappings: a process next to the emulator, in its group.

It runs the mappings that Lambda's API lists, with their functions in containers of its own. The
emulator keeps the list, invokes functions on request, and lends the credentials of their roles.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import traceback
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tools.local.clients import session
from tools.local.mapping.cloudwatch import LogStream, Metrics
from tools.local.mapping.containers import Function
from tools.local.mapping.deployments import Deployments
from tools.local.mapping.destination import Destination
from tools.local.mapping.kinesis import Context, KinesisMapping, Progress
from tools.local.mapping.rules import Settings
from tools.local.mapping.sqs import Queue, SqsMapping

MODULE = "tools.local.mapping"
LOOK_SECONDS = 1.0

Json = dict[str, Any]
# The paths of the emulator's process that it uses in addition to AWS's APIs.
CREDENTIALS = "/_ministack/mapping/credentials/"
RESULT = "/_ministack/mapping/result/"


def say(text: str) -> None:
    stamp = time.strftime("%H:%M:%S", time.gmtime())
    print(f"{stamp} {text}", flush=True)


class Aws:
    """The local cloud's services, in the name of the root user or of a function's role."""

    def __init__(self, endpoint: str, region: str, root: tuple[str, str]) -> None:
        self.endpoint = endpoint
        self._region = region
        self._root = {"aws_access_key_id": root[0], "aws_secret_access_key": root[1]}
        self._lock = threading.Lock()
        self._clients: dict[tuple[str, str], Any] = {}

    def client(self, service: str, function: str = "") -> Any:
        """A client of a service, for the function's role if one is named."""
        with self._lock:
            if (service, function) not in self._clients:
                keys = self._root if not function else self._keys_of(function)
                self._clients[service, function] = session(self._region, **keys).client(
                    service,
                    endpoint_url=self.endpoint,
                    config=Config(max_pool_connections=50, retries={"mode": "standard"}),
                )
            return self._clients[service, function]

    def _keys_of(self, function: str) -> dict[str, str]:
        variables = self.credentials(function)
        return {name.lower(): value for name, value in variables.items()}

    def credentials(self, function: str) -> dict[str, str]:
        """The variables with the credentials of a function's role."""
        url = f"{self.endpoint}{CREDENTIALS}{function}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return json.load(answer)

    def note_result(self, mapping: str, result: str) -> None:
        """Sets the `LastProcessingResult` that Lambda's API shows."""
        request = urllib.request.Request(
            f"{self.endpoint}{RESULT}{mapping}", data=result.encode(), method="POST"
        )
        try:
            urllib.request.urlopen(request, timeout=30).close()
        except OSError as error:
            say(f"the result of mapping {mapping} could not be noted: {error}")


class Result:
    """Notes a mapping's result when it changes."""

    def __init__(self, aws: Aws, mapping: str) -> None:
        self._aws = aws
        self._mapping = mapping
        self._lock = threading.Lock()
        self._last = ""

    def __call__(self, result: str) -> None:
        with self._lock:
            if result != self._last:
                self._last = result
                self._aws.note_result(self._mapping, result)


class Service:
    """Keeps the mappings as Lambda lists them."""

    def __init__(self, aws: Aws, folder: Path) -> None:
        self._aws = aws
        self._lambda = aws.client("lambda")
        self._metrics = Metrics(aws.client("cloudwatch"), say)
        self._deployments = Deployments(self._lambda, aws.endpoint, folder, aws.credentials)
        self._functions: dict[str, Function] = {}
        self._running: dict[str, tuple[str, KinesisMapping | SqsMapping]] = {}
        self._progress: dict[str, dict[str, Progress]] = {}

    def run(self) -> None:
        while True:
            try:
                self._tend(self._listed())
            except (BotoCoreError, ClientError, OSError) as error:
                say(f"the mappings could not be listed: {error}")
            self._metrics.flush()
            for function in self._functions.values():
                function.reap()
            time.sleep(LOOK_SECONDS)

    def _listed(self) -> dict[str, Json]:
        pages = self._lambda.get_paginator("list_event_source_mappings").paginate()
        mappings = [each for page in pages for each in page["EventSourceMappings"]]
        return {each["UUID"]: each for each in mappings}

    def _tend(self, listed: dict[str, Json]) -> None:
        enabled = {
            name: identity(each)
            for name, each in listed.items()
            if each["State"] in ("Enabled", "Enabling")
        }
        for name in [*self._running]:
            if enabled.get(name) != self._running[name][0]:
                self._running.pop(name)[1].stop()
                say(f"mapping {name} was stopped, or has other settings")
        for name, own in enabled.items():
            if name not in self._running:
                self._running[name] = (own, self._begin(listed[name]))
                say(f"mapping {name} runs: {own}")
        for name in [*self._progress]:
            if name not in listed:
                del self._progress[name]
        for _, mapping in self._running.values():
            mapping.tend()

    def _begin(self, mapping: Json) -> KinesisMapping | SqsMapping:
        source, uuid = mapping["EventSourceArn"], mapping["UUID"]
        function = self._function(mapping["FunctionArn"].split(":")[6])
        result = Result(self._aws, uuid)
        if source.split(":")[2] == "sqs":
            client = self._aws.client("sqs", function.name)
            url = self._aws.client("sqs").get_queue_url(QueueName=source.split(":")[5])["QueueUrl"]
            return SqsMapping(Queue(mapping, function, client, url, say, result))
        destination = Destination(
            mapping, self._aws.client("s3", function.name), self._metrics, say
        )
        context = Context(
            mapping,
            Settings.read(mapping),
            function,
            self._aws.client("kinesis", function.name),
            destination,
            self._metrics,
            say,
            result,
        )
        return KinesisMapping(context, self._progress.setdefault(uuid, {}))

    def _function(self, name: str) -> Function:
        if name not in self._functions:
            self._functions[name] = Function(name, self._deployments, self._log, self._metrics, say)
        return self._functions[name]

    def _log(self, function: str, group: str, stream: str) -> LogStream:
        # Not as the function's role, which the emulator refuses: it asks for the ARN of the log
        # group without the `:*` at the end of AWS's.
        return LogStream(self._aws.client("logs"), group, stream, say)


def identity(mapping: Json) -> str:
    """What makes a mapping another one when it changes: all but its times and results."""
    changing = ("LastModified", "LastProcessingResult", "State", "StateTransitionReason")
    kept = {name: value for name, value in mapping.items() if name not in changing}
    return json.dumps(kept, default=str, sort_keys=True)


# ------------------------------------------------------------------- in the emulator's process


def install() -> None:
    """Takes the mappings over from the emulator, and starts their process."""
    from ministack import app
    from ministack.services import lambda_svc

    lambda_svc._poll_kinesis = lambda_svc._poll_sqs = lambda: False
    app.app = serving(app.app)
    watch()


def watch() -> subprocess.Popen[bytes]:
    """Starts the process; that it ended is in both logs."""
    log = Path("mapping.log")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", MODULE],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    Path("mapping.pid").write_text(str(process.pid))

    def wait() -> None:
        status = process.wait()
        print(
            f"error: the event source mappings ended with {status}; see {log.resolve()}", flush=True
        )

    threading.Thread(target=wait, daemon=True).start()
    return process


def serving(application: Callable[..., Any]) -> Callable[..., Any]:
    """The emulator with the two paths that the mappings need."""
    from ministack.core.lambda_runtime import execution_credentials
    from ministack.services import lambda_svc

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        path = scope.get("path", "")
        if path.startswith(CREDENTIALS):
            status, body = 404, b"{}"
            for key, function in lambda_svc._functions.all_items():
                if key[-1] == path.removeprefix(CREDENTIALS):
                    status = 200
                    body = json.dumps(execution_credentials(function["config"])).encode()
        elif path.startswith(RESULT):
            result = (await receive()).get("body", b"").decode()
            status, body = 204, b""
            for _, mapping in lambda_svc._esms.all_items():
                if mapping["UUID"] == path.removeprefix(RESULT):
                    mapping["LastProcessingResult"] = result
        else:
            await application(scope, receive, send)
            return
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return serve


def main() -> None:
    root = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
    aws = Aws(os.environ["AWS_ENDPOINT_URL"], os.environ["AWS_REGION"], root)
    wait_until_healthy(aws.endpoint)
    try:
        Service(aws, Path("code").resolve()).run()
    except BaseException:
        traceback.print_exc()
        # Threads that wait for functions do not keep it alive.
        sys.stdout.flush()
        os._exit(1)


def wait_until_healthy(endpoint: str) -> None:
    for _ in range(600):
        try:
            urllib.request.urlopen(f"{endpoint}/_ministack/health", timeout=2).close()
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit("error: the emulator did not answer within a minute")
