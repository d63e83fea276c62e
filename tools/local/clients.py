"""Clients of the cloud that this very process is, for the project's services in it."""

from __future__ import annotations

import functools
from typing import Any

import boto3


@functools.cache
def client(service: str) -> Any:
    """A client of a service. The variables of the process name the endpoint and the root user."""
    return boto3.client(service)
