"""Which cloud a command goes to: the one that `make deploy` goes to, unless the local one is meant.

    python -m tools.local.where --env dev -- target/debug/replay rows.csv

runs the command with the variables that lead it there, and says first where that is.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError, ProfileNotFound

from tools.local import cloud, commands, functions
from tools.local.commands import CommandError, Parser, run, say, without_aws

# What ends a command of the tools in a sentence.
PROBLEMS = (CommandError, cloud.CloudError, TimeoutError, BotoCoreError, ClientError)


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
            endpoint = self.variables["AWS_ENDPOINT_URL"]
            return cloud.session(self.region).client(service, endpoint_url=endpoint)
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

    def deployed(self) -> dict[str, Any] | None:
        """The stack, or nothing when there is none."""
        try:
            return self.client("cloudformation").describe_stacks(StackName=self.stack)["Stacks"][0]
        except ClientError as error:
            if error.response["Error"]["Code"] != "ValidationError":
                raise
            return None

    def parameters(self) -> dict[str, str]:
        """The values of the parameters that the stack was deployed with."""
        deployed = self.deployed() or {}
        return {
            each["ParameterKey"]: each["ParameterValue"] for each in deployed.get("Parameters", [])
        }

    def any_stack(self) -> dict[str, Any] | None:
        """The stack of a local cloud, whatever its data set."""
        return cloud.deployed(
            int(self.variables["AWS_ENDPOINT_URL"].rpartition(":")[2]), self.region
        )

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
        why = "" if local else "no AWS credentials are configured, and "
        raise cloud.CloudError(
            f"{why}there is no local cloud on port {port}; `make up PORT={port}` starts one"
        )
    name, variables = f"the local cloud on port {port}", cloud.credentials(port, target.region)
    return Place(name, target.region, target.stack, target.dataset, True, variables)


def configured(port: int) -> bool:
    """Whether the SDK finds credentials in any way it knows: variables, a profile, SSO, a process,
    a container or an instance."""
    try:
        return boto3.Session().get_credentials() is not None
    except ProfileNotFound as error:
        up = cloud.running(port) is not None
        hint = "; LOCAL=1 goes to the local cloud, which is running" if up else ""
        raise CommandError(f"{error}{hint}") from error


def add_options(parser: argparse.ArgumentParser, dataset: str | None = functions.DATASET) -> None:
    """The options by which a command of `make` names its place."""
    parser.add_argument("--env", default="dev", help="an environment of samconfig.toml")
    parser.add_argument("--dataset", default=dataset, help="a folder of datasets/")
    parser.add_argument("--port", type=commands.port, default=cloud.PORT, help="of the local cloud")
    parser.add_argument("--local", action="store_true", help="the local cloud is meant")


def place_of(arguments: argparse.Namespace) -> Place:
    """The place that the options name; without a data set it has the one that is deployed there."""
    target = functions.environment(arguments.env, arguments.dataset or functions.DATASET)
    place = choose(arguments.port, target, arguments.local)
    if place.local and arguments.dataset is None and (stack := place.any_stack()):
        name = cloud.outputs_of(stack)["DatasetName"]
        return replace(place, stack=stack["StackName"], dataset=name)
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
        say(f"error: {error}")
        return 1
    command = arguments.command
    return os.execvpe(command[0], command, place.environment(os.environ))  # does not return


if __name__ == "__main__":
    run(main, cloud.left_running)
