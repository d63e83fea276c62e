"""The local cloud: an AWS emulator as a process of this project, with the stack deployed into it.

Each port has a cloud, a log and a state of its own under `target/local/<port>/`.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.local import checks, clients, commands, deployment
from tools.local.commands import (
    REPOSITORY,
    CommandError,
    Parser,
    run,
    say,
    tail,
    without_aws,
)
from tools.local.emulator import for_emulator
from tools.local.functions import (
    DATASET,
    LOCAL_BUILD,
    Environment,
    build_local,
    load,
    local_environment,
)

STATE = REPOSITORY / "target" / "local"
EMULATOR = "tools.local.services"  # a module
MAPPINGS = "tools.local.mapping"  # the module of its event source mappings
PAGE = "tools.live"  # the module of a page that shows it

# What a cloud holds in its folder, next to its logs.
HELD = ("code", "s3", "state", "tmp")

PORT = 4566
ACCESS_KEY = SECRET_KEY = "test"  # the emulator's root user

START_SECONDS = 60
STOP_SECONDS = 15


def bypass_proxies() -> None:
    """Lets this process, and those that it starts, reach the cloud without the network's proxy."""
    for name in ("NO_PROXY", "no_proxy"):
        hosts = os.environ.get(name, "").split(",")
        if "127.0.0.1" not in hosts:
            os.environ[name] = ",".join([*filter(None, hosts), "127.0.0.1", "localhost"])


bypass_proxies()


class CloudError(CommandError):
    """The local cloud cannot do what was asked; the text says why and what would help."""


@dataclass(frozen=True)
class Cloud:
    """A running local cloud with the stack deployed."""

    port: int
    stack: str
    region: str
    outputs: dict[str, str]

    @property
    def endpoint(self) -> str:
        return endpoint(self.port)

    @property
    def credentials(self) -> dict[str, str]:
        """The variables that point AWS's libraries and command line tools here."""
        return credentials(self.port, self.region)

    def client(self, service: str) -> Any:
        return client(service, self.port, self.region)


def endpoint(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def credentials(port: int, region: str) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": endpoint(port),
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_DEFAULT_REGION": region,
        "AWS_REGION": region,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@functools.cache
def client(service: str, port: int, region: str) -> Any:
    """A client of the emulator's root user. A new one would take a tenth of a second."""
    session = clients.session(
        region, aws_access_key_id=ACCESS_KEY, aws_secret_access_key=SECRET_KEY
    )
    return session.client(service, endpoint_url=endpoint(port))


def left_running() -> str:
    """What an interrupted command leaves, in a sentence."""
    up = [port for port in ports() if running(port) is not None]
    if not up:
        return "no local cloud is running"
    clouds = " and ".join(f"on port {port} (`make down PORT={port}` stops it)" for port in up)
    return f"the local cloud is still running {clouds}"


def up(port: int = PORT, fresh: bool = False, dataset: str = DATASET) -> Cloud:
    """Starts the cloud unless it runs, builds the functions, and deploys the stack of the data set.

    With `fresh` a running cloud is stopped first, so that nothing of before is left in it.
    """
    local = local_environment(dataset)
    checks.refuse(local)
    if not fresh and running(port) is not None and (reason := unusable(port, local)):
        say(f"local cloud: starting over, because {reason}")
        fresh = True
    if fresh:
        down(port)
    if running(port) is None:
        start(port, local.region)
    # Clouds on other ports are deployed from the same build.
    with exclusive(STATE / "build.lock"):
        template = build_local(dataset)
    deploy(port, local, template)
    return connect(port)


def built_template(dataset: str = DATASET) -> Path:
    """The template of a data set's stack as the last `up` built it, for any port."""
    return LOCAL_BUILD / dataset / "template.json"


def down(port: int = PORT) -> bool:
    """Stops the cloud of this port, and deletes all but its logs; false when there was none."""
    pid = running(port)
    for each in filter(None, (running_page(port), pid)):
        # At once, since nothing is kept. The functions' processes are of the emulator's group.
        os.killpg(each, signal.SIGKILL)
        if not wait_until(lambda each=each: not alive(each), STOP_SECONDS):
            raise CloudError(f"process {each} of the local cloud on port {port} does not end")
    page_pid_file(port).unlink(missing_ok=True)
    pid_file(port).unlink(missing_ok=True)
    for name in HELD:
        # A function that ends a moment later may still write there.
        shutil.rmtree(state(port) / name, ignore_errors=True)
    return pid is not None


def end_page(port: int) -> None:
    """Ends the page that shows the cloud of this port, if the demo has started one.

    It removes its queue from the cloud.
    """
    if (pid := running_page(port)) is not None:
        os.kill(pid, signal.SIGTERM)
        if not wait_until(lambda: not alive(pid), STOP_SECONDS):
            os.kill(pid, signal.SIGKILL)
    page_pid_file(port).unlink(missing_ok=True)


def show_page(port: int) -> str:
    """Starts a page that shows the cloud of this port until `down`, and returns its address.

    It reads what the services have from the first browser on, so that it slows down no run that
    nobody watches.
    """
    end_page(port)
    # Any free port, if another page has the usual one.
    for page in (page_port(port), 0):
        if address := start_page(port, page):
            return address
    log = page_log(port)
    raise CloudError(f"the live page did not start:\n{tail(log)}\nsee {log}")


def start_page(port: int, page: int) -> str | None:
    """The address of the page as a process, or nothing if it ended at once."""
    with page_log(port).open("wb") as output:
        options = ["--local", "--when-opened", f"--port={port}", f"--page={page}"]
        process = subprocess.Popen(
            [sys.executable, "-m", PAGE, *options],
            cwd=state(port),
            env={**without_aws(os.environ), "PYTHONPATH": str(REPOSITORY)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    page_pid_file(port).write_text(str(process.pid))

    def address() -> str | None:
        log = page_log(port).read_text(encoding="utf-8")
        found = re.search(r"^live: (http://\S+)$", log, re.MULTILINE)
        return found and found[1]

    wait_until(lambda: process.poll() is not None or address() is not None, START_SECONDS)
    return address()


def page_port(port: int) -> int:
    """The usual port of the page that shows the cloud of this port."""
    return port + 1000 if port + 1000 < 2**16 else 0


def connect(port: int = PORT) -> Cloud:
    """The cloud of this port, which must be up."""
    region = local_environment().region
    if running(port) is None:
        raise CloudError(f"no local cloud is on port {port}; `make up PORT={port}` starts one")
    if reason := without_mappings(port):
        raise CloudError(reason)
    stack = deployed(port, region)
    if stack is None:
        raise CloudError(
            f"the local cloud on port {port} has no stack; `make up PORT={port}` deploys it"
        )
    return Cloud(port, stack["StackName"], region, outputs_of(stack))


# -------------------------------------------------------------------------------- the process


def state(port: int) -> Path:
    return STATE / str(port)


def pid_file(port: int) -> Path:
    return state(port) / "ministack.pid"


def page_pid_file(port: int) -> Path:
    return state(port) / "page.pid"


def emulator_log(port: int) -> Path:
    return state(port) / "ministack.log"


def mapping_log(port: int) -> Path:
    return state(port) / "mapping.log"


def page_log(port: int) -> Path:
    return state(port) / "page.log"


def running(port: int) -> int | None:
    """The process of this port's emulator."""
    return process_of(port, pid_file(port), EMULATOR)


def running_page(port: int) -> int | None:
    """The process of the page that the demo has started for this port."""
    return process_of(port, page_pid_file(port), PAGE)


def without_mappings(port: int) -> str | None:
    """That the mappings of a running cloud have ended, in a sentence, if so."""
    if process_of(port, state(port) / "mapping.pid", MAPPINGS) is not None:
        return None
    return (
        f"the event source mappings of the local cloud on port {port} have ended, so that no "
        f"function gets events from a stream or queue; {mapping_log(port)} says why, and "
        f"`make up PORT={port}` starts the cloud again"
    )


def process_of(port: int, file: Path, module: str) -> int | None:
    """The process of a port whose number is in a file.

    The number is not believed by itself: it may have gone to another program since.
    """
    try:
        pid = int(file.read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        directory = Path(f"/proc/{pid}/cwd").resolve()
    except (OSError, ValueError):
        return None
    return pid if module.encode() in command and directory == state(port).resolve() else None


def ports() -> list[int]:
    """The ports that have had a cloud."""
    return sorted(int(path.parent.name) for path in STATE.glob("[0-9]*/ministack.pid"))


def start(port: int, region: str) -> None:
    if taken(port):
        raise CloudError(
            f"port {port} is in use by a program that this project did not start; "
            f"stop that one, or choose another port: PORT={port + 1}"
        )
    directory = state(port)
    temporary = directory / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    variables = {
        **without_aws(os.environ),
        **credentials(port, region),  # by which the functions' clients find the emulator
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_REGION": region,
        "AUTH": "true",  # IAM is enforced
        "AWS_LAMBDA_LOG_FORMAT": "JSON",  # as Lambda sets it for functions with that log format
        # Listeners that nothing here needs, on ports that another cloud may have.
        "IOT_MTLS_ENABLED": "false",
        "SFTP_ENABLED": "false",
        "TMPDIR": str(temporary),
        "S3_DATA_DIR": str(directory / "s3"),
        "STATE_DIR": str(directory / "state"),
        "PYTHONPATH": str(REPOSITORY),
        "PYTHONUNBUFFERED": "1",
        "TZ": "UTC",  # the time zone of Athena's sessions
    }
    say(f"local cloud: starting on {endpoint(port)}")
    log = emulator_log(port)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", EMULATOR],
            cwd=directory,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C in the terminal is not meant for it
        )
    pid_file(port).write_text(str(process.pid))

    answered = wait_until(lambda: process.poll() is not None or healthy(port), START_SECONDS)
    if process.poll() is not None:
        pid_file(port).unlink(missing_ok=True)
        raise CloudError(f"the local cloud ended at once:\n{tail(log)}\nsee {log}")
    if not answered:
        down(port)
        raise CloudError(f"the local cloud did not answer within {START_SECONDS} s; see {log}")


def healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"{endpoint(port)}/_ministack/health", timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


def taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def alive(pid: int) -> bool:
    # A child of this very process stays in the table until it has been waited for.
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    return Path(f"/proc/{pid}").exists()


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Waits for a condition; false if it is not true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Holds a lock among the processes of this machine; the system frees it when one ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("functions: waiting for another build to end")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


# ----------------------------------------------------------------------------------- the stack


def deploy(port: int, local: Environment, template: Path) -> None:
    """Deploys a built template, as the emulator takes it."""
    say(f"stack: deploying {local.stack}; docs/LOCAL_DIFFERENCES.md lists what differs from AWS")
    deployment.deploy(
        lambda service: client(service, port, local.region),
        local.stack,
        for_emulator(load(template)),
        local.parameters,
        template.parent,
    )


def deployed(port: int, region: str) -> dict[str, Any] | None:
    """This project's stack in the cloud of the port, whatever its data set; a cloud holds one."""
    stacks = client("cloudformation", port, region).describe_stacks()["Stacks"]
    return next((stack for stack in stacks if "DatasetName" in outputs_of(stack)), None)


def outputs_of(stack: dict[str, Any]) -> dict[str, str]:
    return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}


def unusable(port: int, local: Environment) -> str | None:
    """Why the running cloud cannot take the stack, if so."""
    final = ("CREATE_FAILED", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "UPDATE_ROLLBACK_FAILED")
    stack = clients.stack_of(client("cloudformation", port, local.region), local.stack)
    if stack is not None and stack["StackStatus"] in final:
        return "its last deployment failed"
    if without_mappings(port):
        return "its event source mappings have ended"
    other = deployed(port, local.region)
    if other is not None and other["StackName"] != local.stack:
        # Buckets are named by company, account and environment: they are those of one data set.
        return f"it holds {other['StackName']}"
    return None


def main() -> int:
    parser = Parser(description="the local cloud and the stack in it")
    parser.add_argument("action", choices=["up", "down"])
    parser.add_argument("--port", type=commands.port, default=PORT)
    parser.add_argument("--dataset", default=DATASET, help="a folder of datasets/")
    parser.add_argument("--fresh", action="store_true", help="leave nothing of an earlier one")
    parser.add_argument("--all", action="store_true", help="stop the clouds of all ports")
    arguments = parser.parse_args()
    try:
        if arguments.action == "up":
            cloud = up(arguments.port, arguments.fresh, arguments.dataset)
            say(f"local cloud: {cloud.stack} is up; these lines point a shell's AWS tools to it")
            for name, value in cloud.credentials.items():
                print(f"export {name}={value}")
        else:
            for port in ports() if arguments.all else [arguments.port]:
                stopped = down(port)
                say(f"local cloud: {'stopped' if stopped else 'none'} on port {port}")
    except CommandError as error:
        say(f"error: {error}")
        return 1
    return 0


if __name__ == "__main__":
    run(main, left_running)
