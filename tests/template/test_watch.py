"""Alarms and dashboards name only metrics that are emitted, and match the generated files."""

from __future__ import annotations

import copy
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.template.rendered import KEY, Metric, Rendered, emitted, rendered
from tools.local import checks
from tools.local.commands import REPOSITORY
from tools.local.functions import DATASET, DATASETS, TEMPLATE, load, render
from tools.local.stack import Dataset
from tools.local.template import parse

EVENTS = Dataset.load(DATASET)
GRAFANA = json.loads((DATASETS / DATASET / "grafana.json").read_text(encoding="utf-8"))
STACK = rendered()
WITH_KEY = rendered({"EncryptionKeyArn": KEY})
ALARMS = {
    name.removesuffix("Alarm"): resource["Properties"]
    for name, resource in WITH_KEY.of("AWS::CloudWatch::Alarm").items()
}
COMPOSITE = STACK.properties("PipelineUnhealthyAlarm")
CLOUDWATCH = json.loads(STACK.properties("Dashboard")["DashboardBody"])


def read_by(alarm: dict[str, Any]) -> list[dict[str, Any]]:
    """The metrics that an alarm reads."""
    several = [each["MetricStat"]["Metric"] for each in alarm.get("Metrics", [])[1:]]
    return several or [alarm]


def of_alarms() -> Iterator[tuple[str, Metric]]:
    for name, alarm in ALARMS.items():
        for metric in read_by(alarm):
            dimensions = frozenset(each["Name"] for each in metric["Dimensions"])
            yield f"alarm {name}", (metric["Namespace"], metric["MetricName"], dimensions)


def of_cloudwatch(body: dict[str, Any]) -> Iterator[tuple[str, Metric]]:
    for widget in body["widgets"]:
        title = f"CloudWatch, {widget['properties'].get('title')}"
        for metric in widget["properties"].get("metrics", []):
            if isinstance(metric[0], dict):
                expression = metric[0]["expression"]
                schema, terms = re.fullmatch(
                    r"SEARCH\('\{(.+?)\} (.+)', '\w+', 60\)", expression
                ).groups()
                namespace, *dimensions = schema.split(",")
                yield (
                    title,
                    (namespace, re.search(r'MetricName="(.+?)"', terms)[1], frozenset(dimensions)),
                )
                # A dimension with a value must be in the schema.
                given = frozenset(re.findall(r'"(\w+)"="', terms))
                assert given <= set(dimensions), expression
            else:
                namespace, name, *rest = metric[:-1]
                yield title, (namespace, name, frozenset(rest[::2]))


def of_grafana(dashboard: dict[str, Any]) -> Iterator[tuple[str, Metric]]:
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            metric = target["namespace"], target["metricName"], frozenset(target["dimensions"])
            yield f"Grafana, {panel['title']}", metric
    for variable in dashboard["templating"]["list"]:
        query = variable["query"]
        if isinstance(query, dict) and "metricName" in query:
            sets = [
                each for *metric, each in emitted() if metric == [EVENTS.namespace, EVENTS.metric]
            ]
            assert any(query["dimensionKey"] in each for each in sets), query
            assert query["metricName"] == EVENTS.metric
            assert query["namespace"] == EVENTS.namespace


def named() -> list[tuple[str, Metric]]:
    return [*of_alarms(), *of_cloudwatch(CLOUDWATCH), *of_grafana(GRAFANA)]


def unknown(named: list[tuple[str, Metric]]) -> list[tuple[str, Metric]]:
    return [(where, metric) for where, metric in named if metric not in emitted()]


def test_alarms_and_dashboards_name_only_what_is_emitted() -> None:
    places = named()
    assert len(places) > 100
    assert unknown(places) == []


@pytest.mark.parametrize(
    ("namespace", "name", "dimensions"),
    [
        ("perishable", "Unaccounted", {"Dataset", "Environment"}),
        ("perishable", "Unacounted", {"Dataset", "Environment", "Function"}),
        ("perishables", "Unaccounted", {"Dataset", "Environment", "Function"}),
        ("accidents_reports_namespace", "us_accidents_severity_high", {"city_accident"}),
    ],
)
def test_a_name_without_an_emitter_is_found(
    namespace: str, name: str, dimensions: set[str]
) -> None:
    place = ("somewhere", (namespace, name, frozenset(dimensions)))
    assert unknown([place]) == [place]


def test_every_metric_of_the_project_itself_is_watched() -> None:
    watched = {(metric[0], metric[1]) for _, metric in named()}
    own = {metric[:2] for metric in emitted() if not metric[0].startswith("AWS/")}
    assert own <= watched


def test_both_dashboards_show_the_same_metrics() -> None:
    titles = [panel["title"] for panel in GRAFANA["panels"] if panel["type"] != "row"]
    widgets = CLOUDWATCH["widgets"]
    assert [w["properties"]["title"] for w in widgets if w["type"] == "metric"] == titles
    of_both = [
        {where.partition(", ")[2]: metric for where, metric in each}
        for each in (of_cloudwatch(CLOUDWATCH), of_grafana(GRAFANA))
    ]
    assert of_both[0] == of_both[1]


def test_panels_fill_the_grid_without_overlapping() -> None:
    widgets = CLOUDWATCH["widgets"]
    cells = [(w["x"], w["y"], w["width"], w["height"]) for w in widgets]
    grid = [tuple(panel["gridPos"][side] for side in "xywh") for panel in GRAFANA["panels"]]
    for boxes in (cells, grid):
        taken = [
            (x, y)
            for left, top, w, h in boxes
            for x in range(left, left + w)
            for y in range(top, top + h)
        ]
        assert len(taken) == len(set(taken))
        assert max(x for x, _ in taken) < 24


def test_the_grafana_file_is_of_grafanas_published_schema() -> None:
    if sys.version_info < (3, 11):
        pytest.skip(
            "Grafana's foundation SDK needs Python 3.11; the file is validated where it is there"
        )
    assert lost(GRAFANA, held(GRAFANA)) == []
    for spoil in (
        lambda broken: broken.update(panel=[]),
        lambda broken: broken["panels"][1].update(grid_pos={}),
        lambda broken: broken["panels"][1]["targets"][0].update(metric="x"),
        lambda broken: broken["panels"][1]["fieldConfig"]["defaults"]["custom"].update(fill=1),
        lambda broken: broken["templating"]["list"][1].update(datasources="x"),
    ):
        broken = copy.deepcopy(GRAFANA)
        spoil(broken)
        assert lost(broken, held(broken)), "a field that Grafana does not know goes unnoticed"


def held(dashboard: dict[str, Any]) -> dict[str, Any]:
    """The dashboard in Grafana's own types, without fields that they do not have."""
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.cog.plugins import register_default_plugins
    from grafana_foundation_sdk.models.dashboard import Dashboard

    register_default_plugins()
    return json.loads(json.dumps(Dashboard.from_json(copy.deepcopy(dashboard)), cls=JSONEncoder))


def lost(given: Any, kept: Any, place: str = "") -> list[str]:
    """The paths at which a given value was changed or dropped."""
    if isinstance(given, dict) and isinstance(kept, dict):
        return [
            where
            for name, value in given.items()
            for where in (
                lost(value, kept[name], f"{place}/{name}") if name in kept else [f"{place}/{name}"]
            )
        ]
    if isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        return [
            where
            for number, (one, other) in enumerate(zip(given, kept))
            for where in lost(one, other, f"{place}/{number}")
        ]
    return [] if given == kept else [place]


RUNBOOK = "docs/RUNBOOK.md"


def test_every_alarm_says_what_it_means_and_what_to_do() -> None:
    runbook = (REPOSITORY / RUNBOOK).read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.+)$", runbook, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}
    for name, alarm in {**ALARMS, "PipelineUnhealthy": COMPOSITE}.items():
        description = alarm["AlarmDescription"]
        assert len(description) <= 1024, name
        assert description.count(". ") >= 2, f"{name} must say what it means and what to do"
        anchor = re.search(rf"{re.escape(RUNBOOK)}#([a-z-]+)$", description)
        assert anchor is not None, f"{name}: {description}"
        assert anchor[1] in anchors, f"{name}: {description}"


def test_one_alarm_is_over_all_that_watch_the_pipeline() -> None:
    over = set(re.findall(r'ALARM\("<(\w+)Alarm>"\)', COMPOSITE["AlarmRule"]))
    notify = {name for name, alarm in ALARMS.items() if "AlarmActions" in alarm}
    assert notify == {"SevereEvent", "SevereEventRate", "UnlistedSeverity"}
    assert over == set(ALARMS) - notify - {"DeliveryKey"}
    assert COMPOSITE["AlarmActions"] == ["<AlarmTopic>"]
    with_key = WITH_KEY.properties("PipelineUnhealthyAlarm")["AlarmRule"]
    assert with_key.endswith(' OR ALARM("<DeliveryKeyAlarm>")')
    assert "DeliveryKeyAlarm" not in STACK.resources


def test_alarms_are_few_and_within_the_limit_of_metrics() -> None:
    assert len(ALARMS) + 1 <= 29
    # Source: CloudWatch user guide, "Create a CloudWatch alarm based on a metric math expression".
    assert all(len(read_by(alarm)) <= 10 for alarm in ALARMS.values())


def test_an_alarm_over_several_metrics_compares_one_value() -> None:
    for name, alarm in ALARMS.items():
        if "Metrics" not in alarm:
            continue
        total, *read = alarm["Metrics"]
        share = "IF(FILL(m0, 0) < 10, 0, 100 * m0 / m1)"
        assert total["Expression"] in ("SUM(METRICS())", "MIN(METRICS())", share), name
        assert len({each["Id"] for each in alarm["Metrics"]}) == len(alarm["Metrics"])
        assert all(each["ReturnData"] is False for each in read), name
        assert len({each["MetricStat"]["Period"] for each in read}) == 1
        assert not {"MetricName", "Namespace", "Dimensions", "Statistic"} & set(alarm)


def test_the_share_of_unreadable_rows_is_of_all_rows_that_came_in() -> None:
    _share, *read = ALARMS["UnreadableCells"]["Metrics"]
    assert [(each["Id"], each["MetricStat"]["Metric"]["MetricName"]) for each in read] == [
        ("m0", "UnreadableRows"),
        ("m1", "In"),
    ]


def test_marks_of_a_redrive_raise_no_alarm() -> None:
    (watched,) = STACK.properties("FailuresBucket")["MetricsConfigurations"]
    assert watched == {"Id": "Failures", "Prefix": "aws/lambda/"}
    for function in ("Transform", "Metrics", "Notify"):
        for event in STACK.properties(f"{function}Function")["Events"].values():
            assert event["Properties"]["MetricsConfig"] == {"Metrics": ["EventCount"]}


# Lambda's metrics of discarded records, and the mappings of every stack.
GIVEN_UP = ("OnFailureDestinationDeliveredEventCount", "DroppedEventCount")
MAPPINGS = (
    "TransformFunctionRawStream",
    "MetricsFunctionSevereStream",
    "NotifyFunctionSevereStream",
)


def test_records_that_a_replay_discards_raise_the_alarm() -> None:
    replays = rendered({"ReplayFrom": "1795900000"})
    assert replays.properties("ReplayMapping")["MetricsConfig"] == {"Metrics": ["EventCount"]}
    watched = {
        metric["MetricName"]
        for metric in read_by(replays.properties("FailuresAlarm"))
        if metric["Dimensions"][0]["Value"] == "<ReplayMapping>"
    }
    assert watched == set(GIVEN_UP)


@pytest.mark.parametrize("fifo", ["false", "true"])
def test_every_dead_letter_queue_is_watched(fifo: str) -> None:
    stack = rendered({"FifoAlerts": fifo})
    watched = {
        each["Value"]
        for alarm in stack.of("AWS::CloudWatch::Alarm").values()
        for metric in read_by(alarm["Properties"])
        for each in metric["Dimensions"]
        if each["Name"] == "QueueName"
    }
    queues = stack.of("AWS::SQS::Queue").values()
    assert watched == {each["Properties"]["QueueName"] for each in queues}


def test_a_severity_of_any_value_raises_an_alarm_about_events() -> None:
    """The highest by its name; metrics counts severities that are not listed as `other`."""
    severity = load(TEMPLATE)["Mappings"]["Dataset"]["Severity"]
    watched = {
        alarm["Dimensions"][0]["Value"]
        for alarm in ALARMS.values()
        if alarm.get("MetricName") == EVENTS.metric
    }
    assert watched == {severity["Highest"], "other"}


def test_alarms_and_alerts_have_separate_readers() -> None:
    for address, expected in [
        ({}, None),
        ({"AlertEmail": "a@example.com"}, "a@example.com"),
        ({"AlarmEmail": "b@example.com"}, "b@example.com"),
        ({"AlertEmail": "a@example.com", "AlarmEmail": "b@example.com"}, "b@example.com"),
    ]:
        stack = rendered(address)
        subscription = stack.resources.get("AlarmEmailSubscription", {"Properties": {}})
        assert subscription["Properties"].get("Endpoint") == expected
        actions = [
            topic
            for alarm in stack.of(
                "AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm"
            ).values()
            for topic in alarm["Properties"].get("AlarmActions", [])
        ]
        assert set(actions) == {"<AlarmTopic>"}
        (statement,) = stack.properties("AlertTopicPolicy")["PolicyDocument"]["Statement"]
        assert statement["Effect"] == "Deny", "only notify's role publishes alerts"


@pytest.mark.parametrize("fifo", ["false", "true"])
def test_every_subscription_keeps_undelivered_messages(fifo: str, tmp_path: Path) -> None:
    queue = {"name": "Archive", "protocol": "sqs", "address": "arn:aws:sqs:eu-west-1:1:archive"}
    template = with_departments(tmp_path, queue)
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


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_a_queue_and_a_function_let_the_topic_in(tmp_path: Path) -> None:
    queue = {
        "name": "Archive",
        "protocol": "sqs",
        "address": "arn:aws:sqs:eu-west-1:000000000000:q",
    }
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
    defaults = {name: str(each["Default"]) for name, each in template["Parameters"].items()}
    given = defaults | {"AlertEmail": FRANKLIN["address"]}
    assert list(checks.twice(template, given)) == []
    (problem,) = checks.twice(template, given | {"Environment": "prod"})
    assert "the address of the department Franklin" in problem


def test_a_fifo_topic_with_unreachable_departments_is_refused(
    tmp_path: Path,
) -> None:
    queue = {"name": "Archive", "protocol": "sqs", "address": "arn:aws:sqs:eu-west-1:1:archive"}
    template = with_departments(tmp_path, FRANKLIN, queue)
    rule = template["Rules"]["FifoReachesDepartments"]
    assert rule["RuleCondition"] == {"Fn::Equals": [{"Ref": "FifoAlerts"}, "true"]}
    (assertion,) = rule["Assertions"]
    contains = {"Fn::Contains": [FRANKLIN["environments"], {"Ref": "Environment"}]}
    assert assertion["Assert"] == {"Fn::Not": [contains]}
    assert "Franklin" in assertion["AssertDescription"]
    assert "FifoReachesDepartments" not in with_departments(tmp_path, queue)["Rules"]


def test_unreachable_departments_are_refused_before_a_deployment(
    tmp_path: Path,
) -> None:
    arn = "arn:aws:sqs:eu-west-1:1:archive"
    fifo = {"name": "Ordered", "protocol": "sqs", "address": f"{arn}.fifo"}
    queue = {"name": "Archive", "protocol": "sqs", "address": arn}
    mail = {**FRANKLIN, "environments": ["prod"]}
    for them, given, refused in [
        ([queue, fifo], {"FifoAlerts": "true"}, []),
        ([queue, fifo], {}, ["Ordered"]),
        ([{**fifo, "environments": ["prod"]}], {}, []),
        ([queue, mail], {"FifoAlerts": "true"}, []),
        ([queue, mail], {"FifoAlerts": "true", "Environment": "prod"}, ["Franklin"]),
        (
            [{**FRANKLIN, "name": "All"} | {"environments": ["dev"]}],
            {"FifoAlerts": "true"},
            ["All"],
        ),
        ([{k: v for k, v in mail.items() if k != "environments"}], {}, []),
    ]:
        template = with_departments(tmp_path, *them)
        defaults = {n: str(p["Default"]) for n, p in template["Parameters"].items()}
        found = list(checks.broken_rules(template["Rules"], defaults | given))
        assert len(found) == len(refused), found
        assert all(name in text for name, text in zip(refused, found)), found


FUNCTIONS = ("ingest", "transform", "metrics", "notify")


def test_every_resource_that_needs_an_alarm_has_one() -> None:
    watched = {
        (metric["MetricName"], *(each["Value"] for each in metric["Dimensions"]))
        for alarm in ALARMS.values()
        for metric in read_by(alarm)
    }
    functions = [f"us-accidents-{name}-dev" for name in FUNCTIONS]
    deliveries = [f"us-accidents-{name}-dev" for name in ("raw", "analytical", "rejects", "alerts")]
    streams = [f"us-accidents-data-stream-{number}-dev" for number in (1, 2)]
    counted = [("us_accidents", "dev", name) for name in FUNCTIONS]
    key = ("AccessDenied", "Disabled", "InvalidState", "NotFound")
    expected = {
        ("us_accidents_severity_high", "4"),
        ("us_accidents_severity_high", "other"),
        ("Delivered", "us_accidents", "dev", "metrics"),
        ("EventToAlert", "us_accidents", "dev"),
        ("UnreadableRows", "us_accidents", "dev", "ingest"),
        ("In", "us_accidents", "dev", "ingest"),
        *(("IteratorAge", name) for name in functions[1:]),
        ("KinesisMillisBehindLatest", deliveries[0]),
        *(
            (metric, name)
            for metric in ("Errors", "Throttles", "DestinationDeliveryFailures")
            for name in functions
        ),
        ("AsyncEventsDropped", functions[0]),
        *(("Unaccounted", *whose) for whose in counted),
        ("Failed", "us_accidents", "dev", "ingest"),
        ("ApproximateNumberOfMessagesVisible", "us-accidents-ingest-dead-letters-dev"),
        ("ApproximateNumberOfMessagesVisible", "us-accidents-undelivered-alerts-dev"),
        ("ApproximateAgeOfOldestMessage", "us-accidents-ingest-dev"),
        ("NumberOfNotificationsFailed", "us-accidents-alerts-dev"),
        ("NumberOfNotificationsFailed", "us-accidents-alarms-dev"),
        ("IncomingRecords", deliveries[2]),
        ("PutRequests", "<FailuresBucket>", "Failures"),
        *((metric, f"<{mapping}>") for metric in GIVEN_UP for mapping in MAPPINGS),
        *(("DeliveryToS3.DataFreshness", name) for name in deliveries),
        *(("DeliveryToS3.Success", name) for name in deliveries),
        *(("ThrottledRecords", name) for name in deliveries),
        ("FailedConversion.Records", deliveries[1]),
        ("PartitionCountExceeded", deliveries[1]),
        *((f"KMSKey{why}", name) for why in key for name in deliveries[1:3]),
        *(
            (f"{kind}ProvisionedThroughputExceeded", name)
            for kind in ("Read", "Write")
            for name in streams
        ),
    }
    assert watched == expected
    fifo = rendered({"FifoAlerts": "true"}).properties("UndeliveredAlertsAlarm")
    topics = {each["Dimensions"][0]["Value"] for each in read_by(fifo)}
    assert "us-accidents-alerts-dev.fifo" in topics


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


def test_each_department_is_subscribed_with_its_filter(tmp_path: Path) -> None:
    queue = {"name": "Archive", "protocol": "sqs", "address": "arn:aws:sqs:eu-west-1:1:archive"}
    template = with_departments(tmp_path, FRANKLIN, queue)
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
        "Endpoint": "arn:aws:sqs:eu-west-1:1:archive",
        "RedrivePolicy": {"deadLetterTargetArn": "<UndeliveredAlerts.Arn>"},
    }
    franklin = {
        "TopicArn": "<AlertTopic>",
        "Protocol": "email",
        "Endpoint": "dispatch@example.com",
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
        with_departments(tmp_path, chat)["Rules"],
        {name: str(each["Default"]) for name, each in template["Parameters"].items()}
        | {"FifoAlerts": "true"},
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
