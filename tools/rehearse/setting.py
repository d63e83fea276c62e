"""A stack's setting to rehearse: an environment of samconfig.toml, and parameters that differ.

Parameters are checked against the template as before a deployment, and the template is resolved
with them, so that the functions get the variables that they would have.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from tools.local.checks import of_parameters
from tools.local.commands import CommandError
from tools.local.functions import environment, render
from tools.local.rendered import Rendered
from tools.local.template import parse

# `Name=value`, with commas or white space between several. Values may have commas.
ASSIGNMENT = re.compile(r"\s*([A-Za-z]+)=(\S*?)(?=,?\s+|,\s*[A-Za-z]+=|,?\s*$),?\s*")
# Resources whose messages a subscriber to the alerts receives.
TOPICS = ("<AlertTopic>", "<AlertFifoTopic>")


@dataclass(frozen=True)
class Setting:
    """An environment with its parameters."""

    name: str
    dataset: str
    parameters: Mapping[str, str]
    template: dict[str, Any]

    @cached_property
    def stack(self) -> Rendered:
        return Rendered(self.template, dict(self.parameters))

    def variables(self, function: str) -> dict[str, str]:
        """The environment variables of a function."""
        properties = self.stack.properties(f"{function}Function")
        return {name: str(value) for name, value in properties["Environment"]["Variables"].items()}

    def mapping(self) -> dict[str, int]:
        """How notify reads stream 2."""
        properties = self.stack.properties("NotifyFunction")
        (event,) = [each["Properties"] for each in properties["Events"].values()]
        return {
            "shards": int(self.variables("Notify")["SHARDS"]),
            "factor": int(event["ParallelizationFactor"]),
            "batch": int(event["BatchSize"]),
            "window_seconds": int(event["MaximumBatchingWindowInSeconds"]),
            "timeout_seconds": int(properties["Timeout"]),
        }

    def departments(self) -> list[dict[str, Any]]:
        """Who is subscribed to the alerts in this environment."""
        found = []
        for name, resource in self.stack.of("AWS::SNS::Subscription").items():
            properties = resource["Properties"]
            if properties["TopicArn"] in TOPICS:
                department = {
                    "name": department_of(name),
                    "protocol": properties["Protocol"],
                }
                if "FilterPolicy" in properties:
                    department["filter"] = properties["FilterPolicy"]
                found.append(department)
        return found

    def request(self) -> dict[str, Any]:
        """The setting as the rehearsal reads it."""
        return {
            "name": self.name,
            "transform": self.variables("Transform"),
            "metrics": self.variables("Metrics"),
            "notify": self.variables("Notify"),
            "mapping": self.mapping(),
            "departments": self.departments(),
        }


def read(dataset: str, env: str, text: str, departments: Path) -> Setting:
    """An environment with the assignments of a text, if nothing is wrong with them."""
    given = assignments(text)
    target = environment(env, dataset)
    parameters = {**target.parameters, **given}
    template = template_with(dataset, departments)
    problems = of_parameters(template, parameters, datetime.now(timezone.utc)).problems
    if problems:
        raise CommandError("; ".join(problems))
    name = " ".join([env, *(f"{name}={value}" for name, value in given.items())])
    return Setting(name, dataset, parameters, template)


def against(dataset: str, env: str, text: str, departments: Path) -> Setting:
    """The setting to compare with: an environment, or assignments, or both in this order."""
    first, _, rest = text.strip().partition(" ")
    if "=" in first:
        return read(dataset, env, text, departments)
    return read(dataset, first, rest, departments)


def assignments(text: str) -> dict[str, str]:
    """The parameters in `NotifySeverityAbove=2 DigestAbove=5`."""
    found, at = {}, 0
    while at < len(text.rstrip()):
        match = ASSIGNMENT.match(text, at)
        if match is None:
            raise CommandError(
                f"expected parameters such as NotifySeverityAbove=2, found {text[at:].strip()!r}"
            )
        found[match[1]] = match[2]
        at = match.end()
    return found


def department_of(resource: str) -> str:
    """The department of a subscription, or the parameter that subscribes an address."""
    if resource.startswith("Department"):
        return resource.removeprefix("Department")
    return resource.removesuffix("Subscription")


@cache
def template_with(dataset: str, departments: Path) -> dict[str, Any]:
    """The template of a data set with the departments of a file, rendered or not."""
    return parse(render("--template", dataset, "--departments", str(departments.resolve())))
