"""A local cloud with the stack, but without the functions' code, which takes a build."""

from __future__ import annotations

import io
import json
import socket
import zipfile
from collections.abc import Iterator
from datetime import timedelta

import pytest

from tests.template.rendered import TEMPLATE, load
from tools.local import alarms, cloud
from tools.local.cloud import Cloud
from tools.local.emulator import for_emulator
from tools.local.functions import Environment, local_environment
from tools.local.stack import now


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def bare() -> Iterator[Cloud]:
    local, port = local_environment(), free_port()
    fitted = for_emulator(load(TEMPLATE))
    fitted["Globals"]["Function"]["CodeUri"] = "s3://code/functions.zip"
    with pytest.MonkeyPatch.context() as environment:
        # The tests evaluate the alarms, at times of their own.
        environment.setenv(alarms.VARIABLE, "0")
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
        deploy(port, local)
        yield cloud.connect(port)
    finally:
        cloud.down(port)


def values(
    bare: Cloud, namespace: str, name: str, statistic: str = "Sum", **dimensions: str
) -> list[float]:
    """The values of a metric in each of the last minutes."""
    of = [{"Name": key, "Value": value} for key, value in dimensions.items()]
    metric = {"Namespace": namespace, "MetricName": name, "Dimensions": of}
    stat = {"Metric": metric, "Period": 60, "Stat": statistic}
    answer = bare.client("cloudwatch").get_metric_data(
        MetricDataQueries=[{"Id": "m", "MetricStat": stat}],
        StartTime=now() - timedelta(minutes=30),
        EndTime=now() + timedelta(minutes=1),
    )
    return answer["MetricDataResults"][0]["Values"]


def deploy(port: int, local: Environment) -> None:
    """Deploys the template of the bucket `code`."""
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
