"""What is checked before a deployment, so that nothing is built for one that cannot work.

`python -m tools.local.checks dev` reads the parameters of samconfig.toml against template.yaml, and
asks the account.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from tools.local.clients import stack_of
from tools.local.commands import CommandError, Parser, run, say
from tools.local.functions import (
    DATASET,
    Environment,
    configuration,
    environment,
    load,
    template_of,
)
from tools.local.problems import sentence
from tools.local.template import defaults_of

# Shards of an on-demand stream at the beginning.
# Source: Kinesis developer guide, "Choose the right mode in Kinesis Data Streams".
ON_DEMAND_SHARDS = 4
# Invocations by which Lambda begins to read a queue.
# Source: Lambda developer guide, "Scaling and processing" of Amazon SQS.
QUEUE_POLLERS = 5
# Concurrent executions that an account must keep unreserved.
# Source: Lambda developer guide, "Configuring reserved concurrency".
UNRESERVED = 100
CONCURRENCY_QUOTA = "L-B99A9384"

# The longest wait between two attempts at a batch, and how long an attempt lasts while a service
# is down.
ATTEMPT_SECONDS = 60
# How long a delivery may take beyond its buffer before something is wrong.
DELIVERY_SLACK_SECONDS = 120
# States of a stack that no deployment leads out of.
# Source: CloudFormation user guide, "Stack status codes".
DEAD = {"ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "DELETE_FAILED"}
# Partitions of a table that Athena lists for a query without a date.
PARTITIONS = 2_500


@dataclass
class Findings:
    """What a deployment would fail on, and what whoever deploys should know."""

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


# -------------------------------------------------------------------------------- the parameters


def of_parameters(template: dict[str, Any], given: dict[str, str], now: datetime) -> Findings:
    """What is wrong with the parameters of an environment, without asking AWS."""
    found = Findings()
    described = template["Parameters"]
    for name, value in given.items():
        if name not in described:
            found.problems.append(unknown(name, described))
        elif problem := refused(described[name], value):
            found.problems.append(f"{name}={value}: {problem}")
    if found.problems:
        return found
    values = defaults_of(template) | given
    found.problems += broken_rules(template.get("Rules", {}), values)
    found.problems += conflicts(values, now)
    found.problems += shared_addresses(template, values)
    found.notes += surprises(values, now)
    found.notes += thresholds(template["Mappings"]["Severities"], values)
    found.notes += partitions(template["Mappings"]["Severities"], values)
    found.notes += unwatched(template["Mappings"]["Dataset"], values)
    return found


def unknown(name: str, described: dict[str, Any]) -> str:
    near = difflib.get_close_matches(name, described, 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"{name} is not a parameter of template.yaml{hint}"


def misspelled(described: dict[str, Any]) -> list[str]:
    """Names that the template does not have, in any environment of samconfig.toml."""
    found = []
    for name, tables in configuration().items():
        given = tables.get("global", {}).get("parameters", {}).get("parameter_overrides", [])
        names = [entry.partition("=")[0] for entry in given]
        found += [
            f"{unknown(each, described)} ([{name}] of samconfig.toml)"
            for each in names
            if each not in described
        ]
    return found


def refuse(target: Environment) -> None:
    """Fails for parameters that CloudFormation would refuse or ignore."""
    template = load(template_of(target.dataset))
    now = datetime.now(timezone.utc)
    problems = (
        misspelled(template["Parameters"])
        or of_parameters(template, target.parameters, now).problems
    )
    if problems:
        raise CommandError("; ".join(problems))


def refused(parameter: dict[str, Any], value: str) -> str | None:
    """Why CloudFormation, or the function that reads it, would refuse a value, if so."""
    if parameter["Type"] == "Number":
        if not re.fullmatch(r"-?[0-9]+", value):
            return "expected a whole number"
        number = int(value)
        least, most = parameter.get("MinValue"), parameter.get("MaxValue")
        if (least is not None and number < least) or (most is not None and number > most):
            lower, upper = ("…" if bound is None else bound for bound in (least, most))
            return f"expected {lower} to {upper}"
    allowed = [str(each) for each in parameter.get("AllowedValues", [])]
    if allowed and value not in allowed:
        return f"expected one of {', '.join(allowed)}"
    if "AllowedPattern" in parameter and not re.fullmatch(parameter["AllowedPattern"], value):
        return str(parameter.get("ConstraintDescription", parameter["AllowedPattern"]))
    return None


def broken_rules(rules: dict[str, Any], values: dict[str, str]) -> Iterator[str]:
    """What breaks the template's own rules. CloudFormation would say so only after the build."""
    for rule in rules.values():
        if "RuleCondition" in rule and not holds(rule["RuleCondition"], values):
            continue
        for assertion in rule["Assertions"]:
            if not holds(assertion["Assert"], values):
                yield assertion["AssertDescription"]


def holds(rule: Any, values: dict[str, str]) -> bool:
    ((name, argument),) = rule.items()
    match name:
        case "Fn::Equals":
            one, other = (valued(each, values) for each in argument)
            return one == other
        case "Fn::Not":
            return not holds(argument[0], values)
        case "Fn::And":
            return all(holds(each, values) for each in argument)
        case "Fn::Or":
            return any(holds(each, values) for each in argument)
        case "Fn::Contains":
            return valued(argument[1], values) in [str(each) for each in argument[0]]
        case _:
            raise CommandError(f"tools/local/checks.py does not know {name} in a rule")


def valued(value: Any, values: dict[str, str]) -> str:
    return values[value["Ref"]] if isinstance(value, dict) else str(value)


def conflicts(values: dict[str, str], now: datetime) -> Iterator[str]:
    """Parameters that do not go together; a template cannot compare numbers."""
    number = {name: int(value) for name, value in values.items() if re.fullmatch(r"-?\d+", value)}
    retention = number["StreamRetentionHours"] * 3600
    age, attempts = number["MaximumRecordAgeSeconds"], number["MaximumRetryAttempts"]
    if age != -1 and not 60 <= age < retention:
        yield (
            f"MaximumRecordAgeSeconds={age}: expected -1, or 60 to less than the {retention} "
            f"seconds of StreamRetentionHours={values['StreamRetentionHours']}"
        )
    if attempts * ATTEMPT_SECONDS >= retention and age == -1:
        yield (
            f"MaximumRetryAttempts={attempts}: a record that ends the function would expire "
            f"before it is given up; expected less than {retention // ATTEMPT_SECONDS}, better "
            f"{per_hour(values)}"
        )
    buffer, freshness = number["DeliveryBufferSeconds"], number["DeliveryFreshnessSeconds"]
    if freshness < buffer + DELIVERY_SLACK_SECONDS:
        yield (
            f"DeliveryFreshnessSeconds={freshness}: the alarm would be raised by every object; "
            f"expected at least {buffer + DELIVERY_SLACK_SECONDS} with "
            f"DeliveryBufferSeconds={buffer}"
        )
    expiry, cold = number["LakeExpireAfterDays"], number["LakeColdAfterDays"]
    if expiry and expiry <= cold:
        yield (
            f"LakeExpireAfterDays={expiry}: S3 refuses an expiry that is not after "
            f"LakeColdAfterDays={cold}; expected more, or 0"
        )
    yield from replay(number["ReplayFrom"], retention, now)
    yield from years(values["ProjectedYears"], now)


def shared_addresses(template: dict[str, Any], values: dict[str, str]) -> Iterator[str]:
    """Departments with the address of AlertEmail: SNS takes an address of a topic once."""
    for name, resource in template["Resources"].items():
        subscription = resource.get("Properties", {})
        if not name.startswith("Department") or subscription.get("Protocol") != "email":
            continue
        condition = template["Conditions"].get(resource.get("Condition"))
        is_there = condition is None or holds(condition, values)
        if is_there and subscription["Endpoint"] == values["AlertEmail"]:
            yield (
                f"AlertEmail={values['AlertEmail']} is also the address of the department "
                f"{name.removeprefix('Department')}; expected one of them only"
            )


def replay(start: int, retention: int, now: datetime) -> Iterator[str]:
    if not start:
        return
    since = now.timestamp() - start
    if since < 0:
        yield f"ReplayFrom={start} is in the future; expected a time since 1970 that has been"
    elif since > retention:
        yield (
            f"ReplayFrom={start}: the stream keeps the last {retention // 3600} hours only; "
            "replay from raw instead"
        )


def years(projected: str, now: datetime) -> Iterator[str]:
    first, last = map(int, projected.split(","))
    if first > last:
        yield f"ProjectedYears={projected}: expected the earlier year first"
    elif not first <= now.year <= last:
        yield (
            f"ProjectedYears={projected}: Athena would not show what arrives in {now.year}; "
            "expected a range that holds it"
        )


def surprises(values: dict[str, str], now: datetime) -> Iterator[str]:
    """What works, and not as long as one may think."""
    retention = int(values["StreamRetentionHours"]) * 3600
    if int(values["MaximumRetryAttempts"]) * 2 * ATTEMPT_SECONDS < retention:
        yield (
            f"MaximumRetryAttempts={values['MaximumRetryAttempts']}: an outage as long as "
            f"StreamRetentionHours sends records to the failures bucket; {per_hour(values)} "
            "attempts last as long"
        )
    _, last = map(int, values["ProjectedYears"].split(","))
    if now.year == last:
        yield (
            f"ProjectedYears={values['ProjectedYears']} ends this year; deploy with a later one "
            "before it is over, or Athena shows nothing of the next"
        )


def thresholds(severities: dict[str, Any], values: dict[str, str]) -> Iterator[str]:
    """Thresholds that change nothing, or alert nobody."""
    transform, notify = (int(values[f"{name}SeverityAbove"]) for name in ("Transform", "Notify"))
    # The range ends one above the highest severity.
    highest = int(severities[str(transform)]["Range"].split(",")[1]) - 1
    if notify < transform:
        yield (
            f"NotifySeverityAbove={notify} is below TransformSeverityAbove={transform}, which lets "
            f"nothing lower through; it has the effect of NotifySeverityAbove={transform}"
        )
    elif notify >= highest:
        yield (
            f"NotifySeverityAbove={notify} alerts about no severity that the data set lists; the "
            f"highest is {highest}"
        )


def partitions(severities: dict[str, Any], values: dict[str, str]) -> Iterator[str]:
    """What Athena lists for a query of the analytical table that names no date."""
    first, last = map(int, values["ProjectedYears"].split(","))
    above = values["TransformSeverityAbove"]
    least, greatest = map(int, severities[above]["Range"].split(","))
    listed = (last - first + 1) * 12 * 31 * (greatest - least + 1)
    if listed > PARTITIONS:
        yield (
            f"ProjectedYears={values['ProjectedYears']} with TransformSeverityAbove={above}: a "
            f"query without a date lists {listed} partitions of the analytical table, which is "
            f"slow; expected at most {PARTITIONS}"
        )


def unwatched(dataset: dict[str, Any], values: dict[str, str]) -> Iterator[str]:
    """What alarms and dashboards read of the events' metric, and no set of dimensions gives."""
    severity, area = dataset["Severity"]["Dimension"], dataset["Area"]["Dimension"]
    text = values["MetricDimensionSets"]
    given = [set(each.split("+")) for each in text.split(",")]
    if text and {severity} not in given:
        yield (
            f"MetricDimensionSets={text} misses {severity}: the alarms severe-event and "
            "unlisted-severity can never be raised"
        )
    if text and {severity, area} not in given:
        yield (
            f"MetricDimensionSets={text} misses {severity}+{area}: the dashboards' panel of one "
            "area stays empty"
        )


def per_hour(values: dict[str, str]) -> int:
    return 30 * int(values["StreamRetentionHours"])


# ------------------------------------------------------------------------------------ the account


def of_account(
    target: Environment, values: dict[str, str], client: Callable[[str], Any]
) -> Findings:
    """What is wrong with the parameters for the account, as far as whoever deploys may ask it."""
    found = Findings()
    for check in (key_region, concurrency, shards, left_buckets):
        try:
            check(target, values, client, found)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            found.notes.append(f"{error.operation_name} was not checked: {code}")
    return found


def key_region(
    target: Environment, values: dict[str, str], _: Callable[[str], Any], found: Findings
) -> None:
    """No service of a region uses a key of another one."""
    region = (values["EncryptionKeyArn"].split(":") + [""] * 4)[3]
    if region and region != target.region:
        found.problems.append(
            f"EncryptionKeyArn={values['EncryptionKeyArn']}: the key is in {region}; expected one "
            f"in {target.region}, where {target.stack} is deployed"
        )


def concurrency(
    target: Environment, values: dict[str, str], client: Callable[[str], Any], found: Findings
) -> None:
    settings = client("lambda").get_account_settings()["AccountLimit"]
    limit = settings["ConcurrentExecutions"]
    needed = executions(values)
    request = (
        "aws service-quotas request-service-quota-increase --service-code lambda "
        f"--quota-code {CONCURRENCY_QUOTA} --desired-value {max(1000, 2 * needed)} --region "
        f"{target.region}"
    )
    reserved = int(values["IngestReservedConcurrency"])
    if reserved and limit - reserved < UNRESERVED:
        found.problems.append(
            f"IngestReservedConcurrency={reserved}: the account has {limit} concurrent executions "
            f"and must keep {UNRESERVED} unreserved; expected 0, or ask for more: {request}"
        )
    elif limit < needed:
        found.notes.append(
            f"the account has {limit} concurrent executions and this stack uses up to {needed}, "
            f"so that functions will be throttled; ask for more: {request}"
        )


def executions(values: dict[str, str]) -> int:
    """Invocations at once: the batches of each shard for each reader, and those of the queue."""
    provisioned = values["StreamMode"] == "PROVISIONED"
    shards = int(values["ShardCount"]) if provisioned else ON_DEMAND_SHARDS
    readers = 3 + (values["ReplayFrom"] != "0")
    return readers * shards * int(values["ParallelizationFactor"]) + QUEUE_POLLERS


def shards(
    target: Environment, values: dict[str, str], client: Callable[[str], Any], found: Findings
) -> None:
    """Kinesis takes the double at most and the half at least."""
    if values["StreamMode"] != "PROVISIONED":
        return
    wanted = int(values["ShardCount"])
    kinesis = client("kinesis")
    for number in (1, 2):
        name = f"{target.dataset.replace('_', '-')}-data-stream-{number}-{values['Environment']}"
        try:
            summary = kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]
        except kinesis.exceptions.ResourceNotFoundException:
            continue
        open_ = summary["OpenShardCount"]
        was = summary["StreamModeDetails"]["StreamMode"]
        if was != "PROVISIONED" and wanted != open_:
            found.problems.append(
                f"{name} is {was} with {open_} shards; deploy StreamMode=PROVISIONED with "
                f"ShardCount={open_} first"
            )
        elif wanted > 2 * open_ or 2 * wanted < open_:
            step = 2 * open_ if wanted > open_ else -(-open_ // 2)
            found.problems.append(
                f"ShardCount={wanted}: {name} has {open_} shards, and Kinesis takes half to "
                f"double in one deployment; deploy ShardCount={step} first"
            )


def left_buckets(
    target: Environment, values: dict[str, str], client: Callable[[str], Any], found: Findings
) -> None:
    """Buckets outlive their stack, and CloudFormation does not make what is there already."""
    if stack := stack_of(client("cloudformation"), target.stack):
        if stack["StackStatus"] in DEAD:
            found.problems.append(
                f"{target.stack} is {stack['StackStatus']}, and CloudFormation can only delete it; "
                f"`make remove ENV={target.name}` does so"
            )
        if stack["StackStatus"] != "REVIEW_IN_PROGRESS":  # which has no resources
            return
    account = client("sts").get_caller_identity()["Account"]
    suffix = f"-{target.region}-{account}-{values['Environment']}"
    names = [each["Name"] for each in client("s3").list_buckets()["Buckets"]]
    left = [
        name for name in names if name.startswith(f"{values['Company']}-") and name.endswith(suffix)
    ]
    if left:
        found.problems.append(
            f"there is no stack {target.stack}, but its buckets are there "
            f"({', '.join(sorted(left))}); `make restore ENV={target.name}` makes the stack with "
            f"them, `make remove ENV={target.name} EVENTS=delete` deletes them"
        )


def main() -> int:
    parser = Parser(description="checks before a deployment to AWS")
    parser.add_argument("environment", help="an environment of samconfig.toml")
    parser.add_argument("--dataset", default=DATASET, help="a folder of datasets/")
    arguments = parser.parse_args()
    try:
        if arguments.environment == "local":
            raise CommandError("local is the local cloud; `make up` builds and deploys for it")
        target = environment(arguments.environment, arguments.dataset)
        template = load(template_of(target.dataset))
        found = of_parameters(template, target.parameters, datetime.now(timezone.utc))
        # Those of this environment are among the problems already.
        found.problems += [
            each for each in misspelled(template["Parameters"]) if f"[{target.name}]" not in each
        ]
        if not found.problems:
            values = defaults_of(template) | target.parameters
            session = boto3.Session(region_name=target.region)
            number = session.client("sts").get_caller_identity()["Account"]
            say(f"goes to AWS account {number}, stack {target.stack} in {target.region}")
            account = of_account(target, values, session.client)
            found.problems += account.problems
            found.notes += account.notes
    except (CommandError, BotoCoreError, ClientError) as error:
        say(f"error: {sentence(error)}")
        return 1
    for note in found.notes:
        say(f"note: {note}")
    for problem in found.problems:
        say(f"error: {problem}")
    return 1 if found.problems else 0


if __name__ == "__main__":
    run(main)
