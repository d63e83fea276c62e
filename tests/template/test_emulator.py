"""The template as the local cloud takes it: what the emulator lacks is left out, and not named."""

from __future__ import annotations

import io
import json
import re
import socket
import zipfile
from collections.abc import Iterator
from typing import Any

from tests.template.rendered import TEMPLATE, load
from tools.local import cloud
from tools.local.emulator import for_emulator
from tools.local.functions import Environment, local_environment


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


def test_nothing_refers_to_what_the_emulator_lacks() -> None:
    template = load(TEMPLATE)
    fitted, differences = for_emulator(template)
    missing = template["Resources"].keys() - fitted["Resources"].keys()
    assert {"PipelineUnhealthyAlarm", "FunctionErrorsAlarm", "Budget"} <= missing
    assert not missing & set(referred(fitted["Resources"]))
    assert not missing & set(referred(fitted["Outputs"]))
    left_out = {name for names in differences.values() for name in names}
    assert missing <= left_out, "a deployment says what it left out"


def test_alarms_on_one_metric_are_deployed_as_they_are() -> None:
    template = load(TEMPLATE)
    fitted, _ = for_emulator(template)
    name = "SevereEventAlarm"
    assert fitted["Resources"][name] == template["Resources"][name]


def test_the_emulator_deploys_what_is_left() -> None:
    """The stack without its functions' code, which takes a build."""
    local = local_environment()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    fitted, _ = for_emulator(load(TEMPLATE))
    fitted["Globals"]["Function"]["CodeUri"] = "s3://code/functions.zip"
    cloud.start(port, local.region)
    try:
        s3 = cloud.client("s3", port, local.region)
        place = {"LocationConstraint": local.region}
        s3.create_bucket(Bucket="code", CreateBucketConfiguration=place)
        code = io.BytesIO()
        with zipfile.ZipFile(code, "w") as functions:
            functions.writestr("bootstrap", "#!/bin/sh\n")
        s3.put_object(Bucket="code", Key="functions.zip", Body=code.getvalue())
        s3.put_object(Bucket="code", Key="template.json", Body=json.dumps(fitted).encode())
        outputs = deployed(port, local)
        topics = cloud.client("sns", port, local.region).list_topics()["Topics"]
    finally:
        cloud.down(port)
    assert outputs["RawTableName"] == "us_accidents_raw"
    named = {outputs["AlertTopicArn"], outputs["AlarmTopicArn"]}
    assert {each["TopicArn"] for each in topics} == named


def deployed(port: int, local: Environment) -> dict[str, str]:
    """Deploys the template of the bucket `code`, and answers the stack's outputs."""
    formation = cloud.client("cloudformation", port, local.region)
    whose = {"StackName": local.stack, "ChangeSetName": "new"}
    given = [{"ParameterKey": k, "ParameterValue": v} for k, v in local.parameters.items()]
    formation.create_change_set(
        **whose,
        ChangeSetType="CREATE",
        TemplateURL=f"{cloud.endpoint(port)}/code/template.json",
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
        Parameters=given,
    )
    often = {"Delay": 1, "MaxAttempts": 90}
    formation.get_waiter("change_set_create_complete").wait(**whose, WaiterConfig=often)
    formation.execute_change_set(**whose)
    waiter = formation.get_waiter("stack_create_complete")
    waiter.wait(StackName=local.stack, WaiterConfig=often)
    (stack,) = formation.describe_stacks(StackName=local.stack)["Stacks"]
    return cloud.outputs_of(stack)
