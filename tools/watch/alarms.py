"""The alarms, as `template.yaml` has them.

Those about events tell people by themselves. Those about the pipeline stay silent: `PipelineUnhealthyAlarm`, which
is over all of them, tells once that something is wrong, and what.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from metrics import EVENT_COUNT, EVENTS, FUNCTIONS, SEVERITY
from panels import DELIVERIES, Line, age, of_books, of_delivery, of_function, of_stream

CONSUMERS = ("transform", "metrics", "notify")
RUNBOOK = "docs/RUNBOOK.md"


@dataclass(frozen=True)
class Alarm:
    """One alarm: when it is raised, and what it tells whoever it wakes."""

    name: str  # in the alarm's own name, and in the resource's
    runbook: str  # the section
    means: str
    do: str
    line: Line
    above: str  # a number, or a parameter's `!Ref`
    at_least: bool = False
    period: str = "60"
    periods: int = 1  # looked at
    of_them: int = 1  # that must breach
    tells: bool = False
    notes: tuple[str, ...] = ()

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
            "${SevereAlarmThreshold} or more events of severity ${TopSeverity} arrived within ${SevereAlarmPeriodSeconds} seconds.",
            "Their alerts name place and id; act on those first. It ends by itself five periods after the last.",
            Line(EVENTS, EVENT_COUNT, {SEVERITY: "${TopSeverity}"}, "Sum", ""),
            "!Ref SevereAlarmThreshold",
            at_least=True,
            period="!Ref SevereAlarmPeriodSeconds",
            periods=5,
            tells=True,
            notes=(
                "One period of five: a count that arrives late, for a period gone by, raises it too.",
            ),
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
            "One alert in a hundred comes later than ${EventToAlertMilliseconds} ms after its event.",
            "See on the dashboard whether transform or notify lags behind its stream, and which of them is throttled or fails.",
            age("EventToAlert", "p99", ""),
            "!Ref EventToAlertMilliseconds",
            periods=3,
            of_them=2,
        ),
    ]


def of_functions() -> list[Alarm]:
    ages = [
        Alarm(
            f"{name}-iterator-age",
            "iterator-age",
            f"{name} is more than ${{IteratorAgeMilliseconds}} ms behind its stream; what it makes of the events comes as late.",
            "See whether it fails, is throttled, or has too few shards for the load, and raise ShardCount or "
            "ParallelizationFactor.",
            of_function("IteratorAge", name, "Maximum"),
            "!Ref IteratorAgeMilliseconds",
            periods=3,
            of_them=2,
        )
        for name in CONSUMERS
    ]
    raw = Alarm(
        "raw-delivery-lag",
        "iterator-age",
        "The raw delivery stream is more than ${IteratorAgeMilliseconds} ms behind stream 1; the raw layer comes as late.",
        "Nothing is lost while the stream keeps its records. See the delivery stream's log for what it cannot write.",
        of_delivery("KinesisMillisBehindLatest", "raw", "Maximum"),
        "!Ref IteratorAgeMilliseconds",
        periods=3,
        of_them=2,
    )
    errors = [
        Alarm(
            f"{name}-errors",
            "function-errors",
            f"Invocations of {name} end in an error, more than once.",
            "Read the function's log from the first error on; it says in a sentence what is wrong and what would be right. What "
            "it was working on comes again.",
            of_function("Errors", name, "Sum"),
            "0",
            periods=5,
            of_them=2,
        )
        for name in FUNCTIONS
    ]
    throttles = [
        Alarm(
            f"{name}-throttles",
            "function-throttles",
            f"Lambda does not let invocations of {name} begin, because the account's or the function's concurrency is used up.",
            "See who uses it up, and raise the quota or reserve some for this function.",
            of_function("Throttles", name, "Sum"),
            "0",
            periods=5,
            of_them=2,
        )
        for name in FUNCTIONS
    ]
    unaccounted = [
        Alarm(
            f"{name}-unaccounted",
            "unaccounted",
            f"The books of {name} do not balance: records in are not delivered, filtered, rejected or failed. It is a fault of "
            "the function.",
            "Find the invocation by its line with Unaccounted in the function's log, compare with the raw layer, and send again "
            "what is missing.",
            replace(of_books("Unaccounted", name), statistic="Maximum"),
            "0",
        )
        for name in FUNCTIONS
    ]
    return [*ages, raw, *errors, *throttles, *unaccounted]


def of_data() -> list[Alarm]:
    rejects = Alarm(
        "rejects",
        "rejects",
        "More than ${RejectsPerFiveMinutes} records went to rejects within five minutes.",
        "Ask queries/rejects_by_reason.sql which function refused them and why; mend the sender, and send them again.",
        of_delivery("IncomingRecords", "rejects", "Sum"),
        "!Ref RejectsPerFiveMinutes",
        period="300",
    )
    failures = Alarm(
        "failures",
        "failures",
        "A batch or an invocation was given up and stands in the failures bucket, payload included. Its events are missing "
        "downstream.",
        "Mend what the object and the function's log say, and send its records again.",
        Line(
            "AWS/S3",
            "PutRequests",
            {"BucketName": "!Ref FailuresBucket", "FilterId": "Failures"},
            "Sum",
            "",
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
    success = [
        Alarm(
            f"{each}-delivery-success",
            "delivery-success",
            f"Writes of the {each} delivery stream to its bucket fail.",
            "Read its log group for the error; what cannot be converted stands under the errors' prefix of the bucket.",
            of_delivery("DeliveryToS3.Success", each, "Average"),
            "1",
            periods=3,
            of_them=2,
        )
        for each in DELIVERIES
    ]
    throughput = [
        Alarm(
            f"stream-{stream}-{kind.lower()}-throughput",
            "stream-throughput",
            f"Stream {stream} refuses {verb}: a shard is at its limit. What is refused is sent again, so that everything comes later.",
            "Raise ShardCount, or let the stream be ON_DEMAND; when one shard alone is hot, look at the partition key.",
            of_stream(f"{kind}ProvisionedThroughputExceeded", stream, ""),
            "0",
            periods=5,
            of_them=3,
        )
        for stream in (1, 2)
        for kind, verb in (("Write", "writes"), ("Read", "reads"))
    ]
    return [rejects, failures, *freshness, *success, *throughput]


def below(alarm: Alarm) -> bool:
    """Success is a share of one: everything less is wrong."""
    return alarm.line.metric.endswith(".Success")


def render() -> str:
    """The lines between the template's marks."""
    blocks = [block(alarm) for alarm in alarms()]
    return "\n".join([*blocks, composite()])


def block(alarm: Alarm) -> str:
    line = alarm.line
    comparison = (
        "LessThan" if below(alarm) else "GreaterThanOrEqualTo" if alarm.at_least else "GreaterThan"
    )
    statistic = "ExtendedStatistic" if line.statistic.startswith("p") else "Statistic"
    dimensions = ", ".join(
        f"{{Name: {value(name)}, Value: {value(of, text=True)}}}"
        for name, of in line.dimensions.items()
    )
    rows = [
        f"  {alarm.resource}:",
        "    Type: AWS::CloudWatch::Alarm",
        "    Properties:",
        f"      AlarmName: {named(alarm.name)}",
        f"      AlarmDescription: {text(alarm.description)}",
        f"      Namespace: {value(line.namespace)}",
        f"      MetricName: {value(line.metric)}",
        f"      Dimensions: [{dimensions}]",
        f"      {statistic}: {line.statistic}",
        f"      Period: {alarm.period}",
        *(f"      # {note}" for note in alarm.notes),
        f"      EvaluationPeriods: {alarm.periods}",
        f"      DatapointsToAlarm: {alarm.of_them}",
        f"      Threshold: {alarm.above}",
        f"      ComparisonOperator: {comparison}Threshold",
        "      TreatMissingData: notBreaching",
    ]
    if alarm.tells:
        rows += ["      AlarmActions: [!Ref AlertTopic]"]
    return "\n".join(rows) + "\n"


def composite() -> str:
    health = [alarm for alarm in alarms() if not alarm.tells]
    rule = [
        f'          {"OR " if place else ""}ALARM("${{{alarm.resource}}}")'
        for place, alarm in enumerate(health)
    ]
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
            "      AlarmRule: !Sub >-",
            *(row[2:] for row in rule),
            "      AlarmActions: [!Ref AlertTopic]",
            "      OKActions: [!Ref AlertTopic]",
            "",
        ]
    )


def named(name: str) -> str:
    return f'!Sub ["${{Name}}-{name}-${{Environment}}", {{Name: !Join ["-", !Split ["_", !Ref Dataset]]}}]'


OWN_NAMES = {
    "${SeverityDimension}": "!FindInMap [Dataset, Severity, Dimension]",
    "${AreaDimension}": "!FindInMap [Dataset, Area, Dimension]",
    "${AreaName}": "!FindInMap [Dataset, Area, Name]",
    "${TopSeverity}": "!FindInMap [Dataset, Severity, Highest]",
    "${MetricNamespace}": "!Ref MetricNamespace",
    "${MetricName}": "!Ref MetricName",
    "${Dataset}": "!Ref Dataset",
    "${Environment}": "!Ref Environment",
}


def value(written: str, text: bool = False) -> str:
    """A name or value in YAML, with what stands for something else looked up."""
    if written in OWN_NAMES:
        return OWN_NAMES[written]
    if written.startswith("${Name}-") and written.endswith("-${Environment}"):
        return named(written.removeprefix("${Name}-").removesuffix("-${Environment}"))
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
