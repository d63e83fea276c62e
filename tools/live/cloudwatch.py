"""What the live page asks CloudWatch about a deployed stack, and what the answers mean."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tools.local.dataset import Dataset

# The counts are those of the last hour: CloudWatch keeps seconds for three.
WINDOW = timedelta(hours=1)
CHART = timedelta(minutes=5)
MINUTE, SECOND, FIVE_MINUTES = 60, 1, 300

COUNTS_NAMESPACE = "perishable"
LATENCY = "EventToAlert"


@dataclass(frozen=True)
class Names:
    """The names by which a stack's metrics are found."""

    dataset: str
    environment: str
    function: str  # that of ingest, as the pattern of the others
    topic: str

    def of(self, part: str) -> str:
        """The name of a resource, such as `us-accidents-raw-prod`."""
        before, _, after = self.function.rpartition("-ingest-")
        return f"{before}-{part}-{after}"


def count_queries(names: Names) -> list[dict[str, Any]]:
    """The counts of the stages by their names on the page, and the percentiles."""

    def counted(name: str, metric: str, function: str) -> dict[str, Any]:
        dimensions = {
            "Dataset": names.dataset,
            "Environment": names.environment,
            "Function": function,
        }
        return query(name, COUNTS_NAMESPACE, metric, dimensions)

    def delivered(name: str, delivery: str) -> dict[str, Any]:
        stream = {"DeliveryStreamName": names.of(delivery)}
        return query(name, "AWS/Firehose", "DeliveryToS3.Records", stream)

    return [
        counted("accepted", "Delivered", "ingest"),
        counted("rejected", "Rejected", "ingest"),
        counted("severe", "Delivered", "transform"),
        counted("alerted", "Delivered", "notify"),
        delivered("raw", "raw"),
        delivered("analytical", "analytical"),
        query("messages", "AWS/SNS", "NumberOfMessagesPublished", {"TopicName": names.topic}),
    ]


def latency_queries(dataset: Dataset, names: Names) -> list[dict[str, Any]]:
    dimensions = {"Dataset": names.dataset, "Environment": names.environment}
    return [
        query(name, dataset.namespace, LATENCY, dimensions, name, FIVE_MINUTES)
        for name in ("p50", "p99")
    ]


def severity_queries(dataset: Dataset, texts: Sequence[str], period: int) -> list[dict[str, Any]]:
    """The severe events by severity, of those severities that have a series."""
    dimension = severity_dimension(dataset)
    return [
        query(f"s{place}", dataset.namespace, dataset.metric, {dimension: text}, period=period)
        for place, text in enumerate(texts)
    ]


def severity_dimension(dataset: Dataset) -> str:
    return next(name for name, column in dataset.dimensions.items() if column == dataset.severity)


def severity_texts(dataset: Dataset, metrics: Iterable[Mapping[str, Any]]) -> list[str]:
    """The severities that have a series of their own, which counts each event once."""
    dimension = severity_dimension(dataset)
    series = [{each["Name"]: each["Value"] for each in metric["Dimensions"]} for metric in metrics]
    return sorted(values[dimension] for values in series if set(values) == {dimension})


def query(
    name: str,
    namespace: str,
    metric: str,
    dimensions: Mapping[str, str],
    statistic: str = "Sum",
    period: int = MINUTE,
) -> dict[str, Any]:
    named = [{"Name": name, "Value": value} for name, value in dimensions.items()]
    return {
        "Id": name,
        "MetricStat": {
            "Metric": {"Namespace": namespace, "MetricName": metric, "Dimensions": named},
            "Period": period,
            "Stat": statistic,
        },
    }


def sums(results: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """The sum of each query; the pages of an answer repeat a query with more of its values."""
    found: Counter[str] = Counter()
    for result in results:
        found[result["Id"]] += round(sum(result["Values"]))
    return dict(found)


def latest(results: Iterable[Mapping[str, Any]]) -> dict[str, int | None]:
    """The latest value of each query, none if it has no value."""
    found: dict[str, list[tuple[datetime, float]]] = {}
    for result in results:
        found.setdefault(result["Id"], []).extend(zip(result["Timestamps"], result["Values"]))
    return {name: round(max(points)[1]) if points else None for name, points in found.items()}


def by_second(
    dataset: Dataset, texts: Sequence[str], results: Iterable[Mapping[str, Any]]
) -> Counter[tuple[int, int]]:
    """Severe events of each second and severity. Those that the data set does not list are one
    above the worst."""
    counts: Counter[tuple[int, int]] = Counter()
    unlisted = max(dataset.severities.levels.values()) + 1
    for result in results:
        text = texts[int(result["Id"][1:])]
        level = dataset.severities.levels.get(text, unlisted)
        for at, value in zip(result["Timestamps"], result["Values"]):
            if value:
                counts[int(at.timestamp()), level] += round(value)
    return counts
