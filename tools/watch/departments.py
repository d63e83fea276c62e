"""The departments of `departments.toml`, as subscriptions in `template.yaml`."""

from __future__ import annotations

import json
import re
from typing import Any

from metrics import REPOSITORY, tomllib

FILE = REPOSITORY / "departments.toml"
PROTOCOLS = ("email", "sms", "https", "sqs", "lambda")
KEYS = {"name", "protocol", "address", "filter", "environments"}


class NotADepartment(ValueError):
    """What is wrong with an entry, and what would be right."""


def read() -> list[dict[str, Any]]:
    document = tomllib.loads(FILE.read_text(encoding="utf-8"))
    departments = document.get("department", [])
    for department in departments:
        check(department)
    names = [department["name"] for department in departments]
    for name in names:
        if names.count(name) > 1:
            raise NotADepartment(f"departments.toml: two are called {name}; names differ")
    return departments


def check(department: dict[str, Any]) -> None:
    """Raises unless an entry is whole."""
    name = department.get("name")
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9]{0,63}", name):
        right = "letters and digits are right"
        raise NotADepartment(f"departments.toml: name = {name!r}, where {right}")
    where = f"departments.toml: {name}"
    if unknown := department.keys() - KEYS:
        raise NotADepartment(f"{where} has {sorted(unknown)}; there are {sorted(KEYS)}")
    if (protocol := department.get("protocol")) not in PROTOCOLS:
        known = ", ".join(PROTOCOLS)
        raise NotADepartment(f"{where}: protocol = {protocol!r}; it is one of {known}")
    address = department.get("address")
    if not isinstance(address, str) or not address.strip():
        raise NotADepartment(f"{where} has no address")


def conditions(departments: list[dict[str, Any]]) -> str:
    """The lines of the template's conditions."""
    return "".join(
        f"  {condition(department)}: {any_of(department['environments'])}\n"
        for department in departments
        if "environments" in department
    )


def any_of(environments: list[str]) -> str:
    equal = [f"!Equals [!Ref Environment, {json.dumps(each)}]" for each in environments]
    return equal[0] if len(equal) == 1 else f"!Or [{', '.join(equal)}]"


def condition(department: dict[str, Any]) -> str:
    return f"Tells{department['name']}"


def render(departments: list[dict[str, Any]]) -> str:
    """The lines of the template's resources."""
    return "\n".join(map(block, departments))


def block(department: dict[str, Any]) -> str:
    rows = [f"  Department{department['name']}:", "    Type: AWS::SNS::Subscription"]
    if "environments" in department:
        rows.append(f"    Condition: {condition(department)}")
    rows += [
        "    Properties:",
        "      TopicArn: !If [IsFifo, !Ref AlertFifoTopic, !Ref AlertTopic]",
        f"      Protocol: {department['protocol']}",
        f"      Endpoint: {json.dumps(department['address'])}",
    ]
    if department.get("filter"):
        # YAML reads JSON.
        policy = json.dumps(department["filter"], ensure_ascii=False)
        rows += ["      FilterPolicyScope: MessageAttributes", f"      FilterPolicy: {policy}"]
    return "\n".join(rows) + "\n"
