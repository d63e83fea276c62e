"""Properties of the lake in the template that the local cloud cannot show."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest
import sqlglot
from sqlglot import exp

from tests.template.rendered import rendered
from tools.local.dataset import Dataset
from tools.local.functions import DATASET, DATASETS

TYPES = {"int": "bigint"}


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return Dataset.load(DATASET)


def columns(table: dict[str, Any]) -> dict[str, str]:
    described = table["Properties"]["TableInput"]["StorageDescriptor"]["Columns"]
    return {column["Name"]: column["Type"] for column in described}


def described(dataset: Dataset) -> dict[str, str]:
    """The columns of the data set's file with their Glue types, without the severity."""
    return {
        column["column"]: TYPES.get(column["type"], column["type"])
        for column in dataset.columns.values()
        if column["column"] != "severity"
    }


def test_the_analytical_layer_is_parquet_in_folders(dataset: Dataset) -> None:
    resources = rendered().resources
    delivery = resources["AnalyticalDelivery"]["Properties"]
    conversion = delivery["ExtendedS3DestinationConfiguration"]["DataFormatConversionConfiguration"]
    serializer = conversion["OutputFormatConfiguration"]["Serializer"]
    assert serializer == {"ParquetSerDe": {"Compression": "SNAPPY"}}
    assert columns(resources["AnalyticalTable"]) == {
        **described(dataset),
        "unlisted_severity": "bigint",
    }


PARTITIONS_AT_MOST = 2_500  # that a query of a table without a date lists


def listed_by_athena(table: dict[str, Any]) -> int:
    """The partitions that the projection of a table has."""
    parameters, count = table["Properties"]["TableInput"]["Parameters"], 1
    for key in table["Properties"]["TableInput"]["PartitionKeys"]:
        assert parameters[f"projection.{key['Name']}.type"] == "integer"
        first, last = map(int, parameters[f"projection.{key['Name']}.range"].split(","))
        count *= last - first + 1
    return count


def test_athena_lists_few_partitions_by_default() -> None:
    tables = rendered().of("AWS::Glue::Table")
    counts = {
        name: listed_by_athena(table) for name, table in tables.items() if name != "LatestView"
    }
    days = 2 * 12 * 31
    assert counts == {
        "RawTable": days,
        "AnalyticalTable": 3 * days,
        "RejectsTable": days,
        "AlertsTable": days,
    }
    assert max(counts.values()) <= PARTITIONS_AT_MOST


@pytest.mark.parametrize(
    ("above", "severities"), [("0", "1,5"), ("1", "2,5"), ("2", "3,5"), ("3", "4,5")]
)
def test_athena_looks_for_the_severities_that_transform_passes_on(
    above: str, severities: str
) -> None:
    table = rendered({"TransformSeverityAbove": above}).properties("AnalyticalTable")
    assert table["TableInput"]["Parameters"]["projection.severity.range"] == severities


def rules(resources: dict[str, Any], bucket: str) -> dict[str, dict[str, Any]]:
    configuration = resources[bucket]["Properties"]["LifecycleConfiguration"]
    return {rule["Id"]: rule for rule in configuration["Rules"]}


def test_retention_times_are_parameters() -> None:
    given = {
        "LakeColdAfterDays": "45",
        "LakeExpireAfterDays": "400",
        "FailuresExpireAfterDays": "50",
    }
    resources = rendered(given).resources
    for bucket in ("RawBucket", "AnalyticalBucket"):
        found = rules(resources, bucket)
        (cold,) = found["Cold"]["Transitions"]
        assert cold == {"StorageClass": "STANDARD_IA", "TransitionInDays": "45"}
        assert found["Expiry"]["ExpirationInDays"] == "400"
    for bucket in ("RejectsBucket", "FailuresBucket"):
        assert rules(resources, bucket)["Expiry"]["ExpirationInDays"] == "50"
    assert "Expiry" not in rules(rendered().resources, "RawBucket"), (
        "the lake never expires by default"
    )


def test_every_saved_query_is_in_the_workgroup(dataset: Dataset) -> None:
    saved = {
        each["Properties"]["Name"]: each["Properties"]
        for each in rendered().resources.values()
        if each["Type"] == "AWS::Athena::NamedQuery"
    }
    assert set(saved) == {file.stem for file in dataset.queries}
    for file in dataset.queries:
        assert saved[file.stem]["QueryString"] == file.read_text(encoding="utf-8")
        assert saved[file.stem]["WorkGroup"] == "<QueryWorkGroup>"
        assert saved[file.stem]["Description"].endswith("?")


def test_the_workgroup_bounds_what_a_query_scans() -> None:
    configuration = rendered().properties("QueryWorkGroup")["WorkGroupConfiguration"]
    assert configuration["BytesScannedCutoffPerQuery"] == 2**40


def test_the_view_has_athenas_stored_form(dataset: Dataset) -> None:
    view = rendered().properties("LatestView")["TableInput"]
    (encoded,) = re.fullmatch(r"/\* Presto View: (\S+) \*/", view["ViewOriginalText"]).groups()
    definition = json.loads(base64.b64decode(encoded))
    named = {column["name"] for column in definition["columns"]}
    assert named == {column["Name"] for column in view["StorageDescriptor"]["Columns"]}
    assert named == {*described(dataset), "severity"}
    select = sqlglot.parse_one(definition["originalSql"], read="athena")
    assert select.named_selects == [column["name"] for column in definition["columns"]]
    assert select.find(exp.Table).name == f"{DATASET}_analytical"
    (severity,) = (each for each in select.selects if each.alias_or_name == "severity")
    assert severity.sql("athena") == 'COALESCE("unlisted_severity", "severity") AS "severity"'


@pytest.mark.parametrize("folder", sorted(DATASETS.iterdir()), ids=lambda folder: folder.name)
def test_all_of_a_data_set_is_in_its_folder(folder: Path) -> None:
    files = {file.name for file in folder.iterdir()}
    needed = {"README.md", "dataset.toml", "grafana.json", "grafana-alerts.json", "queries"}
    assert needed <= files
    assert files <= {*needed, "series.tsv"}
