"""The checks of a deployment before it builds anything."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from tests.template.rendered import TEMPLATE, defaults, load
from tools.local import checks
from tools.local.functions import SAMCONFIG, Environment, tomllib

DESCRIBED = load(TEMPLATE)
DEFAULTS = defaults(DESCRIBED)
ENVIRONMENTS = tomllib.loads(SAMCONFIG.read_text("utf-8"))
NOW = datetime(2026, 11, 29, tzinfo=timezone.utc)
TARGET = Environment("dev", "us-accidents-dev", "eu-west-1", {"Environment": "dev"})


def problems(given: dict[str, str]) -> list[str]:
    return checks.of_parameters(DESCRIBED, given, NOW).problems


@pytest.mark.parametrize("name", sorted(ENVIRONMENTS.keys() - {"version"}))
def test_every_environment_of_the_repository_can_be_deployed(name: str) -> None:
    settings = ENVIRONMENTS[name]["global"]["parameters"]
    given = dict(pair.split("=", 1) for pair in settings.get("parameter_overrides", []))
    found = checks.of_parameters(DESCRIBED, given, NOW)
    assert found.problems == []
    assert found.notes == []


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"ShardCuont": "2"}, "is not a parameter of template.yaml; did you mean ShardCount?"),
        ({"StreamMode": "ONDEMAND"}, "StreamMode=ONDEMAND: expected one of ON_DEMAND, PROVISIONED"),
        ({"ShardCount": "many"}, "ShardCount=many: expected a whole number"),
        ({"ShardCount": "2.5"}, "ShardCount=2.5: expected a whole number"),
        ({"ShardCount": "nan"}, "ShardCount=nan: expected a whole number"),
        ({"ShardCount": "1e2"}, "ShardCount=1e2: expected a whole number"),
        ({"ShardCount": "0"}, "ShardCount=0: expected 1 to 500"),
        ({"AlertEmail": "ops"}, "AlertEmail=ops: must be one e-mail address"),
        ({"MaximumRecordAgeSeconds": "30"}, "expected -1, or 60 to less than"),
        ({"MaximumRecordAgeSeconds": "259200"}, "MaximumRecordAgeSeconds=259200: expected -1"),
        ({"MaximumRetryAttempts": "10000"}, "would expire before it is given up"),
        ({"DeliveryBufferSeconds": "900"}, "DeliveryFreshnessSeconds=900: the alarm"),
        ({"LakeExpireAfterDays": "60"}, "S3 refuses an expiry that is not after"),
        ({"ReplayFrom": "4000000000"}, "is in the future"),
        ({"ReplayFrom": "1700000000"}, "keeps the last 72 hours only"),
        ({"ProjectedYears": "2020,2022"}, "would not show what arrives in 2026"),
        ({"ProjectedYears": "2028,2026"}, "expected the earlier year first"),
        ({"PackRanges": "16", "EnhancedFanOut": "true"}, "PackRanges cannot be used with Enhanced"),
        ({"PackRanges": "16", "ReplayFrom": "1795900000"}, "PackRanges cannot be used with Replay"),
        ({"FifoAlerts": "true", "AlertEmail": "a@b.org"}, "FifoAlerts=true cannot be used with"),
        ({"MonthlyBudgetDollars": "100"}, "MonthlyBudgetDollars is given without"),
    ],
)
def test_invalid_settings_are_named_with_the_expected_value(
    given: dict[str, str], says: str
) -> None:
    assert any(says in problem for problem in problems(given)), problems(given)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"PackRanges": "16"},
        {"EnhancedFanOut": "true", "ReplayFrom": str(int(NOW.timestamp()) - 3600)},
        {"FifoAlerts": "true", "AlarmEmail": "a@b.org"},
        {"MaximumRecordAgeSeconds": "7200"},
        {"LakeExpireAfterDays": "400"},
    ],
)
def test_valid_settings_pass(given: dict[str, str]) -> None:
    assert problems(given) == []


@pytest.mark.parametrize(
    ("given", "listed"),
    [
        ({}, 0),
        ({"ProjectedYears": "2026,2028"}, 3 * 372 * 3),
        ({"ProjectedYears": "2026,2028", "TransformSeverityAbove": "3"}, 0),
        ({"TransformSeverityAbove": "0"}, 2 * 372 * 5),
    ],
)
def test_partitions_that_make_a_query_slow_are_named(given: dict[str, str], listed: int) -> None:
    notes = checks.of_parameters(DESCRIBED, given, NOW).notes
    assert [f"lists {listed} partitions" in note for note in notes] == ([True] if listed else [])


@pytest.mark.parametrize(
    ("sets", "says"),
    [
        ("", []),
        ("severity_accident,county_accident+severity_accident", []),
        ("severity_accident", ["panel of one area"]),
        ("city_accident", ["severe-event and unlisted-severity", "panel of one area"]),
    ],
)
def test_alarms_without_a_metric_are_named(sets: str, says: list[str]) -> None:
    notes = checks.of_parameters(DESCRIBED, {"MetricDimensionSets": sets}, NOW).notes
    assert len(notes) == len(says)
    assert all(text in note for text, note in zip(says, notes))


def asked(service: str, *answers: tuple[str, dict[str, Any]]) -> Any:
    """A client with these answers, validated by the service's own model."""
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    client = boto3.client(service, region_name="eu-west-1", **keys)
    stub = Stubber(client)
    for operation, answer in answers:
        if "code" in answer:
            stub.add_client_error(operation, answer["code"])
        else:
            stub.add_response(operation, answer)
    stub.activate()
    return client


def concurrency_of(limit: int, **given: str) -> checks.Findings:
    answer = {"AccountLimit": {"ConcurrentExecutions": limit}}
    client = asked("lambda", ("get_account_settings", answer))
    found = checks.Findings()
    checks.concurrency(TARGET, DEFAULTS | given, lambda _: client, found)
    return found


def test_a_new_accounts_concurrency_is_named_with_the_needed_quota() -> None:
    found = concurrency_of(10)
    assert found.problems == []
    (note,) = found.notes
    assert "10 concurrent executions and this stack uses up to 17" in note
    assert "request-service-quota-increase --service-code lambda --quota-code L-B99A9384" in note
    (problem,) = concurrency_of(10, IngestReservedConcurrency="5").problems
    assert "must keep 100 unreserved" in problem
    assert concurrency_of(1000, IngestReservedConcurrency="50") == checks.Findings()


def shards_of(mode: str, shards: int, wanted: str) -> list[str]:
    summary = {
        "StreamName": "s",
        "StreamARN": "arn:aws:kinesis:eu-west-1:000000000000:stream/s",
        "StreamStatus": "ACTIVE",
        "RetentionPeriodHours": 72,
        "StreamCreationTimestamp": NOW,
        "EnhancedMonitoring": [],
        "OpenShardCount": shards,
        "StreamModeDetails": {"StreamMode": mode},
    }
    answer = ("describe_stream_summary", {"StreamDescriptionSummary": summary})
    client = asked("kinesis", answer, answer)
    found = checks.Findings()
    values = DEFAULTS | {"StreamMode": "PROVISIONED", "ShardCount": wanted}
    checks.shards(TARGET, values, lambda _: client, found)
    return found.problems


@pytest.mark.parametrize(
    ("mode", "shards", "wanted", "says"),
    [
        ("PROVISIONED", 2, "4", None),
        ("PROVISIONED", 2, "5", "deploy ShardCount=4 first"),
        ("PROVISIONED", 9, "4", "deploy ShardCount=5 first"),
        ("PROVISIONED", 8, "4", None),
        ("ON_DEMAND", 8, "2", "deploy StreamMode=PROVISIONED with ShardCount=8 first"),
        ("ON_DEMAND", 8, "8", None),
    ],
)
def test_shards_change_by_steps_that_kinesis_accepts(
    mode: str, shards: int, wanted: str, says: str | None
) -> None:
    found = shards_of(mode, shards, wanted)
    assert (found == []) if says is None else all(says in each for each in found) and found


LEFT = "perishable-raw-eu-west-1-000000000000-dev"


def left_buckets(described: dict[str, Any]) -> list[str]:
    """What is said about a bucket that an earlier stack left, with this answer about the stack."""
    clients = {
        "cloudformation": asked("cloudformation", ("describe_stacks", described)),
        "sts": asked("sts", ("get_caller_identity", {"Account": "000000000000"})),
        "s3": asked("s3", ("list_buckets", {"Buckets": [{"Name": LEFT}, {"Name": "other"}]})),
    }
    found = checks.Findings()
    checks.left_buckets(TARGET, DEFAULTS, clients.__getitem__, found)
    return found.problems


def test_buckets_of_a_removed_stack_are_named() -> None:
    (problem,) = left_buckets({"code": "ValidationError"})
    assert LEFT in problem
    assert "make restore ENV=dev" in problem


def test_a_replay_needs_its_own_concurrency() -> None:
    (note,) = concurrency_of(20, ReplayFrom="1795900000").notes
    assert "uses up to 21" in note


@pytest.mark.parametrize(("region", "refused"), [("eu-west-1", False), ("us-east-1", True)])
def test_a_key_is_one_of_the_region(region: str, refused: bool) -> None:
    given = {"EncryptionKeyArn": f"arn:aws:kms:{region}:000000000000:key/5a1e7c0d"}
    found = checks.Findings()
    checks.key_region(TARGET, DEFAULTS | given, asked, found)
    assert [f"the key is in {region}" in each for each in found.problems] == [True] * refused
    checks.key_region(TARGET, DEFAULTS, asked, none := checks.Findings())
    assert none.problems == []


@pytest.mark.parametrize(
    ("status", "says"),
    [
        ("UPDATE_COMPLETE", []),
        ("IMPORT_COMPLETE", []),
        ("UPDATE_ROLLBACK_COMPLETE", []),
        ("ROLLBACK_COMPLETE", ["make remove ENV=dev"]),
        ("DELETE_FAILED", ["make remove ENV=dev"]),
        # After a failed `make restore`, or a first deployment that never began.
        ("REVIEW_IN_PROGRESS", ["make restore ENV=dev"]),
    ],
)
def test_a_stack_that_cannot_be_deployed_is_named(status: str, says: list[str]) -> None:
    stack = {"StackName": TARGET.stack, "StackStatus": status, "CreationTime": NOW}
    problems = left_buckets({"Stacks": [stack]})
    assert len(problems) == len(says)
    assert all(text in problem for text, problem in zip(says, problems))


def test_missing_permissions_to_check_the_account_block_nothing() -> None:
    denied = {"code": "AccessDeniedException"}
    clients = {
        "lambda": asked("lambda", ("get_account_settings", denied)),
        "cloudformation": asked("cloudformation", ("describe_stacks", denied)),
    }
    found = checks.of_account(TARGET, DEFAULTS, clients.__getitem__)
    assert found.problems == []
    assert len(found.notes) == 2
