"""The template for the local cloud has no resources that the emulator does not support."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tests.template.rendered import TEMPLATE, load
from tools.local.cloud import Cloud
from tools.local.commands import REPOSITORY
from tools.local.emulator import for_emulator, without
from tools.local.services import alarms, evaluation, firehose, metrics

PAGE = (REPOSITORY / "docs" / "LOCAL_DIFFERENCES.md").read_text(encoding="utf-8")
DESCRIBED = load(TEMPLATE)
FITTED = for_emulator(load(TEMPLATE))
MISSING = DESCRIBED["Resources"].keys() - FITTED["Resources"].keys()


def referred(value: Any) -> Iterator[str]:
    """The resources and parameters that a value refers to."""
    if isinstance(value, list):
        for each in value:
            yield from referred(each)
    elif isinstance(value, dict):
        for key, each in value.items():
            if key == "Ref":
                yield each
            elif key == "Fn::GetAtt":
                yield each[0] if isinstance(each, list) else each.partition(".")[0]
            elif key == "Fn::Sub":
                text, own = each if isinstance(each, list) else (each, {})
                names = re.findall(r"\$\{([A-Za-z0-9]+)[.}]", text)
                yield from (name for name in names if name not in own)
                yield from referred(list(own.values()))
            else:
                yield from referred(each)


def test_nothing_refers_to_resources_unknown_to_the_emulator() -> None:
    assert "Budget" in MISSING
    assert not MISSING & set(referred(FITTED["Resources"]))
    assert not MISSING & set(referred(FITTED["Outputs"]))


def test_alarms_are_deployed_as_they_are() -> None:
    for name, resource in DESCRIBED["Resources"].items():
        if resource["Type"].startswith("AWS::CloudWatch::"):
            # A replay is a consumer, and has no mapping.
            assert FITTED["Resources"][name] == without(resource, {"ReplayMapping"})


def test_the_emulator_deploys_what_is_left(bare: Cloud) -> None:
    assert bare.outputs["RawTableName"] == "us_accidents_raw"
    named = {bare.outputs["AlertTopicArn"], bare.outputs["AlarmTopicArn"]}
    topics = bare.client("sns").list_topics()["Topics"]
    assert {each["TopicArn"] for each in topics} == named


def test_the_page_of_differences_names_every_type_that_is_left_out() -> None:
    for name in MISSING:
        assert f"`{DESCRIBED['Resources'][name]['Type']}`" in PAGE, name


def test_only_what_refuses_plain_http_is_taken_out_of_a_policy() -> None:
    fitted = FITTED["Resources"]
    for name, resource in DESCRIBED["Resources"].items():
        document = resource.get("Properties", {}).get("PolicyDocument")
        if document is None:
            continue
        kept = fitted[name]["Properties"]["PolicyDocument"]["Statement"] if name in fitted else []
        for statement in document["Statement"]:
            condition = statement.get("Condition", {}).get("Bool", {})
            refuses = "aws:SecureTransport" in condition and statement["Effect"] == "Deny"
            assert (statement in kept) != refuses, name


def test_every_difference_has_its_test() -> None:
    rows = re.findall(r"^\| (?!service|---)(.+?) \| (.+?) \| (.+?) \|$", PAGE, re.MULTILINE)
    assert len(rows) >= 20
    for service, difference, tests in rows:
        assert len(difference) > 20, service
        named = re.findall(r"\[`(\w+)`\]\(\.\./(tests/[\w/.]+)\)", tests)
        assert named, f"{service}: {difference}"
        for function, file in named:
            text = (REPOSITORY / file).read_text(encoding="utf-8")
            assert re.search(rf"\b{function}\b", text), f"{file} has no {function}"


def test_the_page_has_the_numbers_of_the_code() -> None:
    assert f"Intervals are {firehose.INTERVALS_ARE_SHORTER_BY} times shorter" in PAGE
    assert f"evaluated every {alarms.EVERY_SECONDS:.0f} seconds" in PAGE
    assert f"range is {evaluation.EXTRA_PERIODS} periods longer" in PAGE
    assert f"come every {metrics.QUEUE_SECONDS} seconds" in PAGE
