"""The subscriptions of departments, and of the topic itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.template.rendered import Rendered, defaults, listed, rendered
from tests.template.watched import STACK
from tools.local import checks
from tools.local.functions import DATASET, render
from tools.local.template import parse

ARCHIVE = {"name": "Archive", "protocol": "sqs", "address": "arn:aws:sqs:eu-west-1:1:archive"}
FRANKLIN = {
    "name": "Franklin",
    "protocol": "email",
    "address": "dispatch@example.com",
    "filter": {"county": ["Franklin", "Doña Ana"], "severity": [{"numeric": [">=", 4]}]},
    "environments": ["prod", "test"],
}


def with_departments(folder: Path, *departments: dict[str, Any]) -> dict[str, Any]:
    """The template with these departments instead of the project's."""
    entries = [
        "[[department]]\n" + "".join(f"{key} = {toml(value)}\n" for key, value in each.items())
        for each in departments
    ]
    file = folder / "departments.toml"
    file.write_text("".join(entries), encoding="utf-8")
    return parse(render("--template", DATASET, "--departments", str(file)))


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return f"{{{', '.join(f'{json.dumps(key)} = {toml(of)}' for key, of in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    return json.dumps(value, ensure_ascii=False)


@pytest.mark.parametrize("fifo", ["false", "true"])
def test_every_subscription_keeps_undelivered_messages(fifo: str, tmp_path: Path) -> None:
    template = with_departments(tmp_path, ARCHIVE)
    given = {"AlertEmail": "a@example.com", "AlarmEmail": "b@example.com", "FifoAlerts": fifo}
    stack = Rendered(template, given)
    subscriptions = stack.of("AWS::SNS::Subscription")
    assert len(subscriptions) == 3
    for subscription in subscriptions.values():
        properties = subscription["Properties"]
        of_fifo = properties["TopicArn"] == "<AlertFifoTopic>"
        name = "UndeliveredFifoAlerts" if of_fifo else "UndeliveredAlerts"
        assert properties["RedrivePolicy"] == {"deadLetterTargetArn": f"<{name}.Arn>"}
        assert stack.properties(name).get("FifoQueue", False) == of_fifo
        senders = [
            topic
            for statement in stack.properties(f"{name}Policy")["PolicyDocument"]["Statement"]
            if statement["Effect"] == "Allow"
            for topic in listed(statement["Condition"]["ArnEquals"]["aws:SourceArn"])
        ]
        assert properties["TopicArn"] in senders


def test_a_queue_and_a_function_let_the_topic_in(tmp_path: Path) -> None:
    queue = {**ARCHIVE, "address": "arn:aws:sqs:eu-west-1:000000000000:q"}
    function = {
        "name": "Router",
        "protocol": "lambda",
        "address": "arn:aws:lambda:eu-west-1:000000000000:function:router",
        "environments": ["prod"],
    }
    template = with_departments(tmp_path, queue, function)
    stack = Rendered(template, {"Environment": "prod"})
    policy = stack.properties("DepartmentArchivePolicy")
    assert policy["Queues"] == ["https://sqs.eu-west-1.amazonaws.com/000000000000/q"]
    statement, refusal = policy["PolicyDocument"]["Statement"]
    assert statement["Action"] == "sqs:SendMessage"
    assert statement["Condition"] == {"ArnEquals": {"aws:SourceArn": "<AlertTopic>"}}
    assert (refusal["Effect"], refusal["Action"]) == ("Deny", "sqs:*")
    assert refusal["Resource"] == statement["Resource"]
    assert refusal["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    permission = stack.properties("DepartmentRouterPermission")
    assert permission["Principal"] == "sns.amazonaws.com"
    assert permission["SourceArn"] == "<AlertTopic>"
    assert "DepartmentRouterPermission" not in Rendered(template, {}).resources
    for address in ("eu-west-1:111111111111:q", "eu-west-2:000000000000:q"):
        elsewhere = {**queue, "address": f"arn:aws:sqs:{address}"}
        template = with_departments(tmp_path, elsewhere)
        assert "DepartmentArchivePolicy" not in Rendered(template, {}).resources


def test_an_alert_address_of_a_department_is_found(tmp_path: Path) -> None:
    template = with_departments(tmp_path, {**FRANKLIN, "environments": ["prod"]})
    given = defaults(template) | {"AlertEmail": FRANKLIN["address"]}
    assert list(checks.shared_addresses(template, given)) == []
    (problem,) = checks.shared_addresses(template, given | {"Environment": "prod"})
    assert "the address of the department Franklin" in problem


def test_a_fifo_topic_with_unreachable_departments_is_refused(tmp_path: Path) -> None:
    template = with_departments(tmp_path, FRANKLIN, ARCHIVE)
    rule = template["Rules"]["FifoReachesDepartments"]
    assert rule["RuleCondition"] == {"Fn::Equals": [{"Ref": "FifoAlerts"}, "true"]}
    (assertion,) = rule["Assertions"]
    contains = {"Fn::Contains": [FRANKLIN["environments"], {"Ref": "Environment"}]}
    assert assertion["Assert"] == {"Fn::Not": [contains]}
    assert "Franklin" in assertion["AssertDescription"]
    assert "FifoReachesDepartments" not in with_departments(tmp_path, ARCHIVE)["Rules"]


def test_unreachable_departments_are_refused_before_a_deployment(tmp_path: Path) -> None:
    fifo = {**ARCHIVE, "name": "Ordered", "address": f"{ARCHIVE['address']}.fifo"}
    mail = {**FRANKLIN, "environments": ["prod"]}
    for them, given, refused in [
        ([ARCHIVE, fifo], {"FifoAlerts": "true"}, []),
        ([ARCHIVE, fifo], {}, ["Ordered"]),
        ([{**fifo, "environments": ["prod"]}], {}, []),
        ([ARCHIVE, mail], {"FifoAlerts": "true"}, []),
        ([ARCHIVE, mail], {"FifoAlerts": "true", "Environment": "prod"}, ["Franklin"]),
        ([{**mail, "name": "All", "environments": ["dev"]}], {"FifoAlerts": "true"}, ["All"]),
        ([{k: v for k, v in mail.items() if k != "environments"}], {}, []),
    ]:
        template = with_departments(tmp_path, *them)
        found = list(checks.broken_rules(template["Rules"], defaults(template) | given))
        assert len(found) == len(refused), found
        assert all(name in text for name, text in zip(refused, found)), found


def test_each_department_is_subscribed_with_its_filter(tmp_path: Path) -> None:
    template = with_departments(tmp_path, FRANKLIN, ARCHIVE)
    subscribed: dict[str, Any] = {}
    for environment in ("dev", "test", "prod"):
        stack = Rendered(template, {"Environment": environment})
        subscribed[environment] = {
            name: resource["Properties"]
            for name, resource in stack.of("AWS::SNS::Subscription").items()
        }
    archive = {
        "TopicArn": "<AlertTopic>",
        "Protocol": "sqs",
        "Endpoint": ARCHIVE["address"],
        "RedrivePolicy": {"deadLetterTargetArn": "<UndeliveredAlerts.Arn>"},
    }
    franklin = {
        "TopicArn": "<AlertTopic>",
        "Protocol": "email",
        "Endpoint": FRANKLIN["address"],
        "RedrivePolicy": {"deadLetterTargetArn": "<UndeliveredAlerts.Arn>"},
        "FilterPolicyScope": "MessageAttributes",
        "FilterPolicy": FRANKLIN["filter"],
    }
    both = {"DepartmentArchive": archive, "DepartmentFranklin": franklin}
    assert subscribed == {"dev": {"DepartmentArchive": archive}, "test": both, "prod": both}


def test_a_chat_department_subscribes_the_chat_integration(tmp_path: Path) -> None:
    """Amazon Q Developer reads the envelope of SNS, so that the delivery is not raw."""
    chat = {"name": "ControlRoom", "protocol": "chat", "filter": FRANKLIN["filter"]}
    hook = {"name": "Hook", "protocol": "https", "address": "https://hook.example.com"}
    template = with_departments(tmp_path, chat, hook)
    subscriptions = Rendered(template, {}).of("AWS::SNS::Subscription")
    common = {
        "TopicArn": "<AlertTopic>",
        "Protocol": "https",
        "RedrivePolicy": {"deadLetterTargetArn": "<UndeliveredAlerts.Arn>"},
    }
    assert subscriptions["DepartmentControlRoom"]["Properties"] == {
        **common,
        "Endpoint": "https://global.sns-api.chatbot.amazonaws.com",
        "FilterPolicyScope": "MessageAttributes",
        "FilterPolicy": FRANKLIN["filter"],
    }
    assert subscriptions["DepartmentHook"]["Properties"] == {**common, "Endpoint": hook["address"]}
    (refused,) = checks.broken_rules(
        with_departments(tmp_path, chat)["Rules"], defaults(template) | {"FifoAlerts": "true"}
    )
    assert "ControlRoom" in refused


def test_alerts_go_to_a_fifo_topic_if_requested() -> None:
    fifo = rendered({"FifoAlerts": "true"})
    topic = fifo.properties("AlertFifoTopic")
    assert topic["TopicName"] == "us-accidents-alerts-dev.fifo"
    assert topic["FifoTopic"] is True
    for stack, name in ((STACK, "<AlertTopic>"), (fifo, "<AlertFifoTopic>")):
        variables = stack.properties("NotifyFunction")["Environment"]["Variables"]
        assert variables["TOPIC_ARN"] == name
        (policy,) = stack.properties("NotifyRole")["Policies"]
        (publish,) = [
            statement
            for statement in policy["PolicyDocument"]["Statement"]
            if statement["Sid"] == "PublishAlerts"
        ]
        assert publish["Resource"] == name
        # CloudWatch cannot publish to a FIFO topic.
        alarm = stack.properties("SevereEventAlarm")
        assert alarm["AlarmActions"] == ["<AlarmTopic>"]
