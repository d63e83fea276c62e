"""Clients of services, for the tools and for the project's services in the local cloud."""

from __future__ import annotations

import functools
import os
from typing import Any

import boto3
import botocore.session
from botocore.exceptions import ClientError


def session(region: str, **keys: str) -> boto3.Session:
    """A session with only these keys, whatever profile the shell has chosen."""
    own = botocore.session.Session({"profile": (None, [], None, None)})
    own.set_config_variable("config_file", os.devnull)
    return boto3.Session(botocore_session=own, region_name=region, **keys)


@functools.cache
def client(service: str) -> Any:
    """A client of the cloud that this very process is. The variables of the process name the
    endpoint and the root user."""
    return boto3.client(service)


def stack_of(formation: Any, name: str) -> dict[str, Any] | None:
    """A stack as CloudFormation describes it, or nothing if there is none."""
    try:
        return formation.describe_stacks(StackName=name)["Stacks"][0]
    except ClientError as error:
        if error.response["Error"]["Code"] != "ValidationError":
            raise
        return None
