"""The settings of the alarms: what they watch, what they say, and who reads them."""

from __future__ import annotations

import re

import pytest

from tests.template.rendered import rendered
from tests.template.test_documents import anchors
from tests.template.watched import ALARMS, EVENTS, STACK, WITH_KEY, read_by
from tools.local.commands import REPOSITORY
from tools.local.functions import FUNCTIONS, TEMPLATE, load

RUNBOOK = "docs/RUNBOOK.md"
COMPOSITE = STACK.properties("PipelineUnhealthyAlarm")

# Lambda's metrics of discarded records, and the mappings of every stack.
GIVEN_UP = ("OnFailureDestinationDeliveredEventCount", "DroppedEventCount")
MAPPINGS = (
    "TransformFunctionRawStream",
    "MetricsFunctionSevereStream",
    "NotifyFunctionSevereStream",
)


def test_every_alarm_says_what_it_means_and_what_to_do() -> None:
    sections = anchors(REPOSITORY / RUNBOOK)
    for name, alarm in {**ALARMS, "PipelineUnhealthy": COMPOSITE}.items():
        description = alarm["AlarmDescription"]
        assert len(description) <= 1024, name
        assert description.count(". ") >= 2, f"{name} must say what it means and what to do"
        anchor = re.search(rf"{re.escape(RUNBOOK)}#([a-z-]+)$", description)
        assert anchor is not None, f"{name}: {description}"
        assert anchor[1] in sections, f"{name}: {description}"


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
