"""The alarms, as `template.yaml` has them.

Those about events notify people by themselves. Those about the pipeline stay silent: `PipelineUnhealthyAlarm`, which
is over all of them, says once that something is wrong, and what.

An alarm over several metrics adds them up: which of them it was is the first step of its section in the runbook.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from metrics import EVENT_COUNT, EVENTS, FUNCTIONS, OTHER, SEVERITY
from panels import (
    DELIVERIES,
    TOPIC_SUFFIX,
    Line,
    age,
    of_books,
    of_delivery,
    of_function,
    of_queue,
    of_stream,
)

CONSUMERS = ("transform", "metrics", "notify")
ENCRYPTED_DELIVERIES = (
    "analytical",
    "rejects",
)  # the raw one's records are encrypted by its stream

# Metrics of one alarm. Source: CloudWatch user guide, "Create a CloudWatch alarm based on a metric math expression".
METRICS_AT_MOST = 10
# Age of an event when its alert has been published that 99 of a hundred should not exceed.
EVENT_TO_ALERT_MS = "10000"
# How far a consumer may be behind its stream.
BEHIND_MS = "60000"
# Seconds for which a message may wait in ingest's queue. One that failed once waits for the visibility timeout of 30 minutes.
QUEUE_AGE_SECONDS = "3600"
RUNBOOK = "docs/RUNBOOK.md"


@dataclass(frozen=True)
class Alarm:
    """One alarm: when it is raised, and what it says to whoever it wakes."""

    name: str  # in the alarm's own name, and in the resource's
    runbook: str  # the section
    means: str
    do: str
    line: Line | tuple[Line, ...]
    above: str  # a number, or a parameter's `!Ref`
    of_several: str = "SUM"  # what is compared where there are several metrics
    condition: str = ""  # of the template, under which there is the alarm
    at_least: bool = False
    period: str = "60"
    periods: int = 1  # looked at
    of_them: int = 1  # that must breach
    tells: bool = False
    notes: tuple[str, ...] = ()

    @property
    def lines(self) -> tuple[Line, ...]:
        return self.line if isinstance(self.line, tuple) else (self.line,)

    @property
    def resource(self) -> str:
        return "".join(part.capitalize() for part in self.name.split("-")) + "Alarm"

    @property
    def description(self) -> str:
        return f"{self.means} {self.do} Runbook: {RUNBOOK}#{self.runbook}"


def alarms() -> list[Alarm]:
    return [*of_events(), *of_functions(), *of_data()]


def of_events() -> list[Alarm]:
    return [
        Alarm(
            "severe-event",
            "severe-event",
            "${SevereAlarmThreshold} or more events of severity ${TopSeverity} arrived within a minute.",
            "Their alerts name place and id; act on those first. It ends by itself five periods after the last.",
            Line(EVENTS, EVENT_COUNT, {SEVERITY: "${TopSeverity}"}, "Sum", ""),
            "!Ref SevereAlarmThreshold",
            at_least=True,
            periods=5,
            tells=True,
            notes=(
                "One period of five: a count that arrives late, for a period gone by, raises it too.",
            ),
        ),
        # metrics counts a severity that the data set does not list under none of its own, also one above the highest.
        Alarm(
            "unlisted-severity",
            "unlisted-severity",
            "${SevereAlarmThreshold} or more severe events within a minute had a severity that the data set does not list.",
            "Each may be worse than ${TopSeverity}: its alert names place and id; act on that first. Then ask the sender about the "
            "severity, or add it to the data set.",
            Line(EVENTS, EVENT_COUNT, {SEVERITY: OTHER}, "Sum", ""),
            "!Ref SevereAlarmThreshold",
            at_least=True,
            periods=5,
            tells=True,
        ),
        Alarm(
            "severe-event-rate",
            "severe-event-rate",
            "More than ${SevereEventsPerMinute} severe events, of all severities that are counted, came in a minute.",
            "Look at the dashboard: one ${AreaName} is a local event, many are a wide one such as a storm, or a sender that "
            "sends a file again.",
            of_books("Delivered", "metrics"),
            "!Ref SevereEventsPerMinute",
            tells=True,
        ),
        Alarm(
            "event-to-alert",
            "event-to-alert",
            "One alert in a hundred comes later than ten seconds after its event.",
            "See on the dashboard whether transform or notify lags behind its stream, and which of them is throttled or fails.",
            age("EventToAlert", "p99", ""),
            EVENT_TO_ALERT_MS,
            periods=3,
            of_them=2,
        ),
    ]


def of_functions() -> list[Alarm]:
    ages = [
        Alarm(
            f"{name}-iterator-age",
            "iterator-age",
            f"{name} is more than a minute behind its stream; what it makes of the events comes as late.",
            "See whether it fails, is throttled, or has too few shards for the load, and raise ShardCount or "
            "ParallelizationFactor.",
            of_function("IteratorAge", name, "Maximum"),
            BEHIND_MS,
            periods=3,
            of_them=2,
        )
        for name in CONSUMERS
    ]
    raw = Alarm(
        "raw-delivery-lag",
        "iterator-age",
        "The raw delivery stream is more than a minute behind stream 1; the raw layer comes as late.",
        "Nothing is lost while the stream keeps its records. See the delivery stream's log for what it cannot write.",
        of_delivery("KinesisMillisBehindLatest", "raw", "Maximum"),
        BEHIND_MS,
        periods=3,
        of_them=2,
    )
    errors = Alarm(
        "function-errors",
        "function-errors",
        "Invocations of a function end in an error, more than once.",
        "Find the function by the runbook's first command, and read its log from the first error on; it says in a sentence what "
        "is wrong and what is expected. What it was working on is retried.",
        tuple(of_function("Errors", name, "Sum") for name in FUNCTIONS),
        "0",
        periods=5,
        of_them=2,
    )
    throttles = Alarm(
        "function-throttles",
        "function-throttles",
        "Lambda does not let invocations of a function begin, because the account's or the function's concurrency is used up.",
        "Find the function by the runbook's first command, see who uses the concurrency up, and raise the quota or reserve some.",
        tuple(of_function("Throttles", name, "Sum") for name in FUNCTIONS),
        "0",
        periods=5,
        of_them=2,
    )
    unaccounted = Alarm(
        "unaccounted",
        "unaccounted",
        "The counts of a function do not balance: records in are not delivered, filtered, rejected or failed. It is a fault of "
        "the function.",
        "Find the invocation by its line with Unaccounted in the functions' logs, compare with the raw layer, and send again "
        "what is missing.",
        tuple(replace(of_books("Unaccounted", name), statistic="Maximum") for name in FUNCTIONS),
        "0",
    )
    destination = Alarm(
        "failure-destination",
        "failure-destination",
        "Lambda gave up a batch or an invocation and could not write it to the failures bucket. Its events may be lost.",
        "See whether the bucket is there and its key can be used. What was in the batch is in the raw layer; replay that hour.",
        (
            *(of_function("DestinationDeliveryFailures", name, "Sum") for name in FUNCTIONS),
            of_function("AsyncEventsDropped", "ingest", "Sum"),
        ),
        "0",
    )
    return [*ages, raw, errors, throttles, unaccounted, destination, *of_intake()]


def of_intake() -> list[Alarm]:
    """What ingest could not take in. Lambda counts neither an answer 503 nor a part of a batch as an error."""
    return [
        Alarm(
            "ingest-refusals",
            "ingest-refusals",
            "ingest took rows in that stream 1 or the rejects did not accept; its senders got a 503 or keep their messages.",
            "Read the log of ingest: its sentence names the service, the action and the reason. Senders that try again lose nothing.",
            of_books("Failed", "ingest"),
            "0",
            periods=5,
            of_them=2,
        ),
        Alarm(
            "dead-letters",
            "dead-letters",
            "Messages of ingest's queue failed five times and are in its dead-letter queue, which keeps them for 14 days.",
            "Read the log of ingest, correct the cause, and move the messages back as the runbook says.",
            of_queue("ApproximateNumberOfMessagesVisible", "ingest-dead-letters"),
            "0",
        ),
        Alarm(
            "queue-age",
            "queue-age",
            "A message has waited in ingest's queue for more than an hour: ingest is too slow, throttled, or fails on it.",
            "See whether ingest fails or is throttled, and raise its concurrency if it is neither.",
            of_queue("ApproximateAgeOfOldestMessage", "ingest"),
            QUEUE_AGE_SECONDS,
            periods=3,
            of_them=2,
        ),
    ]


def of_data() -> list[Alarm]:
    rejects = Alarm(
        "rejects",
        "rejects",
        "More than ${RejectsPerFiveMinutes} records went to rejects within five minutes.",
        "Ask queries/rejects_by_reason.sql which function refused them and why; correct the sender, and send them again.",
        of_delivery("IncomingRecords", "rejects", "Sum"),
        "!Ref RejectsPerFiveMinutes",
        period="300",
    )
    failures = Alarm(
        "failures",
        "failures",
        "A batch or an invocation was given up and is in the failures bucket, payload included. Its events are missing "
        "downstream.",
        "Correct what the object and the function's log say, and send its records again.",
        # S3 reports its requests as well as it can, and perhaps late; Lambda counts what it gives up by mapping.
        (
            Line(
                "AWS/S3",
                "PutRequests",
                {"BucketName": "!Ref FailuresBucket", "FilterId": "Failures"},
                "Sum",
                "",
            ),
            *(of_mapping(metric, each) for metric in GIVEN_UP for each in MAPPINGS),
            *(replace(of_mapping(each, "ReplayMapping"), condition="Replays") for each in GIVEN_UP),
        ),
        "0",
        periods=5,
    )
    undelivered = Alarm(
        "undelivered-alerts",
        "undelivered-alerts",
        "SNS could not deliver an alert or an alarm to a subscriber.",
        "Find the subscription by the runbook's commands: an address that is gone, a queue or function without permission, or a "
        "mail subscription that waits for its confirmation. The messages are in the queue of undelivered alerts for 14 days.",
        (
            Line(
                "AWS/SNS",
                "NumberOfNotificationsFailed",
                {"TopicName": f"${{Name}}-alerts-${{Environment}}{TOPIC_SUFFIX}"},
                "Sum",
                "",
            ),
            Line(
                "AWS/SNS",
                "NumberOfNotificationsFailed",
                {"TopicName": "${Name}-alarms-${Environment}"},
                "Sum",
                "",
            ),
            of_queue("ApproximateNumberOfMessagesVisible", "undelivered-alerts"),
            replace(
                of_queue("ApproximateNumberOfMessagesVisible", "undelivered-alerts", ".fifo"),
                condition="IsFifo",
            ),
        ),
        "0",
    )
    freshness = [
        Alarm(
            f"{each}-delivery-freshness",
            "delivery-freshness",
            f"The {each} delivery stream has held a record for more than ${{DeliveryFreshnessSeconds}} seconds without writing it "
            "to its bucket.",
            "Read its log group; it is a permission, a table that does not fit, or a bucket that is gone. Firehose tries for 24 "
            "hours.",
            of_delivery("DeliveryToS3.DataFreshness", each, "Maximum"),
            "!Ref DeliveryFreshnessSeconds",
            periods=3,
            of_them=2,
        )
        for each in DELIVERIES
    ]
    success = Alarm(
        "delivery-success",
        "delivery-success",
        "Writes of a delivery stream to its bucket fail.",
        "Find the delivery stream by the runbook's first command, and read its log group for the error. Firehose tries again for 24 hours.",
        tuple(of_delivery("DeliveryToS3.Success", each, "Average") for each in DELIVERIES),
        "1",
        of_several="MIN",
        periods=3,
        of_them=2,
    )
    return [
        rejects,
        failures,
        undelivered,
        *freshness,
        success,
        *of_error_prefix(),
        *of_streams(),
    ]


# Lambda's own counts of what it gives up, by mapping. They do not begin before a mapping has such an event.
GIVEN_UP = ("OnFailureDestinationDeliveredEventCount", "DroppedEventCount")
MAPPINGS = (
    "TransformFunctionRawStream",
    "MetricsFunctionSevereStream",
    "NotifyFunctionSevereStream",
)


def of_mapping(metric: str, mapping: str) -> Line:
    whose = {"EventSourceMappingUUID": f"!Ref {mapping}"}
    return Line("AWS/Lambda", metric, whose, "Sum", "")


def of_error_prefix() -> list[Alarm]:
    """What Firehose takes and does not bring to its table. A write to the error prefix is a write that succeeds."""
    key = ("KMSKeyAccessDenied", "KMSKeyDisabled", "KMSKeyInvalidState", "KMSKeyNotFound")
    return [
        Alarm(
            "delivery-errors",
            "delivery-errors",
            "Firehose wrote severe events to the error prefix, because it could not convert them to Parquet or had no partition left. "
            "Athena does not show them.",
            "Read the error objects as the runbook says; a schema that does not fit is corrected by make schema and a deployment.",
            (
                of_delivery("FailedConversion.Records", "analytical", "Sum"),
                of_delivery("PartitionCountExceeded", "analytical", "Maximum"),
            ),
            "0",
        ),
        Alarm(
            "delivery-throttles",
            "delivery-errors",
            "A delivery stream refuses records, because its quota of records or bytes a second is used up. What is refused is sent again, later.",
            "Ask for more in Service Quotas, for Firehose's direct puts and for the raw delivery stream's throughput.",
            tuple(of_delivery("ThrottledRecords", each, "Sum") for each in DELIVERIES),
            "0",
            periods=5,
            of_them=3,
        ),
        Alarm(
            "delivery-key",
            "delivery-errors",
            "Firehose cannot use the key of EncryptionKeyArn. It keeps the records for 24 hours and then discards them.",
            "Enable the key or restore its policy at once, as key.yaml has it.",
            tuple(
                of_delivery(metric, each, "Sum") for metric in key for each in ENCRYPTED_DELIVERIES
            ),
            "0",
            condition="HasKey",
        ),
    ]


def of_streams() -> list[Alarm]:
    return [
        Alarm(
            f"stream-{kind.lower()}-throughput",
            "stream-throughput",
            f"A stream refuses {verb}: a shard is at its limit. What is refused is sent again, so that everything arrives later.",
            "Find the stream by the runbook's first command. Raise ShardCount, or let the streams be ON_DEMAND; when only one "
            "shard is hot, look at the partition key.",
            tuple(
                of_stream(f"{kind}ProvisionedThroughputExceeded", stream, "") for stream in (1, 2)
            ),
            "0",
            periods=5,
            of_them=3,
        )
        for kind, verb in (("Write", "writes"), ("Read", "reads"))
    ]


def metrics_read() -> int:
    """Metrics that the alarms read, without those of options: CloudWatch bills each, not each alarm. The one over the
    others is billed apart."""
    return sum(not line.condition for alarm in alarms() for line in alarm.lines)


def below(alarm: Alarm) -> bool:
    """Success is a share of one: everything less is wrong."""
    return alarm.lines[0].metric.endswith(".Success")


def render() -> str:
    """The lines between the template's marks."""
    blocks = [block(alarm) for alarm in alarms()]
    return "\n".join([*blocks, composite()])


def block(alarm: Alarm) -> str:
    comparison = (
        "LessThan" if below(alarm) else "GreaterThanOrEqualTo" if alarm.at_least else "GreaterThan"
    )
    rows = [f"  {alarm.resource}:", "    Type: AWS::CloudWatch::Alarm"]
    if alarm.condition:
        rows.append(f"    Condition: {alarm.condition}")
    rows += [
        "    Properties:",
        f"      AlarmName: {named(alarm.name)}",
        f"      AlarmDescription: {text(alarm.description)}",
        *(one_metric(alarm) if len(alarm.lines) == 1 else several_metrics(alarm)),
        *(f"      # {note}" for note in alarm.notes),
        f"      EvaluationPeriods: {alarm.periods}",
        f"      DatapointsToAlarm: {alarm.of_them}",
        f"      Threshold: {alarm.above}",
        f"      ComparisonOperator: {comparison}Threshold",
        "      TreatMissingData: notBreaching",
    ]
    if alarm.tells:
        rows += ["      AlarmActions: [!Ref AlarmTopic]"]
    return "\n".join(rows) + "\n"


def one_metric(alarm: Alarm) -> list[str]:
    (line,) = alarm.lines
    statistic = "ExtendedStatistic" if line.statistic.startswith("p") else "Statistic"
    return [
        f"      Namespace: {value(line.namespace)}",
        f"      MetricName: {value(line.metric)}",
        f"      Dimensions: [{dimensions(line)}]",
        f"      {statistic}: {line.statistic}",
        f"      Period: {alarm.period}",
    ]


def several_metrics(alarm: Alarm) -> list[str]:
    rows = [
        "      Metrics:",
        f'        - {{Id: all, Expression: "{alarm.of_several}(METRICS())", Label: {alarm.name}}}',
    ]
    for place, line in enumerate(alarm.lines):
        read = [
            f"Id: m{place}",
            "ReturnData: false",
            "MetricStat:",
            f"  Metric: {{Namespace: {value(line.namespace)}, MetricName: {value(line.metric)}, "
            f"Dimensions: [{dimensions(line)}]}}",
            f"  Period: {alarm.period}",
            f"  Stat: {line.statistic}",
        ]
        if line.condition:
            rows += ["        - !If", f"          - {line.condition}"]
            rows += [
                f"          {'  ' if number else '- '}{row}" for number, row in enumerate(read)
            ]
            rows += ["          - !Ref AWS::NoValue"]
        else:
            rows += [f"        {'  ' if number else '- '}{row}" for number, row in enumerate(read)]
    return rows


def dimensions(line: Line) -> str:
    return ", ".join(
        f"{{Name: {value(name)}, Value: {value(of, text=True)}}}"
        for name, of in line.dimensions.items()
    )


def composite() -> str:
    health = [alarm for alarm in alarms() if not alarm.tells]
    always = [alarm for alarm in health if not alarm.condition]
    rule = [
        f'{"OR " if place else ""}ALARM("${{{alarm.resource}}}")'
        for place, alarm in enumerate(always)
    ]
    optional = [alarm for alarm in health if alarm.condition]
    return "\n".join(
        [
            "  PipelineUnhealthyAlarm:",
            "    Type: AWS::CloudWatch::CompositeAlarm",
            "    Properties:",
            f"      AlarmName: {named('pipeline-unhealthy')}",
            "      AlarmDescription: >-",
            "        Something is wrong with the pipeline itself: one or more of the alarms that it is made of are raised. The reason",
            "        names them, and the description of each says what to do. Runbook: "
            f"{RUNBOOK}#pipeline-unhealthy",
            "      AlarmRule: !Sub",
            "        - >-",
            *(f"          {each}" for each in rule),
            "          " + "".join(f"${{Or{alarm.resource}}}" for alarm in optional),
            *(
                f"        - Or{alarm.resource}: !If [{alarm.condition}, "
                f'!Sub \' OR ALARM("${{{alarm.resource}}}")\', ""]'
                for alarm in optional
            ),
            "      AlarmActions: [!Ref AlarmTopic]",
            "      OKActions: [!Ref AlarmTopic]",
            "",
        ]
    )


def named(name: str, suffix: str = "") -> str:
    name = f"${{Name}}-{name}-${{Environment}}{suffix}"
    return f'!Sub ["{name}", {{Name: !Join ["-", !Split ["_", !Ref Dataset]]}}]'


OWN_NAMES = {
    "${SeverityDimension}": "!FindInMap [Dataset, Severity, Dimension]",
    "${AreaDimension}": "!FindInMap [Dataset, Area, Dimension]",
    "${AreaName}": "!FindInMap [Dataset, Area, Name]",
    "${TopSeverity}": "!FindInMap [Dataset, Severity, Highest]",
    "${MetricNamespace}": "!FindInMap [Dataset, Metric, Namespace]",
    "${MetricName}": "!FindInMap [Dataset, Metric, Name]",
    "${Dataset}": "!Ref Dataset",
    "${Environment}": "!Ref Environment",
}


def value(written: str, text: bool = False) -> str:
    """A name or value in YAML, with what stands for something else looked up."""
    if written in OWN_NAMES:
        return OWN_NAMES[written]
    if written.endswith(f"-${{Environment}}{TOPIC_SUFFIX}"):
        variable = TOPIC_SUFFIX[2:-1]
        return (
            f'!Sub ["{written}", {{Name: !Join ["-", !Split ["_", !Ref Dataset]], '
            f'{variable}: !If [IsFifo, .fifo, ""]}}]'
        )
    if found := re.fullmatch(r"\$\{Name\}-(.+)-\$\{Environment\}(\.fifo)?", written):
        return named(found[1], found[2] or "")
    if written.startswith("!") or not text:
        return written
    return f'"{written}"' if written.isdigit() else written


def text(description: str) -> str:
    quoted = '"' + description.replace('"', '\\"') + '"'
    looked_up = {
        name: OWN_NAMES[name] for name in ("${TopSeverity}", "${AreaName}") if name in description
    }
    if looked_up:
        variables = ", ".join(f"{name[2:-1]}: {found}" for name, found in looked_up.items())
        return f"!Sub [{quoted}, {{{variables}}}]"
    return f"!Sub {quoted}" if "${" in description else quoted
