"""Which cloud a command goes to: the one that `make deploy` goes to, unless the local one is meant.

    python -m tools.local.where --env dev -- target/debug/replay rows.csv

runs the command with the variables that lead it there, and says first where that is. At the end of
one that was interrupted it says what is left running.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError, ProfileNotFound

from tools.local import cloud, commands, functions
from tools.local.clients import stack_of
from tools.local.commands import INTERRUPTED, CommandError, Parser, run, say, without_aws
from tools.local.problems import LOG_IN, sentence

DEFAULT_ENVIRONMENT = "dev"

# What ends a command of the tools in a sentence.
PROBLEMS = (CommandError, TimeoutError, BotoCoreError, ClientError)


@dataclass(frozen=True)
class Place:
    """A cloud and the stack in it."""

    name: str  # for people
    region: str
    stack: str
    dataset: str
    local: bool = False
    # Set for whatever goes there; the credentials of an account stay where the SDK finds them.
    variables: dict[str, str] = field(default_factory=dict)

    def client(self, service: str) -> Any:
        if self.local:
            return cloud.client(service, self.port, self.region)
        return boto3.client(service, region_name=self.region)

    def environment(self, shell: Mapping[str, str]) -> dict[str, str]:
        """The variables of a command; none that names an account reaches the local cloud."""
        return {**(without_aws(shell) if self.local else shell), **self.variables}

    def announce(self) -> None:
        """Says where a command goes, before it sends anything there."""
        account = ""
        if self.name == "AWS":
            account = f" account {self.client('sts').get_caller_identity()['Account']}"
        say(f"goes to {self.name}{account}, stack {self.stack} in {self.region}")
        if self.local and (reason := cloud.without_mappings(self.port)):
            say(f"warning: {reason}")

    def deployed(self) -> dict[str, Any] | None:
        """The stack, or nothing when there is none."""
        return stack_of(self.client("cloudformation"), self.stack)

    def parameters(self) -> dict[str, str]:
        """The values of the parameters that the stack was deployed with."""
        deployed = self.deployed() or {}
        return {
            each["ParameterKey"]: each["ParameterValue"] for each in deployed.get("Parameters", [])
        }

    @property
    def port(self) -> int:
        """The port of a local cloud."""
        return int(self.variables["AWS_ENDPOINT_URL"].rpartition(":")[2])

    def any_stack(self) -> dict[str, Any] | None:
        """The stack of a local cloud, whatever its data set."""
        return cloud.deployed(self.port, self.region)

    def outputs(self) -> dict[str, str]:
        """The outputs of the stack, which must be there."""
        stack = self.deployed()
        if stack is not None:
            return cloud.outputs_of(stack)
        why = f"the data set {self.dataset} is not deployed: {self.name}"
        other = self.any_stack() if self.local else None
        if other is None:
            raise CommandError(
                f"{why} has no stack {self.stack}; `make deploy` deploys it into your AWS account, "
                "`make up` on this machine"
            )
        name = cloud.outputs_of(other)["DatasetName"]
        if name == self.dataset:
            raise CommandError(
                f"{self.name} has no stack {self.stack}, but {other['StackName']}; leave out ENV"
            )
        raise CommandError(
            f"{why} has {name}; add DATASET={name}, "
            f"or deploy the other with `make up DATASET={self.dataset}`"
        )

    def __str__(self) -> str:
        return f"{self.name}, stack {self.stack} in {self.region}"


def choose(
    port: int,
    target: functions.Environment,
    local: bool = False,
    environment: Mapping[str, str] = os.environ,
) -> Place:
    """The place that is meant: the local cloud if it is asked for or nothing else is configured."""
    if not local and (endpoint := environment.get("AWS_ENDPOINT_URL")):
        own = re.fullmatch(r"http://(?:127\.0\.0\.1|localhost):(\d+)/?", endpoint)
        if own is None or cloud.running(int(own[1])) is None:
            region = environment.get("AWS_REGION", target.region)
            return Place(f"AWS_ENDPOINT_URL {endpoint}", region, target.stack, target.dataset)
        port = int(own[1])
    elif not local and configured(port):
        region = {"AWS_REGION": target.region, "AWS_DEFAULT_REGION": target.region}
        return Place("AWS", target.region, target.stack, target.dataset, variables=region)
    if cloud.running(port) is None:
        why = f"there is no local cloud on port {port}; `make up PORT={port}` starts one"
        if not local:
            why = f"no AWS credentials are configured, and {why}. For a stack on AWS, {LOG_IN}"
        raise cloud.CloudError(why)
    name, variables = f"the local cloud on port {port}", cloud.credentials(port, target.region)
    return Place(name, target.region, target.stack, target.dataset, True, variables)


def configured(port: int) -> bool:
    """Whether the SDK finds credentials in any way it knows: variables, a profile, SSO, a process,
    a container or an instance."""
    try:
        return boto3.Session().get_credentials() is not None
    except ProfileNotFound as error:
        up = cloud.running(port) is not None
        hint = "; `aws configure list-profiles` lists those that are there"
        if up:
            hint += ", and LOCAL=1 goes to the local cloud, which is running"
        raise CommandError(f"{error}{hint}") from error


def add_options(parser: argparse.ArgumentParser, dataset: str | None = functions.DATASET) -> None:
    """The options by which a command of `make` names its place."""
    parser.add_argument("--env", help="an environment of samconfig.toml [default: dev]")
    parser.add_argument("--dataset", default=dataset, help="a folder of datasets/")
    parser.add_argument("--port", type=commands.port, default=cloud.PORT, help="of the local cloud")
    parser.add_argument("--local", action="store_true", help="the local cloud is meant")


def place_of(arguments: argparse.Namespace) -> Place:
    """The place that the options name; without a data set it has the one that is deployed there."""
    env = arguments.env or DEFAULT_ENVIRONMENT
    target = functions.environment(env, arguments.dataset or functions.DATASET)
    place = choose(arguments.port, target, arguments.local)
    if place.local and arguments.dataset is None and (stack := place.any_stack()):
        name = cloud.outputs_of(stack)["DatasetName"]
        # An environment that was named is meant: `outputs` says if it is another one.
        meant = functions.environment(env, name).stack if arguments.env else stack["StackName"]
        return replace(place, stack=meant, dataset=name)
    return place


def main() -> int:
    parser = Parser(description="run a command against the cloud that is meant")
    add_options(parser)
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args()
    try:
        place = place_of(arguments)
        place.announce()
        place.outputs()
    except PROBLEMS as error:
        say(f"error: {sentence(error)}")
        return 1
    return run_there(arguments.command, place)


def run_there(command: list[str], place: Place) -> int:
    """Runs a command. Ctrl-C reaches it, too, and it says itself what it has done by then."""
    signal.signal(signal.SIGINT, lambda *_: None)
    status = subprocess.run(command, env=place.environment(os.environ), check=False).returncode
    if status in (-signal.SIGINT, INTERRUPTED) and place.local:
        say(f"interrupted; {cloud.left_running()}")
    return INTERRUPTED if status < 0 else status


if __name__ == "__main__":
    run(main, cloud.left_running)
