"""The template for the local cloud has no resources that the emulator does not support."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tests.template.rendered import TEMPLATE, load
from tools.local.cloud import Cloud
from tools.local.emulator import for_emulator, without


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
    template = load(TEMPLATE)
    fitted, differences = for_emulator(template)
    missing = template["Resources"].keys() - fitted["Resources"].keys()
    assert "Budget" in missing
    assert not missing & set(referred(fitted["Resources"]))
    assert not missing & set(referred(fitted["Outputs"]))
    left_out = {name for names in differences.values() for name in names}
    assert missing <= left_out, "a deployment says what it left out"


def test_alarms_are_deployed_as_they_are() -> None:
    template = load(TEMPLATE)
    fitted, _ = for_emulator(template)
    for name, resource in template["Resources"].items():
        if resource["Type"].startswith("AWS::CloudWatch::"):
            # There is no mapping for a replay, because it is a consumer.
            assert fitted["Resources"][name] == without(resource, {"ReplayMapping"})


def test_the_emulator_deploys_what_is_left(bare: Cloud) -> None:
    assert bare.outputs["RawTableName"] == "us_accidents_raw"
    named = {bare.outputs["AlertTopicArn"], bare.outputs["AlarmTopicArn"]}
    topics = bare.client("sns").list_topics()["Topics"]
    assert {each["TopicArn"] for each in topics} == named
