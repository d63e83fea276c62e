"""A local cloud with the stack, but without the functions' code, which takes a build."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from datetime import timedelta

import pytest

from tests.ports import free_port
from tests.template.rendered import TEMPLATE, load
from tools.local import cloud
from tools.local.cloud import Cloud
from tools.local.functions import functions_of, local_environment
from tools.local.services import alarms
from tools.local.stack import now


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    local, port, folder = local_environment(), free_port(), tmp_path_factory.mktemp("bare")
    with zipfile.ZipFile(folder / "functions.zip", "w") as functions:
        functions.writestr("bootstrap", "#!/bin/sh\n")
    template = load(TEMPLATE)
    for function in functions_of(template):
        function["Properties"]["CodeUri"] = "functions.zip"
    (folder / "template.json").write_text(json.dumps(template), encoding="utf-8")
    with pytest.MonkeyPatch.context() as environment:
        # The tests evaluate the alarms, at times of their own.
        environment.setenv(alarms.VARIABLE, "0")
        cloud.start(port, local.region)
    try:
        cloud.deploy(port, local, folder / "template.json")
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
