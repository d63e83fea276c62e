"""Reads the state of each stage of a deployed stack, from the services.

Nothing here trusts a function's own counters: streams are read record by record, the lake through
Athena and metrics from CloudWatch. `alert_queue.py` gets the alerts from the topic.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cached_property
from typing import Any, TypeVar

from tools.local.cloud import Cloud
from tools.local.dataset import Dataset
from tools.local.kpl import user_records

# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricData.html
METRIC_QUERIES_PER_CALL = 500
METRIC_PERIOD = timedelta(hours=1)

# https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetRecords.html
RECORDS_PER_CALL = 10_000

T = TypeVar("T")


@dataclass(frozen=True)
class QueryResult:
    columns: list[str]
    types: list[str]
    rows: list[list[str | None]]
    bytes_scanned: int
    milliseconds: int


class QueryFailed(Exception):
    """Athena did not answer; the text is the query's own error."""


@dataclass(frozen=True)
class Stack:
    """A deployed stack: its data set, its outputs, and the clients of its services."""

    dataset: Dataset
    outputs: dict[str, str]
    client: Callable[[str], Any]

    @classmethod
    def of(cls, local: Cloud) -> Stack:
        """The stack in a local cloud."""
        return cls(Dataset.load(local.outputs["DatasetName"]), local.outputs, local.client)

    @cached_property
    def athena(self) -> Any:
        return self.client("athena")

    @cached_property
    def cloudwatch(self) -> Any:
        return self.client("cloudwatch")

    def severity_above(self, function: str) -> int:
        """The threshold that a deployed function, such as `Notify`, has at this moment."""
        name = self.outputs[f"{function}FunctionName"]
        found = self.client("lambda").get_function_configuration(FunctionName=name)
        return int(found["Environment"]["Variables"]["SEVERITY_ABOVE"])

    @property
    def alert_topic(self) -> str:
        """The topic of the alerts, which is a FIFO topic with `FifoAlerts=true`."""
        return self.outputs.get("AlertTopicArn") or self.outputs["AlertFifoTopicArn"]

    def raw_stream(self) -> StreamReader:
        return StreamReader(self.client("kinesis"), self.outputs["RawStreamName"])

    def severe_stream(self) -> StreamReader:
        return StreamReader(self.client("kinesis"), self.outputs["SevereStreamName"])

    def query(self, sql: str, deadline: float = 300) -> QueryResult:
        """Runs one statement in the stack's work group and database."""
        query_id = self.athena.start_query_execution(
            QueryString=sql,
            WorkGroup=self.outputs["WorkGroupName"],
            QueryExecutionContext={"Database": self.outputs["GlueDatabaseName"]},
        )["QueryExecutionId"]

        def finished() -> dict[str, Any] | None:
            answer = self.athena.get_query_execution(QueryExecutionId=query_id)["QueryExecution"]
            return None if answer["Status"]["State"] in ("QUEUED", "RUNNING") else answer

        execution = wait_for(finished, deadline, 0.1, lambda: f"query {query_id} did not end")
        status = execution["Status"]
        if status["State"] != "SUCCEEDED":
            reason = status.get("StateChangeReason") or f"it was {status['State'].lower()}"
            # The emulator's engine adds lines that quote its own form of the query.
            raise QueryFailed(reason.splitlines()[0])
        return self._results(query_id, execution)

    def _results(self, query_id: str, execution: dict[str, Any]) -> QueryResult:
        columns: list[dict[str, Any]] = []
        rows: list[list[str | None]] = []
        pages = self.athena.get_paginator("get_query_results").paginate(QueryExecutionId=query_id)
        for page in pages:
            result = page["ResultSet"]
            columns = result["ResultSetMetadata"]["ColumnInfo"]
            rows += [[cell.get("VarCharValue") for cell in row["Data"]] for row in result["Rows"]]
        if execution.get("StatementType") == "DML":
            # The first row of a query's result repeats the names of its columns.
            rows = rows[1:]
        statistics = execution["Statistics"]
        return QueryResult(
            [column["Name"] for column in columns],
            [column["Type"] for column in columns],
            rows,
            statistics.get("DataScannedInBytes", 0),
            statistics.get("TotalExecutionTimeInMillis", 0),
        )

    def raw_counts(self, *severities_above: int) -> tuple[int, ...]:
        """Rows in the raw layer, and those above each of the levels of severity."""
        severity = self.dataset.glue(self.dataset.severity)
        severities = self.dataset.severities
        counts = ["count(*)"] + [
            f"coalesce(sum(case when {severities.above(severity, above)} then 1 else 0 end), 0)"
            for above in severities_above
        ]
        result = self.query(f"select {', '.join(counts)} from {self.outputs['RawTableName']}")
        return tuple(int(value or 0) for value in result.rows[0])

    def analytical_rows(self) -> int:
        result = self.query(f"select count(*) from {self.outputs['AnalyticalTableName']}")
        return int(result.rows[0][0] or 0)

    def rejects_by_function(self) -> dict[str, int]:
        """How many rows and records each rejected, however many parts or rows a reject has."""
        table = self.outputs["RejectsTableName"]
        result = self.query(
            f"select function, sum(coalesce(row_count, 1)) from {table} "
            "where coalesce(part, 1) = 1 group by function"
        )
        return {str(name): int(count or 0) for name, count in result.rows}

    def alerted_events(self) -> int:
        """Events in the messages of the alerts table, each counted once for each message."""
        table = self.outputs["AlertsTableName"]
        result = self.query(f"select coalesce(sum(event_count), 0) from {table}")
        return int(result.rows[0][0] or 0)

    def failing_functions(self) -> list[str]:
        """The functions whose last batch from a stream or queue was not a success."""
        mappings = self.client("lambda").get_paginator("list_event_source_mappings").paginate()
        names = [name for key, name in self.outputs.items() if key.endswith("FunctionName")]
        return [
            name
            for page in mappings
            for mapping in page["EventSourceMappings"]
            for name in names
            if mapping["FunctionArn"].endswith(f":{name}")
            and not mapping.get("LastProcessingResult", "").startswith(("OK", "No records"))
        ]

    def top_areas(self, limit: int) -> list[tuple[str, int]]:
        """Where most severe events were, by the data set's area (a county, a department)."""
        result = self.query(top_areas_query(self, limit))
        return [(str(area), int(count or 0)) for area, count in result.rows]

    def metric_sums(self, since: datetime) -> dict[tuple[str, ...], float]:
        """The metric's sum by the values of the data set's dimensions, in their order.

        Only the series that carry most of the dimensions, which are all of them unless
        `MetricDimensionSets` says otherwise: the others count the same events again.
        """
        found = [
            ({d["Name"]: d["Value"] for d in metric["Dimensions"]}, metric)
            for metric in self.metrics()
        ]
        most = max((sorted(values) for values, _ in found), key=lambda s: (len(s), s), default=[])
        names = [name for name in self.dataset.dimensions if name in most]
        series = [
            (tuple(values[name] for name in names), metric)
            for values, metric in found
            if sorted(values) == most
        ]
        sums: dict[tuple[str, ...], float] = {}
        for start in range(0, len(series), METRIC_QUERIES_PER_CALL):
            sums |= self._sums_of(series[start : start + METRIC_QUERIES_PER_CALL], since)
        return sums

    def metrics(self) -> Iterator[dict[str, Any]]:
        """The series of the data set's metric."""
        pages = self.cloudwatch.get_paginator("list_metrics").paginate(
            Namespace=self.dataset.namespace, MetricName=self.dataset.metric
        )
        for page in pages:
            yield from page["Metrics"]

    def _sums_of(
        self, series: Sequence[tuple[tuple[str, ...], dict[str, Any]]], since: datetime
    ) -> dict[tuple[str, ...], float]:
        statistic = {"Period": int(METRIC_PERIOD.total_seconds()), "Stat": "Sum"}
        queries = [
            {"Id": f"m{index}", "MetricStat": {"Metric": metric, **statistic}}
            for index, (_, metric) in enumerate(series)
        ]
        sums = {values: 0.0 for values, _ in series}
        whole_hours = since.replace(minute=0, second=0, microsecond=0)
        for result in self.metric_data(queries, whole_hours):
            values = series[int(result["Id"][1:])][0]
            sums[values] += sum(result["Values"])
        return sums

    def metric_data(
        self, queries: Sequence[dict[str, Any]], since: datetime
    ) -> Iterator[dict[str, Any]]:
        """What CloudWatch answers to queries about the time until now, page by page."""
        if not queries:
            return
        pages = self.cloudwatch.get_paginator("get_metric_data").paginate(
            MetricDataQueries=queries, StartTime=since, EndTime=now() + METRIC_PERIOD
        )
        for page in pages:
            yield from page["MetricDataResults"]


def top_areas_query(stack: Stack, limit: int) -> str:
    area = stack.dataset.glue(stack.dataset.area)
    return (
        f"select {area}, count(*) as events from {stack.outputs['AnalyticalTableName']} "
        f"group by {area} order by events desc, {area} limit {limit}"
    )


class StreamReader:
    """Reads a stream from its trim horizon; each `poll` reads what has arrived since the last."""

    def __init__(self, kinesis: Any, stream: str) -> None:
        self._kinesis = kinesis
        self._iterators = {
            shard["ShardId"]: kinesis.get_shard_iterator(
                StreamName=stream,
                ShardId=shard["ShardId"],
                ShardIteratorType="TRIM_HORIZON",
            )["ShardIterator"]
            for page in kinesis.get_paginator("list_shards").paginate(StreamName=stream)
            for shard in page["Shards"]
        }
        self.events: list[dict[str, Any]] = []

    def poll(self) -> list[dict[str, Any]]:
        """Every event on the stream until now, shard by shard as they were read."""
        self.events += map(json.loads, self.new())
        return self.events

    def new(self) -> Iterator[bytes]:
        """What has come since the last time, shard by shard."""
        for shard in list(self._iterators):
            yield from self._catch_up(shard)

    def _catch_up(self, shard: str) -> Iterator[bytes]:
        while iterator := self._iterators[shard]:
            answer = self._kinesis.get_records(ShardIterator=iterator, Limit=RECORDS_PER_CALL)
            self._iterators[shard] = answer.get("NextShardIterator")
            for record in answer["Records"]:
                yield from user_records(record["Data"])
            # At the end, although there may be more by now: a busy stream has no last record.
            if not answer.get("MillisBehindLatest") and len(answer["Records"]) < RECORDS_PER_CALL:
                return


def percentile(values: Sequence[int], percent: float) -> int | None:
    """The nearest-rank percentile, or none of no values."""
    ordered = sorted(values)
    return ordered[math.ceil(percent / 100 * len(ordered)) - 1] if ordered else None


def now() -> datetime:
    return datetime.now(timezone.utc)


def timestamp(text: str) -> datetime:
    """An ISO-8601 time in UTC; Python 3.10 reads no `Z`."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def json_object(text: str) -> dict[str, Any]:
    """The JSON object that a text is, or an empty one."""
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def wait_for(
    condition: Callable[[], T | None], seconds: float, pause: float, otherwise: Callable[[], str]
) -> T:
    """The condition's first answer that is not none; past the deadline, `otherwise` is the error's
    text."""
    deadline = time.monotonic() + seconds
    while (answer := condition()) is None:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{otherwise()} within {seconds:.0f} s")
        time.sleep(pause)
    return answer
