"""Which cloud a command goes to: the one that `make deploy` goes to, unless the local one is meant.

    python -m tools.local.where --env dev -- target/debug/replay rows.csv

runs the command with the variables that lead it there, and says where that is.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

import boto3
from botocore.exceptions import BotoCoreError

from tools.local import cloud, functions
from tools.local.commands import CommandError, say


@dataclass(frozen=True)
class Place:
    """A cloud and the stack in it."""

    name: str  # for people
    region: str
    stack: str
    local: bool = False
    # Set for whatever goes there; the credentials of an account stay where the SDK finds them.
    variables: dict[str, str] = field(default_factory=dict)

    def client(self, service: str) -> Any:
        endpoint = self.variables.get("AWS_ENDPOINT_URL")
        keys = {
            "aws_access_key_id": self.variables.get("AWS_ACCESS_KEY_ID"),
            "aws_secret_access_key": self.variables.get("AWS_SECRET_ACCESS_KEY"),
        }
        given = {name: value for name, value in keys.items() if value}
        return boto3.client(service, region_name=self.region, endpoint_url=endpoint, **given)

    def __str__(self) -> str:
        return f"{self.name}, stack {self.stack} in {self.region}"


def choose(
    port: int,
    target: functions.Environment,
    local: bool = False,
    environment: Mapping[str, str] = os.environ,
) -> Place:
    """The place that is meant: the local cloud if it is asked for or nothing else is configured."""
    if endpoint := environment.get("AWS_ENDPOINT_URL"):
        region = environment.get("AWS_REGION", target.region)
        if not local:
            return Place(f"AWS_ENDPOINT_URL {endpoint}", region, target.stack)
    elif not local and configured():
        region = {"AWS_REGION": target.region, "AWS_DEFAULT_REGION": target.region}
        return Place("AWS", target.region, target.stack, variables=region)
    if cloud.running(port) is None:
        why = "" if local else "no AWS credentials are configured, and "
        raise cloud.CloudError(
            f"{why}there is no local cloud on port {port}; `make up PORT={port}` starts one"
        )
    found = cloud.connect(port)
    name = f"the local cloud on port {port}"
    return Place(name, found.region, found.stack, True, found.credentials)


def configured() -> bool:
    """Whether the SDK finds credentials in any way it knows: variables, a profile, SSO, a process,
    a container or an instance."""
    return boto3.Session().get_credentials() is not None


def main() -> NoReturn:
    parser = argparse.ArgumentParser(description="run a command against the cloud that is meant")
    parser.add_argument("--env", default="dev", help="an environment of samconfig.toml")
    parser.add_argument("--dataset", default=functions.DATASET, help="a file of datasets/")
    parser.add_argument("--port", type=int, default=cloud.PORT, help="of the local cloud")
    parser.add_argument("--local", action="store_true", help="the local cloud is meant")
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args()
    try:
        target = functions.environment(arguments.env, arguments.dataset)
        place = choose(arguments.port, target, arguments.local)
    except (CommandError, cloud.CloudError, BotoCoreError) as error:
        say(f"error: {error}")
        sys.exit(1)
    say(f"goes to {place}")
    os.execvpe(arguments.command[0], arguments.command, {**os.environ, **place.variables})


if __name__ == "__main__":
    main()
