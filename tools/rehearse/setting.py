"""A stack's setting to rehearse: an environment of samconfig.toml, and parameters that differ.

Parameters are checked against the template as before a deployment, and the template is resolved
with them, so that the functions get the variables that they would have.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from tools.local.checks import of_parameters, thresholds
from tools.local.commands import CommandError
from tools.local.functions import DATASETS, environment, render
from tools.local.rendered import Rendered
from tools.local.template import parse

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# `Name=value`, with commas or white space between several. Values may have commas.
ASSIGNMENT = re.compile(r"\s*([A-Za-z]+)=(\S*?)(?=,?\s+|,\s*[A-Za-z]+=|,?\s*$),?\s*")
# Where SNS reaches the channels of a chat, as tools/render writes it for `protocol = "chat"`.
CHAT = "https://global.sns-api.chatbot.amazonaws.com"
# Resources whose messages a subscriber to the alerts receives.
TOPICS = ("<AlertTopic>", "<AlertFifoTopic>")


@dataclass(frozen=True)
class Setting:
    """An environment with its parameters."""

    name: str
    dataset: str
    parameters: Mapping[str, str]
    template: dict[str, Any]
    areas: Sequence[str] = ()  # each with a subscriber of its own

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
                is_chat = properties["Endpoint"] == CHAT
                department = {
                    "name": department_of(name),
                    "protocol": "chat" if is_chat else properties["Protocol"],
                }
                if "FilterPolicy" in properties:
                    department["filter"] = properties["FilterPolicy"]
                found.append(department)
        return [*self.of_areas(), *found]

    def of_areas(self) -> list[dict[str, Any]]:
        """A subscriber to the alerts of each area that is asked for."""
        if not self.areas:
            return []
        name = area_attribute(self.dataset)
        return [
            {"name": area_name(area), "protocol": "email", "filter": {name: [area]}}
            for area in self.areas
        ]

    def values(self) -> dict[str, str]:
        """All parameters."""
        described = self.template["Parameters"]
        defaults = {name: str(each.get("Default", "")) for name, each in described.items()}
        return {**defaults, **self.parameters}

    def notes(self) -> list[str]:
        """What its thresholds do not do."""
        return list(thresholds(self.template["Mappings"]["Severities"], self.values()))

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


def read(
    dataset: str, env: str, text: str, departments: Path, areas: Sequence[str] = ()
) -> Setting:
    """An environment with the assignments of a text, if nothing is wrong with them."""
    given = assignments(text)
    target = environment(env, dataset)
    parameters = {**target.parameters, **given}
    template = template_with(dataset, departments)
    problems = of_parameters(template, parameters, datetime.now(timezone.utc)).problems
    if problems:
        raise CommandError("; ".join(problems))
    name = " ".join([env, *(f"{name}={value}" for name, value in given.items())])
    return Setting(name, dataset, parameters, template, areas)


def against(
    dataset: str, env: str, text: str, departments: Path, areas: Sequence[str] = ()
) -> Setting:
    """The setting to compare with: an environment, or assignments, or both in this order."""
    first, _, rest = text.strip().partition(" ")
    if "=" in first:
        return read(dataset, env, text, departments, areas)
    return read(dataset, first, rest, departments, areas)


def assignments(text: str) -> dict[str, str]:
    """The parameters in `NotifySeverityAbove=2 DigestAbove=5`."""
    found, at = {}, 0
    while at < len(text.rstrip()):
        match = ASSIGNMENT.match(text, at)
        if match is None:
            raise CommandError(
                f"expected parameters such as NotifySeverityAbove=2, found {text[at:].strip()!r}"
            )
        name, value = match[1], match[2]
        if name in found:
            raise CommandError(f"{name} is given twice, as {found[name]} and {value}; expected one")
        found[name] = value
        at = match.end()
    return found


def department_of(resource: str) -> str:
    """The department of a subscription, or the parameter that subscribes an address."""
    if resource.startswith("Department"):
        return resource.removeprefix("Department")
    return resource.removesuffix("Subscription")


def area_name(area: str) -> str:
    """The subscriber to the alerts of an area."""
    return f"{area} (AREA)"


@cache
def area_attribute(dataset: str) -> str:
    """The attribute of an alert with the area of its events."""
    path = DATASETS / dataset / "dataset.toml"
    described = tomllib.loads(path.read_text(encoding="utf-8"))
    column = described["severe_partition_key"]
    for name, of in described["alert"].get("attributes", {}).items():
        if of == column:
            return name
    raise CommandError(f"the alerts of {dataset} have no attribute with `{column}` for AREA")


@cache
def template_with(dataset: str, departments: Path) -> dict[str, Any]:
    """The template of a data set with the departments of a file, rendered or not."""
    return parse(render("--template", dataset, "--departments", str(departments.resolve())))
