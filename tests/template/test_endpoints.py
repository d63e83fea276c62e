"""The domains of `shared/src/aws/partitions.tsv` are those of AWS's own list of partitions."""

from __future__ import annotations

from typing import Any

import botocore.loaders
import pytest

from tools.local.commands import REPOSITORY

FILE = REPOSITORY / "shared" / "src" / "aws" / "partitions.tsv"
LOADER = botocore.loaders.Loader()
PARTITIONS = LOADER.load_data("partitions")["partitions"]
# The services that are called by AWS's general rule for endpoints.
SERVICES = ("glue", "lambda")


def domains(region: str) -> list[str]:
    lines = FILE.read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines if not line.startswith("#")]
    return next(domains for prefix, *domains in rows if region.startswith(prefix))


@pytest.mark.parametrize("partition", PARTITIONS, ids=lambda partition: partition["id"])
def test_a_region_has_the_domains_of_its_partition(partition: dict[str, Any]) -> None:
    outputs = partition["outputs"]
    regions = [name for name in partition["regions"] if not name.endswith("-global")]
    assert regions
    for region in regions:
        assert domains(region) == [outputs["dnsSuffix"], outputs["dualStackDnsSuffix"]], region


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_follows_the_general_rule(service: str) -> None:
    def urls(value: Any) -> set[str]:
        if isinstance(value, list):
            return {url for each in value for url in urls(each)}
        if not isinstance(value, dict):
            return set()
        own = {value["url"]} if isinstance(value.get("url"), str) else set()
        return own | urls(list(value.values()))

    suffixes = ("dnsSuffix", "dualStackDnsSuffix")
    assert urls(LOADER.load_service_model(service, "endpoint-rule-set-1")) == {
        f"https://{service}{fips}.{{Region}}.{{PartitionResult#{suffix}}}"
        for fips in ("", "-fips")
        for suffix in suffixes
    }
