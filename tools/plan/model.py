"""What a rate of events needs of each service, and what that costs a month.

Pure: a workload, the prices and what a record takes come in, lines of a bill go out.
`docs/COSTS.md` explains the formulas and `tests/plan` works them by hand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, inf
from typing import Any

GB = 1e9
MB = 1e6
MIB = 1024 * 1024
SECONDS_PER_HOUR = 3600

# A shard, and how full it is planned: a retry or a second of more than the mean still fits in.
# Source: Kinesis Data Streams developer guide, "Quotas and limits".
SHARD_BYTES = 1 * MB
SHARD_RECORDS = 1_000
SHARD_BYTES_OUT = 2 * MB
SHARD_FILL = 0.7
# On demand there are shards for twice the traffic, four at least.
# Source: Kinesis Data Streams developer guide, "Choose the data stream capacity mode".
ON_DEMAND_HEADROOM = 2
ON_DEMAND_SHARDS = 4

# Source: Lambda developer guide, "Configure Lambda function memory" and "Using AWS Lambda with
# Amazon Kinesis".
CORE_MB = 1_769
PAYLOAD_BYTES = 6 * MB
ENVELOPE_BYTES = 450  # what the event holds of a record in addition to its data
POLLS_PER_SECOND = 1  # of a mapping, for each shard

# Entries of a request, of PutRecords and PutRecordBatch alike.
REQUEST_ENTRIES = 500
SNS_ENTRIES = 10
# How long an invocation of notify sends before one digest reports the rest of its batch.
BURST_SECONDS = 2
METRIC_DATA = 1_000

# Sizes of memory to compare, up to the one with a whole core.
MEMORIES_MB = (128, 256, 512, 1024, CORE_MB)
# How much more than the cheapest a faster size may cost.
SPEED_PREMIUM = 1.1

# A KPL record holds 64 KiB at most as this project packs it; each record in it costs its lengths
# and index.
PACK_BYTES = 64 * 1024
PACK_OVERHEAD_BYTES = 7

LOG_BYTES_PER_INVOCATION = 1_100  # the counts, and Lambda's own three lines
LOG_BYTES_PER_ID = 12  # of an event in the log of each function that it passes, as "A-1234567",
COUNT_SERIES = 4 * 10  # four functions, ten metrics each
UNREADABLE_SERIES = 2  # cells and rows that ingest could not read, in months that have any
UNREADABLE_COLUMN_SERIES = 2  # such cells by column: two times, in files that a spreadsheet saved
LATENCY_SERIES = 2  # EventToMetric and EventToAlert


@dataclass(frozen=True)
class Workload:
    """What is asked: a steady rate, and the parameters of the stack that matter to the bill."""

    eps: float
    severe: float = 0.195  # share of the events above transform's threshold
    alerted: float = 0.027  # share above notify's
    mode: str = "on-demand"
    pack: bool = False  # KPL records on both streams
    memory_mb: int = 256
    architecture: str = "arm64"
    batch: int = 1_000  # records in a batch of transform
    metrics_batch: int = 1_000
    notify_batch: int = 1_000
    alerts_per_second: float = 8  # at the topic, whatever comes; 0 for no bound
    window_seconds: float = 0.0  # of transform
    metrics_window_seconds: float = 1.0
    notify_window_seconds: float = 2.0
    ingest_rows: int = 500  # rows in a request to ingest
    call_ms: float = 15.0  # an API call, from within the region
    retention_hours: float = 72.0
    buffer_seconds: float = 60.0
    buffer_mib: float = 64.0
    series: int = 1_000  # distinct combinations of severity, city and county in a month
    combinations: float = 0.6  # distinct combinations for each severe event of a batch
    gzip_ratio: float = 8.0
    parquet_ratio: float = 6.0
    athena_tb: float = 0.1  # scanned in a month
    log_ids: bool = True  # the ids of events in the logs of the functions
    alarm_metrics: int = 0  # metrics that alarms read
    composite_alarms: int = 0
    dashboards: int = 0


@dataclass(frozen=True)
class Line:
    """One line of the bill."""

    service: str
    what: str
    need: str
    dollars: float


@dataclass(frozen=True)
class Stream:
    """The load of one stream."""

    name: str
    records: float  # user records a second
    record_bytes: float
    readers: int
    packed: bool = False

    @property
    def sent_bytes(self) -> float:
        """Bytes of a record as it is sent; with packing, those of a user record's share."""
        return self.record_bytes + (PACK_OVERHEAD_BYTES if self.packed else 0)

    @property
    def records_sent(self) -> float:
        """Records of the stream a second."""
        if not self.packed:
            return self.records
        return self.records / self.records_per_pack

    @property
    def records_per_pack(self) -> int:
        return max(1, int(PACK_BYTES // self.sent_bytes))

    @property
    def bytes(self) -> float:
        return self.records * self.sent_bytes

    def billed(self, unit: float) -> float:
        """Bytes a second, each record of the stream rounded up to the unit."""
        per_record = self.bytes / self.records_sent if self.records else 0
        return self.records_sent * ceil(per_record / unit) * unit

    def shards(self, mode: str) -> int:
        """Shards that carry the load, by bytes, by records and by what the readers fetch."""
        need = max(
            self.bytes / SHARD_BYTES,
            self.records_sent / SHARD_RECORDS,
            self.readers * self.bytes / SHARD_BYTES_OUT,
        )
        if mode == "on-demand":
            return max(ON_DEMAND_SHARDS, ceil(ON_DEMAND_HEADROOM * need))
        return max(1, ceil(need / SHARD_FILL))


@dataclass(frozen=True)
class Function:
    """A function at work: its invocations a second and how long each takes."""

    name: str
    invocations: float
    seconds: float

    @property
    def concurrency(self) -> float:
        return self.invocations * self.seconds


def tiered(amount: float, tiers: Sequence[Sequence[float]]) -> float:
    """The price of an amount in tiers, each of which is so many units at so much."""
    dollars, left = 0.0, amount
    for size, price in tiers:
        taken = min(left, size)
        dollars += taken * price
        left -= taken
    return dollars


def duration(records: float, cpu_us: float, calls: float, workload: Workload) -> float:
    """Seconds of an invocation: its records at the function's share of a core, then its calls."""
    share = min(1.0, workload.memory_mb / CORE_MB)
    return records * cpu_us / 1e6 / share + calls * workload.call_ms / 1e3


def batches(stream: Stream, shards: int, size: int, window: float) -> float:
    """Invocations a second of a mapping: full batches, or one for each poll or window and shard."""
    payload = stream.records_per_pack if stream.packed else 1
    # Packed or not, a batch ends at the payload; a packed record counts once against the batch
    # size.
    by_payload = PAYLOAD_BYTES / (stream.sent_bytes * 4 / 3 + ENVELOPE_BYTES / payload)
    full = stream.records / min(size * payload, by_payload)
    timed = shards / max(window, 1 / POLLS_PER_SECOND)
    return min(stream.records_sent, max(full, timed))


def batched(stream: Stream, workload: Workload, size: int, window: float) -> tuple[float, float]:
    """Invocations a second of a mapping, and the records of one."""
    invocations = batches(stream, stream.shards(workload.mode), size, window)
    return invocations, stream.records / invocations if invocations else 0


def month(prices: Mapping[str, Any]) -> float:
    """The seconds of a month."""
    return prices["hours_per_month"] * SECONDS_PER_HOUR


def dollars_of_stream(stream: Stream, workload: Workload, prices: Mapping[str, Any]) -> list[Line]:
    def line(what: str, need: str, dollars: float) -> Line:
        return Line("Kinesis", f"{stream.name}: {what}", need, dollars)

    hours = prices["hours_per_month"]
    hours_extended = max(0.0, workload.retention_hours - 24)
    if workload.mode == "on-demand":
        price = prices["kinesis_on_demand"]
        billed = stream.billed(price["record_unit_bytes"]) * month(prices) / GB
        fetched = stream.readers * stream.bytes * month(prices) / GB
        kept = stream.bytes * hours_extended * SECONDS_PER_HOUR / GB
        return [
            line("stream", f"{hours} hours", hours * price["stream_hour"]),
            line("in", f"{billed:,.0f} GB", billed * price["gb_in"]),
            line("out", f"{fetched:,.0f} GB", fetched * price["gb_out"]),
            line("kept beyond a day", f"{kept:,.0f} GB-months", kept * price["gb_month_extended"]),
        ]
    price = prices["kinesis_provisioned"]
    shards = stream.shards("provisioned")
    shard_hours = shards * hours
    units = stream.billed(price["put_unit_bytes"]) / price["put_unit_bytes"] * month(prices) / 1e6
    lines = [
        line("shards", f"{shards:,} shards", shard_hours * price["shard_hour"]),
        line("put units", f"{units:,.0f} million", units * price["million_put_units"]),
    ]
    if hours_extended:
        dollars = shard_hours * price["shard_hour_extended"]
        lines.append(line("kept beyond a day", f"{shards:,} shards", dollars))
    return lines


def dollars_of_function(function: Function, workload: Workload, prices: Mapping[str, Any]) -> Line:
    price = prices["lambda"]
    gb_seconds = function.concurrency * workload.memory_mb / 1024 * month(prices)
    requests = function.invocations * month(prices) / 1e6
    dollars = gb_seconds * price["gb_second"][workload.architecture]
    dollars += requests * price["million_requests"]
    need = f"{function.concurrency:,.1f} at once, {requests:,.0f} million calls"
    return Line("Lambda", function.name, need, dollars)


def firehose_gb(records: float, record_bytes: float, prices: Mapping[str, Any]) -> float:
    """GB a month, each record rounded up. Records that come packed are billed one by one."""
    unit = prices["firehose"]["record_unit_bytes"]
    return records * ceil(record_bytes / unit) * unit * month(prices) / GB


def objects_per_month(
    bytes_per_second: float, workload: Workload, prefixes: int, prices: Mapping[str, Any]
) -> float:
    """Objects that Firehose writes: one a prefix when a buffer's time is up, or it is full."""
    if bytes_per_second == 0:
        return 0
    by_size = bytes_per_second / (workload.buffer_mib * MIB)
    return max(prefixes / workload.buffer_seconds, by_size) * month(prices)


@dataclass(frozen=True)
class Need:
    """What a workload needs, service by service."""

    raw: Stream
    severe: Stream
    functions: Sequence[Function]
    put_metric_data: float  # calls a second
    publishes: float  # messages a second
    calls_per_10_000: Mapping[str, float]


def need(workload: Workload, measured: Mapping[str, Any]) -> Need:
    """What this pipeline needs for the workload."""
    size, cpu = measured["bytes"], measured["cpu_us_per_record"]
    raw = Stream("stream 1", workload.eps, size["raw"], 2, workload.pack)
    severe = Stream("stream 2", workload.eps * workload.severe, size["severe"], 2, workload.pack)

    requests, rows = workload.eps / workload.ingest_rows, workload.ingest_rows
    ingest_calls = ceil(rows / REQUEST_ENTRIES)
    ingest = Function("ingest", requests, duration(rows, cpu["ingest"], ingest_calls, workload))

    at_transform, records = batched(raw, workload, workload.batch, workload.window_seconds)
    # Both outputs at the same time: the batch waits for the longer.
    transform_calls = ceil(records * workload.severe / REQUEST_ENTRIES)
    seconds = duration(records, cpu["transform"], transform_calls, workload)
    transform = Function("transform", at_transform, seconds)

    at_metrics, records = batched(
        severe, workload, workload.metrics_batch, workload.metrics_window_seconds
    )
    metric_calls = ceil(records * workload.combinations / METRIC_DATA)
    seconds = duration(records, cpu["metrics"], metric_calls, workload)
    metrics = Function("metrics", at_metrics, seconds)

    alerts = need_of_alerts(severe, workload, cpu["notify"])
    put_metric_data = at_metrics * metric_calls + alerts.latency_calls
    per_second = {
        "kinesis:PutRecords": requests * ingest_calls + at_transform * transform_calls,
        "firehose:PutRecordBatch": at_transform * transform_calls,
        "cloudwatch:PutMetricData": put_metric_data,
        "sns:PublishBatch": alerts.publish_calls,
    }
    return Need(
        raw,
        severe,
        (ingest, transform, metrics, alerts.notify),
        put_metric_data,
        alerts.publishes,
        {
            name: calls / workload.eps * 10_000 if workload.eps else 0
            for name, calls in per_second.items()
        },
    )


@dataclass(frozen=True)
class AlertsNeed:
    """What the alerts need: notify, and its calls and messages a second."""

    notify: Function
    publishes: float
    publish_calls: float
    latency_calls: float


def need_of_alerts(severe: Stream, workload: Workload, cpu_us: float) -> AlertsNeed:
    invocations, records = batched(
        severe, workload, workload.notify_batch, workload.notify_window_seconds
    )
    alerted = workload.eps * workload.alerted
    alerts = records * alerted / severe.records if severe.records else 0
    calls = alerts / SNS_ENTRIES
    calls = min(max(calls, 1), ceil(calls)) if calls else 0
    pauses = 0.0
    if workload.alerts_per_second:
        # One message in a request and a pause after each; what does not fit is in the last.
        shards = severe.shards(workload.mode)
        pause = shards / workload.alerts_per_second
        alerts = calls = min(alerts, max(BURST_SECONDS / pause, 1))
        pauses = alerts * pause
        # A shard's batches are handed over one after the other, and grow while one waits.
        invocations = min(invocations, shards / pauses) if pauses else invocations
    publishes = min(alerted, workload.alerts_per_second or inf)
    # A call for the latency of what an invocation alerted about, where there is any.
    latency_calls = min(alerted, invocations)
    all_calls = calls + (latency_calls / invocations if invocations else 0)
    seconds = duration(records, cpu_us, all_calls, workload) + pauses
    notify = Function("notify", invocations, seconds)
    return AlertsNeed(notify, publishes, min(publishes, invocations * calls), latency_calls)


@dataclass(frozen=True)
class Memory:
    """A size of the functions' memory, which their share of a core follows."""

    mb: int
    dollars: float  # of Lambda a month
    ms_of_full_batch: Mapping[str, float]  # by function


def memories(
    workload: Workload, prices: Mapping[str, Any], measured: Mapping[str, Any]
) -> list[Memory]:
    """What each size of memory costs and how long a full batch takes with it.

    The time is the processor's: measured for the sizes that were measured, calculated by the share
    of a core for others.
    """
    found = []
    for mb in MEMORIES_MB:
        sized = replace(workload, memory_mb=mb)
        functions = need(sized, measured).functions
        times = {
            name: by_size.get(str(mb), by_size[str(CORE_MB)] * CORE_MB / mb)
            for name, by_size in measured["ms_of_full_batch"].items()
        }
        dollars = sum(dollars_of_function(each, sized, prices).dollars for each in functions)
        found.append(Memory(mb, dollars, times))
    return found


def recommended(found: Sequence[Memory]) -> Memory:
    """The fastest of those that cost hardly more than the cheapest."""
    cheapest = min(memory.dollars for memory in found)
    fitting = [memory for memory in found if memory.dollars <= cheapest * SPEED_PREMIUM]
    return max(fitting, key=lambda memory: memory.mb)


def bill(workload: Workload, prices: Mapping[str, Any], measured: Mapping[str, Any]) -> list[Line]:
    """The lines of this pipeline's bill for a month."""
    needs = need(workload, measured)
    series = workload.series + COUNT_SERIES + LATENCY_SERIES
    series += UNREADABLE_SERIES + UNREADABLE_COLUMN_SERIES
    messages = needs.publishes * month(prices) / 1e6
    return [
        *dollars_of_stream(needs.raw, workload, prices),
        *dollars_of_stream(needs.severe, workload, prices),
        *(dollars_of_function(function, workload, prices) for function in needs.functions),
        *lake_lines(needs, workload, prices, measured["bytes"]),
        *cloudwatch_lines(needs.put_metric_data, series, prices),
        *log_lines(needs, workload, prices),
        *watch_lines(workload, prices),
        Line(
            "SNS",
            "alerts",
            f"{messages:,.1f} million messages",
            messages * prices["sns"]["million_publishes"],
        ),
    ]


def lake_lines(
    needs: Need, workload: Workload, prices: Mapping[str, Any], size: Mapping[str, float]
) -> list[Line]:
    """What Firehose writes, what S3 keeps of it, and the queries."""

    def line(what: str, need: str, dollars: float) -> Line:
        return Line("Firehose", what, need, dollars)

    firehose, s3 = prices["firehose"], prices["s3"]
    severe = needs.severe.records
    raw_gb = firehose_gb(workload.eps, size["raw"], prices)
    analytical_gb = firehose_gb(severe, size["analytical"], prices)
    # A row of the alerts table is far shorter than what Firehose bills at least.
    alerts_gb = firehose_gb(needs.publishes, 1, prices)
    # The tiers count all that the account brings in together.
    gb_in = raw_gb + analytical_gb + alerts_gb
    price_in = tiered(gb_in, firehose["gb_in"]) / gb_in if gb_in else 0
    analytical_bytes = severe * size["analytical"]
    actual_gb = analytical_bytes * month(prices) / GB
    objects = objects_per_month(analytical_bytes, workload, 2, prices)
    by_severity = actual_gb * firehose["gb_partitioned"]
    by_severity += objects / 1e3 * firehose["thousand_objects_partitioned"]
    to_parquet = analytical_gb * firehose["gb_converted"]
    parquet = actual_gb / workload.parquet_ratio
    kept = parquet * s3["gb_month"] + objects / 1e3 * s3["thousand_puts"]
    return [
        line("raw: in", f"{raw_gb:,.0f} GB", raw_gb * price_in),
        line("analytical: in", f"{analytical_gb:,.0f} GB", analytical_gb * price_in),
        line("alerts: in", f"{alerts_gb:,.0f} GB", alerts_gb * price_in),
        line("analytical: to Parquet", f"{analytical_gb:,.0f} GB", to_parquet),
        line(
            "analytical: by severity", f"{actual_gb:,.0f} GB, {objects:,.0f} objects", by_severity
        ),
        raw_objects(workload, size["raw"], prices),
        Line("S3", "analytical, Parquet", f"{parquet:,.0f} GB", kept),
        queries(workload, prices),
    ]


def raw_objects(workload: Workload, record_bytes: float, prices: Mapping[str, Any]) -> Line:
    """A month's events, kept a month."""
    bytes_per_second = workload.eps * record_bytes
    stored = bytes_per_second / workload.gzip_ratio * month(prices) / GB
    objects = objects_per_month(bytes_per_second, workload, 1, prices)
    dollars = stored * prices["s3"]["gb_month"] + objects / 1e3 * prices["s3"]["thousand_puts"]
    return Line("S3", "raw, gzip", f"{stored:,.0f} GB, {objects:,.0f} objects", dollars)


def queries(workload: Workload, prices: Mapping[str, Any]) -> Line:
    terabytes = workload.athena_tb
    return Line(
        "Athena", "queries", f"{terabytes:g} TB", terabytes * prices["athena"]["tb_scanned"]
    )


def cloudwatch_lines(calls: float, series: int, prices: Mapping[str, Any]) -> list[Line]:
    price = prices["cloudwatch"]
    thousands = calls * month(prices) / 1e3
    dollars = thousands * price["thousand_put_metric_data"]
    return [
        Line("CloudWatch", "PutMetricData", f"{thousands / 1e3:,.1f} million calls", dollars),
        Line("CloudWatch", "series", f"{series:,}", tiered(series, price["series_month"])),
    ]


def log_lines(needs: Need, workload: Workload, prices: Mapping[str, Any]) -> list[Line]:
    invocations = sum(function.invocations for function in needs.functions)
    lines = [logs_line("logs", invocations * LOG_BYTES_PER_INVOCATION, prices)]
    if workload.log_ids:
        # ingest and transform log every event, metrics and notify the severe ones.
        logged = 2 * needs.raw.records + 2 * needs.severe.records
        lines.append(logs_line("ids in the logs", logged * LOG_BYTES_PER_ID, prices))
    return lines


def logs_line(what: str, bytes_per_second: float, prices: Mapping[str, Any]) -> Line:
    gigabytes = bytes_per_second * month(prices) / GB
    dollars = gigabytes * prices["cloudwatch"]["log_gb_in"]
    return Line("CloudWatch", what, f"{gigabytes:,.0f} GB", dollars)


def watch_lines(workload: Workload, prices: Mapping[str, Any]) -> list[Line]:
    """Alarms, each by the metrics that it reads, the one over them, and dashboards."""
    price = prices["cloudwatch"]
    metrics, composite = workload.alarm_metrics, workload.composite_alarms
    dollars = metrics * price["alarm_metric_month"] + composite * price["composite_alarm_month"]
    boards = workload.dashboards
    lines = [
        Line("CloudWatch", "alarms", f"{metrics} metrics, {composite} composite", dollars),
        Line("CloudWatch", "dashboards", f"{boards}", boards * price["dashboard_month"]),
    ]
    return [line for line in lines if line.dollars]
