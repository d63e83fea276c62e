"""The departments of `departments.toml`, as subscriptions in `template.yaml`."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

from metrics import REPOSITORY, tomllib

FILE = REPOSITORY / "departments.toml"
PROTOCOLS = ("email", "sms", "https", "sqs", "lambda")
# An address in AWS, with its region and account.
ARN = {
    "sqs": re.compile(r"arn:aws[a-z-]*:sqs:([a-z0-9-]+):([0-9]+):([A-Za-z0-9_-]+(?:\.fifo)?)"),
    "lambda": re.compile(r"arn:aws[a-z-]*:lambda:([a-z0-9-]+):([0-9]+):function:([A-Za-z0-9_:-]+)"),
}
# Filter policies of a topic. Source: Amazon SNS endpoints and quotas.
AT_MOST = 200
# Attributes of a filter policy. Source: Amazon SNS developer guide, "Filter policy constraints".
FILTER_KEYS = 5
# Conditions in an Fn::Or. Source: CloudFormation user guide, "Condition functions".
ENVIRONMENTS = 10
KEYS = {"name", "protocol", "address", "filter", "environments"}


class NotADepartment(ValueError):
    """What is wrong with an entry, and what is expected."""


def read(text: str | None = None) -> list[dict[str, Any]]:
    """The departments of the file, or of its text."""
    try:
        document = tomllib.loads(FILE.read_text(encoding="utf-8") if text is None else text)
    except tomllib.TOMLDecodeError as error:
        raise NotADepartment(f"departments.toml is not TOML: {error}") from None
    if unknown := sorted(document.keys() - {"department"}):
        raise NotADepartment(f"departments.toml has {unknown}; expected [[department]] only")
    departments = document.get("department", [])
    if not isinstance(departments, list) or not all(isinstance(each, dict) for each in departments):
        raise NotADepartment("departments.toml: expected [[department]], in double brackets")
    for department in departments:
        check(department)
    if len(departments) > AT_MOST:
        count = len(departments)
        raise NotADepartment(f"departments.toml has {count} departments; a topic takes {AT_MOST}")
    names = [department["name"] for department in departments]
    for name in names:
        if names.count(name) > 1:
            raise NotADepartment(f"departments.toml: two are called {name}; names differ")
    for one, other in itertools.combinations(departments, 2):
        check_addresses(one, other)
    return departments


def check_addresses(one: dict[str, Any], other: dict[str, Any]) -> None:
    """SNS refuses a second subscription of an address that differs from the first."""
    if (one["protocol"], one["address"]) != (other["protocol"], other["address"]):
        return
    everywhere = "environments" not in one or "environments" not in other
    if everywhere or set(one["environments"]) & set(other["environments"]):
        raise NotADepartment(
            f"departments.toml: {one['name']} and {other['name']} have the same address, which "
            f'SNS takes once; expected one department, with "$or" in its filter, or environments '
            f"that differ"
        )


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
    if protocol in ARN and not ARN[protocol].fullmatch(address):
        example = {"sqs": "arn:aws:sqs:…:queue", "lambda": "arn:aws:lambda:…:function:name"}
        raise NotADepartment(f"{where}: address = {address!r}; expected {example[protocol]}")
    check_environments(where, department)
    check_filter(where, department)


def check_environments(where: str, department: dict[str, Any]) -> None:
    if "environments" not in department:
        return
    environments = department["environments"]
    if not isinstance(environments, list) or not environments:
        expected = 'a list such as ["prod"], or no line for all environments'
        raise NotADepartment(f"{where}: environments = {environments!r}; expected {expected}")
    for each in environments:
        # As the template's parameter Environment has it.
        if not isinstance(each, str) or not re.fullmatch(r"[a-z][a-z0-9]{1,7}", each):
            expected = "a name such as dev, test or prod"
            raise NotADepartment(f"{where}: environments has {each!r}; expected {expected}")
    if len(set(environments)) < len(environments):
        raise NotADepartment(f"{where}: environments = {environments!r}; names differ")
    if len(environments) > ENVIRONMENTS:
        count = len(environments)
        raise NotADepartment(f"{where} has {count} environments; at most {ENVIRONMENTS} work")


def check_filter(where: str, department: dict[str, Any]) -> None:
    if "filter" not in department:
        return
    policy = department["filter"]
    example = '{ county = ["Franklin"] }'
    if not isinstance(policy, dict) or not policy:
        expected = f"a table such as {example}, or no line for every alert"
        raise NotADepartment(f"{where}: filter = {policy!r}; expected {expected}")
    if len(policy) > FILTER_KEYS:
        count = len(policy)
        raise NotADepartment(
            f"{where}: filter has {count} attributes; a policy takes {FILTER_KEYS}"
        )
    for attribute, allowed in policy.items():
        if attribute == "$or" and isinstance(allowed, list):
            continue
        if not isinstance(allowed, list) or not allowed:
            expected = f"a list of values as in {example}"
            raise NotADepartment(
                f"{where}: filter names {attribute} = {allowed!r}; expected {expected}"
            )
        for value in allowed:
            if not isinstance(value, (str, bool, int, float, dict)) or value == {}:
                expected = 'a text, a number or a comparison such as { numeric = [">=", 4] }'
                raise NotADepartment(
                    f"{where}: filter names {attribute} with {value!r}; expected {expected}"
                )


def conditions(departments: list[dict[str, Any]]) -> str:
    """The lines of the template's conditions."""
    lines = []
    for department in departments:
        if "environments" in department:
            lines.append(f"  {condition(department)}: {any_of(department['environments'])}\n")
        if department["protocol"] in ARN:
            region, account, _ = (
                ARN[department["protocol"]].fullmatch(department["address"]).groups()
            )
            # CloudFormation changes what is in the stack's own account and region only.
            terms = [f'!Equals [!Ref AWS::AccountId, "{account}"]']
            terms.append(f'!Equals [!Ref AWS::Region, "{region}"]')
            if "environments" in department:
                terms.append(f"!Condition {condition(department)}")
            lines.append(f"  {own_account(department)}: !And [{', '.join(terms)}]\n")
    return "".join(lines)


def rules(departments: list[dict[str, Any]]) -> str:
    """The lines of the template's rules: which departments either kind of topic reaches."""
    unreached = {
        "true": [each for each in departments if each["protocol"] != "sqs"],
        "false": [each for each in departments if is_fifo(each)],
    }
    reasons = {
        "true": "SNS delivers a FIFO topic's messages to SQS queues only",
        "false": "a FIFO queue takes the messages of a FIFO topic only",
    }
    names = {"true": "FifoReachesDepartments", "false": "DepartmentsAreReachedByTopic"}
    rows = []
    for fifo, them in unreached.items():
        if not them:
            continue
        rows += [
            f"  {names[fifo]}:",
            f'    RuleCondition: !Equals [!Ref FifoAlerts, "{fifo}"]',
            "    Assertions:",
        ]
        for department in them:
            rows += [
                f"      - Assert: {elsewhere(department, fifo)}",
                f"        AssertDescription: FifoAlerts={fifo} cannot be used with the department "
                f"{department['name']}, because {reasons[fifo]}.",
            ]
    return "".join(f"{row}\n" for row in rows)


def is_fifo(department: dict[str, Any]) -> bool:
    return department["protocol"] == "sqs" and department["address"].endswith(".fifo")


def elsewhere(department: dict[str, Any], fifo: str) -> str:
    """What must hold where FifoAlerts is `fifo`: the department is not one of this stack's."""
    if "environments" in department:
        return f"!Not [!Contains [{json.dumps(department['environments'])}, !Ref Environment]]"
    # Where no environment is named, the department is in all of them.
    return f'!Not [!Equals [!Ref FifoAlerts, "{fifo}"]]'


def any_of(environments: list[str]) -> str:
    equal = [f"!Equals [!Ref Environment, {json.dumps(each)}]" for each in environments]
    return equal[0] if len(equal) == 1 else f"!Or [{', '.join(equal)}]"


def condition(department: dict[str, Any]) -> str:
    return f"Tells{department['name']}"


def own_account(department: dict[str, Any]) -> str:
    """The condition under which a queue or function is in the stack's account and region."""
    return f"Owns{department['name']}"


def render(departments: list[dict[str, Any]]) -> str:
    """The lines of the template's resources."""
    return "\n".join(map(block, departments))


TOPIC = "!If [IsFifo, !Ref AlertFifoTopic, !Ref AlertTopic]"
UNDELIVERED = "!If [IsFifo, !GetAtt UndeliveredFifoAlerts.Arn, !GetAtt UndeliveredAlerts.Arn]"


def block(department: dict[str, Any]) -> str:
    rows = [f"  Department{department['name']}:", "    Type: AWS::SNS::Subscription"]
    if "environments" in department:
        rows.append(f"    Condition: {condition(department)}")
    rows += [
        "    Properties:",
        f"      TopicArn: {TOPIC}",
        f"      Protocol: {department['protocol']}",
        f"      Endpoint: {json.dumps(department['address'])}",
        f"      RedrivePolicy: {{deadLetterTargetArn: {UNDELIVERED}}}",
    ]
    if department.get("filter"):
        # YAML reads JSON.
        policy = json.dumps(department["filter"], ensure_ascii=False)
        rows += ["      FilterPolicyScope: MessageAttributes", f"      FilterPolicy: {policy}"]
    rows += admission(department)
    return "\n".join(rows) + "\n"


def admission(department: dict[str, Any]) -> list[str]:
    """What lets the topic reach a queue or function of the stack's account.

    Without it SNS drops every message.
    """
    protocol, name, address = department["protocol"], department["name"], department["address"]
    if protocol == "sqs":
        region, owner, queue = ARN[protocol].fullmatch(address).groups()
        return [
            "",
            f"  Department{name}Policy:",
            "    Type: AWS::SQS::QueuePolicy",
            f"    Condition: {own_account(department)}",
            "    Properties:",
            f'      Queues: [!Sub "https://sqs.{region}.${{AWS::URLSuffix}}/{owner}/{queue}"]',
            "      PolicyDocument:",
            '        Version: "2012-10-17"',
            "        Statement:",
            "          - Sid: AlertsArrive",
            "            Effect: Allow",
            "            Principal: {Service: sns.amazonaws.com}",
            "            Action: sqs:SendMessage",
            f"            Resource: {address}",
            f"            Condition: {{ArnEquals: {{aws:SourceArn: {TOPIC}}}}}",
            "          - Sid: RefusePlainHttp",
            "            Effect: Deny",
            '            Principal: "*"',
            "            Action: sqs:*",
            f"            Resource: {address}",
            '            Condition: {Bool: {aws:SecureTransport: "false"}}',
        ]
    if protocol == "lambda":
        return [
            "",
            f"  Department{name}Permission:",
            "    Type: AWS::Lambda::Permission",
            f"    Condition: {own_account(department)}",
            "    Properties:",
            f"      FunctionName: {address}",
            "      Action: lambda:InvokeFunction",
            "      Principal: sns.amazonaws.com",
            f"      SourceArn: {TOPIC}",
        ]
    return []
