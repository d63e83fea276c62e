"""A data set as its file describes it, for those who read what was made of its events."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.local.functions import DATASETS, tomllib
from tools.local.severity import Severities


@dataclass(frozen=True)
class Dataset:
    """The names that a data set gives to its events, read from `datasets/<name>/dataset.toml`."""

    name: str
    title: str
    id: str
    severity: str
    severities: Severities
    received_at: str
    area: str
    namespace: str
    metric: str
    dimensions: dict[str, str]
    columns: dict[str, dict[str, str]]
    location: tuple[str, str] | None  # the fields that hold latitude and longitude
    region: str
    severity_attribute: str  # of an alert
    label: tuple[str, ...]  # what names an event for people, besides its id and severity

    @classmethod
    def load(cls, name: str) -> Dataset:
        document = tomllib.loads((DATASETS / name / "dataset.toml").read_text(encoding="utf-8"))
        return cls(
            name=document["name"],
            title=document["title"],
            id=document["id"],
            severity=document["severity"],
            severities=Severities.read(document.get("severities")),
            received_at=document["received_at"],
            area=document["severe_partition_key"],
            namespace=document["metric"]["namespace"],
            metric=document["metric"]["name"],
            dimensions=document["metric"]["dimensions"],
            columns={column["name"]: column for column in document["column"]},
            location=tuple(document["location"][side] for side in ("latitude", "longitude"))
            if "location" in document
            else None,
            region=document["source_region"],
            severity_attribute=next(
                (
                    name
                    for name, column in document.get("alert", {}).get("attributes", {}).items()
                    if column == document["severity"]
                ),
                "severity",  # without a wording of its own
            ),
            label=tuple(
                name
                for name in document["projection"]
                if name not in (document["id"], document["severity"], document["received_at"])
            ),
        )

    @property
    def heading(self) -> str:
        """Its events as a heading, such as `US accidents`."""
        return f"{self.title[:1].upper()}{self.title[1:]}s"

    def named(self, level: int) -> str:
        """A level of severity for people."""
        return f"severity {self.severities.text(level)}"

    def label_of(self, event: dict[str, Any]) -> str:
        """What names an event for people, such as its city and county."""
        return ", ".join(str(event[name]) for name in self.label if event.get(name))

    def glue(self, name: str) -> str:
        """The Glue column of a field."""
        return self.columns[name]["column"]

    @property
    def queries(self) -> list[Path]:
        """The files of its saved queries."""
        return sorted((DATASETS / self.name / "queries").glob("*.sql"))
