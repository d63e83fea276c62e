"""What a rate of events needs of each service, what that costs a month, and where the quotas end.

Pure: a workload, the prices and what a record takes come in, lines and limits go out.
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
WORTH_FOR_SPEED = 1.1

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
class Limit:
    """A quota, what is needed of it, and the rate of events at which it ends."""

    service: str
    quota: str
    need: float
    default: float
    unit: str
    ask: str
    ends_at_eps: float = inf

    @property
    def exceeded(self) -> bool:
        return self.need > self.default


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


def dollars_of_stream(stream: Stream, workload: Workload, prices: Mapping[str, Any]) -> list[Line]:
    hours = prices["hours_per_month"]
    month = hours * SECONDS_PER_HOUR
    days_extended = max(0.0, workload.retention_hours - 24)
    if workload.mode == "on-demand":
        price = prices["kinesis_on_demand"]
        billed = stream.billed(price["record_unit_bytes"]) * month / GB
        fetched = stream.readers * stream.bytes * month / GB
        kept = stream.bytes * days_extended * SECONDS_PER_HOUR / GB
        return [
            Line(
                "Kinesis", f"{stream.name}: stream", f"{hours} hours", hours * price["stream_hour"]
            ),
            Line("Kinesis", f"{stream.name}: in", f"{billed:,.0f} GB", billed * price["gb_in"]),
            Line("Kinesis", f"{stream.name}: out", f"{fetched:,.0f} GB", fetched * price["gb_out"]),
            Line(
                "Kinesis",
                f"{stream.name}: kept beyond a day",
                f"{kept:,.0f} GB-months",
                kept * price["gb_month_extended"],
            ),
        ]
    price = prices["kinesis_provisioned"]
    shards = stream.shards("provisioned")
    units = stream.billed(price["put_unit_bytes"]) / price["put_unit_bytes"] * month / 1e6
    lines = [
        Line(
            "Kinesis",
            f"{stream.name}: shards",
            f"{shards:,} shards",
            shards * hours * price["shard_hour"],
        ),
        Line(
            "Kinesis",
            f"{stream.name}: put units",
            f"{units:,.0f} million",
            units * price["million_put_units"],
        ),
    ]
    if days_extended:
        lines.append(
            Line(
                "Kinesis",
                f"{stream.name}: kept beyond a day",
                f"{shards:,} shards",
                shards * hours * price["shard_hour_extended"],
            )
        )
    return lines


def dollars_of_function(function: Function, workload: Workload, prices: Mapping[str, Any]) -> Line:
    month = prices["hours_per_month"] * SECONDS_PER_HOUR
    price = prices["lambda"]
    gb_seconds = function.concurrency * workload.memory_mb / 1024 * month
    requests = function.invocations * month / 1e6
    dollars = gb_seconds * price["gb_second"][workload.architecture]
    dollars += requests * price["million_requests"]
    need = f"{function.concurrency:,.1f} at once, {requests:,.0f} million calls"
    return Line("Lambda", function.name, need, dollars)


def firehose_gb(records: float, record_bytes: float, prices: Mapping[str, Any]) -> float:
    """GB a month, each record rounded up. Records that come packed are billed one by one."""
    unit = prices["firehose"]["record_unit_bytes"]
    month = prices["hours_per_month"] * SECONDS_PER_HOUR
    return records * ceil(record_bytes / unit) * unit * month / GB


def objects_per_month(
    bytes_per_second: float, workload: Workload, prefixes: int, prices: Mapping[str, Any]
) -> float:
    """Objects that Firehose writes: one a prefix when a buffer's time is up, or it is full."""
    if bytes_per_second == 0:
        return 0
    month = prices["hours_per_month"] * SECONDS_PER_HOUR
    by_size = bytes_per_second / (workload.buffer_mib * MIB)
    return max(prefixes / workload.buffer_seconds, by_size) * month


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
    alerted = workload.eps * workload.alerted
    raw_shards, severe_shards = raw.shards(workload.mode), severe.shards(workload.mode)

    requests = workload.eps / workload.ingest_rows
    ingest_calls = ceil(workload.ingest_rows / REQUEST_ENTRIES)
    ingest = Function(
        "ingest", requests, duration(workload.ingest_rows, cpu["ingest"], ingest_calls, workload)
    )
    at_transform = batches(raw, raw_shards, workload.batch, workload.window_seconds)
    per_batch = raw.records / at_transform if at_transform else 0
    # Both outputs at the same time: the batch waits for the longer.
    transform_calls = ceil(per_batch * workload.severe / REQUEST_ENTRIES)
    transform = Function(
        "transform", at_transform, duration(per_batch, cpu["transform"], transform_calls, workload)
    )
    at_metrics = batches(
        severe, severe_shards, workload.metrics_batch, workload.metrics_window_seconds
    )
    per_metrics = severe.records / at_metrics if at_metrics else 0
    metric_calls = ceil(per_metrics * workload.combinations / METRIC_DATA)
    metrics = Function(
        "metrics", at_metrics, duration(per_metrics, cpu["metrics"], metric_calls, workload)
    )
    at_notify = batches(
        severe, severe_shards, workload.notify_batch, workload.notify_window_seconds
    )
    per_notify = severe.records / at_notify if at_notify else 0
    alerts = per_notify * alerted / severe.records if severe.records else 0
    publish_calls = alerts / SNS_ENTRIES
    publish_calls = min(max(publish_calls, 1), ceil(publish_calls)) if publish_calls else 0
    pauses = 0.0
    if workload.alerts_per_second:
        # One message in a request and a pause after each; what does not fit is in the last.
        pause = severe_shards / workload.alerts_per_second
        alerts = publish_calls = min(alerts, max(BURST_SECONDS / pause, 1))
        pauses = alerts * pause
    # A shard's batches are handed over one after the other, and grow while one waits.
    at_notify = min(at_notify, severe_shards / pauses) if pauses else at_notify
    publishes = min(alerted, workload.alerts_per_second or inf)
    # A call for the latency of what an invocation alerted about, where there is any.
    latency_calls = min(alerted, at_notify)
    notify_calls = publish_calls + (latency_calls / at_notify if at_notify else 0)
    notify = Function(
        "notify",
        at_notify,
        duration(per_notify, cpu["notify"], notify_calls, workload) + pauses,
    )
    put_metric_data = at_metrics * metric_calls + latency_calls
    per_second = {
        "kinesis:PutRecords": requests * ingest_calls + at_transform * transform_calls,
        "firehose:PutRecordBatch": at_transform * transform_calls,
        "cloudwatch:PutMetricData": put_metric_data,
        "sns:PublishBatch": min(publishes, at_notify * publish_calls),
    }
    return Need(
        raw,
        severe,
        (ingest, transform, metrics, notify),
        put_metric_data,
        publishes,
        {
            name: calls / workload.eps * 10_000 if workload.eps else 0
            for name, calls in per_second.items()
        },
    )


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
    fitting = [memory for memory in found if memory.dollars <= cheapest * WORTH_FOR_SPEED]
    return max(fitting, key=lambda memory: memory.mb)


def bill(workload: Workload, prices: Mapping[str, Any], measured: Mapping[str, Any]) -> list[Line]:
    """The lines of this pipeline's bill for a month."""
    needs = need(workload, measured)
    month = prices["hours_per_month"] * SECONDS_PER_HOUR
    lines = dollars_of_stream(needs.raw, workload, prices)
    lines += dollars_of_stream(needs.severe, workload, prices)
    lines += [dollars_of_function(function, workload, prices) for function in needs.functions]

    firehose = prices["firehose"]
    raw_gb = firehose_gb(workload.eps, measured["bytes"]["raw"], prices)
    severe_eps = workload.eps * workload.severe
    analytical_bytes = severe_eps * measured["bytes"]["analytical"]
    analytical_gb = firehose_gb(severe_eps, measured["bytes"]["analytical"], prices)
    # A row of the alerts table is far shorter than what Firehose bills at least.
    alerts_gb = firehose_gb(needs.publishes, 1, prices)
    # The tiers count all that the account brings in together.
    gb_in = raw_gb + analytical_gb + alerts_gb
    price_in = tiered(gb_in, firehose["gb_in"]) / gb_in if gb_in else 0
    objects = objects_per_month(analytical_bytes, workload, 2, prices)
    actual_gb = analytical_bytes * month / GB
    lines += [
        Line("Firehose", "raw: in", f"{raw_gb:,.0f} GB", raw_gb * price_in),
        Line("Firehose", "analytical: in", f"{analytical_gb:,.0f} GB", analytical_gb * price_in),
        Line("Firehose", "alerts: in", f"{alerts_gb:,.0f} GB", alerts_gb * price_in),
        Line(
            "Firehose",
            "analytical: to Parquet",
            f"{analytical_gb:,.0f} GB",
            analytical_gb * firehose["gb_converted"],
        ),
        Line(
            "Firehose",
            "analytical: by severity",
            f"{actual_gb:,.0f} GB, {objects:,.0f} objects",
            actual_gb * firehose["gb_partitioned"]
            + objects / 1e3 * firehose["thousand_objects_partitioned"],
        ),
    ]
    lines += s3_lines(workload, needs.raw.records * measured["bytes"]["raw"], prices, "raw, gzip")
    parquet = analytical_bytes / workload.parquet_ratio * month / GB
    lines += [
        Line(
            "S3",
            "analytical, Parquet",
            f"{parquet:,.0f} GB",
            parquet * prices["s3"]["gb_month"] + objects / 1e3 * prices["s3"]["thousand_puts"],
        ),
        Line(
            "Athena",
            "queries",
            f"{workload.athena_tb:g} TB",
            workload.athena_tb * prices["athena"]["tb_scanned"],
        ),
    ]
    series = workload.series + COUNT_SERIES + LATENCY_SERIES
    series += UNREADABLE_SERIES + UNREADABLE_COLUMN_SERIES
    lines += cloudwatch_lines(needs.put_metric_data, series, prices)
    invocations = sum(function.invocations for function in needs.functions)
    logs = invocations * LOG_BYTES_PER_INVOCATION * month / GB
    lines.append(logs_line("logs", logs, prices))
    if workload.log_ids:
        # ingest and transform log every event, metrics and notify the severe ones.
        logged = 2 * needs.raw.records + 2 * needs.severe.records
        lines.append(logs_line("ids in the logs", logged * LOG_BYTES_PER_ID * month / GB, prices))
    lines += watch_lines(workload, prices)
    millions = needs.publishes * month / 1e6
    lines += [
        Line(
            "SNS",
            "alerts",
            f"{millions:,.1f} million messages",
            millions * prices["sns"]["million_publishes"],
        ),
    ]
    return lines


def s3_lines(
    workload: Workload, bytes_per_second: float, prices: Mapping[str, Any], what: str
) -> list[Line]:
    """A month's events, kept a month."""
    month = prices["hours_per_month"] * SECONDS_PER_HOUR
    stored = bytes_per_second / workload.gzip_ratio * month / GB
    objects = objects_per_month(bytes_per_second, workload, 1, prices)
    dollars = stored * prices["s3"]["gb_month"] + objects / 1e3 * prices["s3"]["thousand_puts"]
    return [Line("S3", what, f"{stored:,.0f} GB, {objects:,.0f} objects", dollars)]


def cloudwatch_lines(calls: float, series: int, prices: Mapping[str, Any]) -> list[Line]:
    month = prices["hours_per_month"] * SECONDS_PER_HOUR
    price = prices["cloudwatch"]
    thousands = calls * month / 1e3
    return [
        Line(
            "CloudWatch",
            "PutMetricData",
            f"{thousands / 1e3:,.1f} million calls",
            thousands * price["thousand_put_metric_data"],
        ),
        Line("CloudWatch", "series", f"{series:,}", tiered(series, price["series_month"])),
    ]


def logs_line(what: str, gigabytes: float, prices: Mapping[str, Any]) -> Line:
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


# The cookbook's Flink job: records a second that one KPU (a core) filters. Measured with Flink
# SQL 2.3: 45,000 a second on two cores, over the same records as JSON files.
FLINK_RECORDS_PER_KPU = 22_500


def cookbook_bill(
    workload: Workload, prices: Mapping[str, Any], measured: Mapping[str, Any]
) -> list[Line]:
    """The lines of the cookbook's architecture at the same rate, its limits left out of account.

    One PutRecord for each event, Flink on KPUs, a call of PutMetricData for each severe event,
    Firehose for the raw layer, a Grafana workspace. Its streams are billed in the same mode and
    kept for as long.
    """
    size, cpu = measured["bytes"], measured["cpu_us_per_record"]
    hours = prices["hours_per_month"]
    month = hours * SECONDS_PER_HOUR
    severe_eps = workload.eps * workload.severe
    plain = replace(workload, pack=False)
    raw = Stream("stream 1", workload.eps, size["cookbook_raw"], 2)
    severe = Stream("stream 2", severe_eps, size["severe"], 1)

    instances = max(1, ceil(workload.eps * cpu["python_normalise"] / 1e6 / prices["ec2"]["vcpus"]))
    lines = [
        Line(
            "EC2",
            "producer",
            f"{instances:,} instances",
            instances * hours * prices["ec2"]["instance_hour"],
        )
    ]
    lines += dollars_of_stream(raw, plain, prices)
    kpus = max(1, ceil(workload.eps / FLINK_RECORDS_PER_KPU))
    flink = prices["flink"]
    lines.append(
        Line(
            "Flink",
            "filter",
            f"{kpus:,} KPU and one to run them",
            (kpus + 1) * hours * flink["kpu_hour"]
            + kpus * flink["storage_gb_per_kpu"] * flink["storage_gb_month"],
        )
    )
    lines += dollars_of_stream(severe, plain, prices)
    # One event after the other, each waiting for its own call.
    at_once = batches(severe, severe.shards(plain.mode), 100, 0)
    per_batch = severe_eps / at_once if at_once else 0
    seconds = duration(per_batch, cpu["python_metrics"], per_batch, plain)
    lines.append(dollars_of_function(Function("count", at_once, seconds), plain, prices))
    raw_gb = firehose_gb(workload.eps, size["cookbook_raw"], prices)
    lines.append(
        Line(
            "Firehose", "raw: in", f"{raw_gb:,.0f} GB", tiered(raw_gb, prices["firehose"]["gb_in"])
        )
    )
    lines += s3_lines(plain, workload.eps * size["cookbook_raw"], prices, "raw, gzip")
    lines += cloudwatch_lines(severe_eps, workload.series, prices)
    logs = at_once * LOG_BYTES_PER_INVOCATION * month / GB
    lines += [
        Line("CloudWatch", "logs", f"{logs:,.0f} GB", logs * prices["cloudwatch"]["log_gb_in"]),
        Line("Grafana", "workspace", "one editor", prices["grafana"]["editor_month"]),
        Line(
            "Athena",
            "queries",
            f"{workload.athena_tb:g} TB",
            workload.athena_tb * prices["athena"]["tb_scanned"],
        ),
    ]
    return lines


# Default quotas of an account in us-east-1, us-west-2 and eu-west-1.
ON_DEMAND_BYTES = 10_000 * MB
SHARDS = 500
CONCURRENCY = 1_000
DIRECT_PUT_BYTES = 5 * MIB
DIRECT_PUT_RECORDS = 500_000
DIRECT_PUT_REQUESTS = 2_000
PUT_METRIC_DATA = 500
MAILS = 10  # to one address; hard, and SNS suspends the subscription
PUBLISHES = 9_000  # eu-west-1 and us-west-2; 30,000 in us-east-1
PARTITION_BYTES = 1_000 * MB


def limits(workload: Workload, measured: Mapping[str, Any]) -> list[Limit]:
    """Where each service's default quota ends, and what to ask for."""
    needs = need(workload, measured)
    severe_eps = workload.eps * workload.severe
    analytical = severe_eps * measured["bytes"]["analytical"]
    concurrency = sum(function.concurrency for function in needs.functions)
    puts = needs.calls_per_10_000["firehose:PutRecordBatch"] * workload.eps / 10_000
    if workload.mode == "on-demand":
        streams = Limit(
            "Kinesis",
            "write throughput of an on-demand stream",
            needs.raw.bytes / MB,
            ON_DEMAND_BYTES / MB,
            "MB/s",
            "more than 10 GB/s by support; a new stream takes 4 MB/s, and later twice its highest"
            " of the last 30 days, so start it provisioned, or raise the load in steps",
        )
    else:
        shards = needs.raw.shards("provisioned") + needs.severe.shards("provisioned")
        streams = Limit(
            "Kinesis",
            "shards of the account",
            shards,
            SHARDS,
            "shards",
            f"`Shards per Region` of {ceil(shards * 1.5):,}, and raise the template's ShardCount",
        )
    return [
        streams,
        Limit(
            "Lambda",
            "concurrent executions",
            concurrency,
            CONCURRENCY,
            "at once",
            f"`Concurrent executions` of {ceil(concurrency * 2):,}; ParallelizationFactor above 1"
            " where a batch takes longer than its shard fills one",
        ),
        Limit(
            "Firehose",
            "direct put, bytes",
            analytical / MIB,
            DIRECT_PUT_BYTES / MIB,
            "MiB/s",
            f"a direct put limit of {ceil(analytical * 1.5 / MIB):,} MiB/s for the analytical"
            " delivery stream",
        ),
        Limit(
            "Firehose",
            "direct put, records",
            severe_eps,
            DIRECT_PUT_RECORDS,
            "records/s",
            "it rises with the bytes",
        ),
        Limit(
            "Firehose",
            "direct put, requests",
            puts,
            DIRECT_PUT_REQUESTS,
            "requests/s",
            "a longer window of transform in template.yaml, or the same limit as for the bytes",
        ),
        Limit(
            "Firehose",
            "bytes of one active partition",
            analytical * (1 - (workload.alerted / workload.severe if workload.severe else 0)) / MB,
            PARTITION_BYTES / MB,
            "MB/s",
            "a second partition key",
        ),
        Limit(
            "CloudWatch",
            "PutMetricData",
            needs.put_metric_data,
            PUT_METRIC_DATA,
            "calls/s",
            f"`Rate of PutMetricData requests` of {ceil(needs.put_metric_data * 1.5):,}, or a"
            " longer MetricsWindowSeconds",
        ),
        Limit(
            "SNS",
            "messages to one mail address",
            needs.publishes,
            MAILS,
            "messages/s",
            "a lower AlertsPerSecond, since SNS suspends the subscription and raises no quota",
        ),
        Limit(
            "SNS",
            "messages published",
            needs.publishes,
            PUBLISHES,
            "messages/s",
            f"`Messages Published per Second` of {ceil(needs.publishes * 1.5):,}, "
            "or AlertsPerSecond",
        ),
    ]


def with_ends(workload: Workload, measured: Mapping[str, Any]) -> list[Limit]:
    """The limits, each with the rate of events at which it ends, other things being equal."""
    return [
        replace(limit, ends_at_eps=end_of(index, workload, measured))
        for index, limit in enumerate(limits(workload, measured))
    ]


def end_of(index: int, workload: Workload, measured: Mapping[str, Any]) -> float:
    """The rate at which a limit is used up, by halving; the need never falls as the rate grows."""
    low, high = 0.0, 1e9

    def exceeded(eps: float) -> bool:
        return limits(replace(workload, eps=eps), measured)[index].exceeded

    if not exceeded(high):
        return inf
    while high - low > max(1.0, low * 1e-4):
        middle = (low + high) / 2
        low, high = (low, middle) if exceeded(middle) else (middle, high)
    return low


def cookbook_limits(workload: Workload) -> list[Limit]:
    """Where the cookbook's architecture ends: its own design, not the account, is in the way."""
    # Its partition key is the severity: four values, four fifths of the events under one of them,
    # and a shard takes a thousand records a second however many shards there are.
    commonest = max(1 - workload.severe - 0.009, 0.25)
    hottest = workload.eps * commonest
    return [
        Limit(
            "Kinesis",
            "records of one shard, for the commonest severity",
            hottest,
            SHARD_RECORDS,
            "records/s",
            "nothing: the partition key has to change",
            SHARD_RECORDS / commonest,
        ),
        Limit(
            "CloudWatch",
            "PutMetricData, one call for each severe event",
            workload.eps * workload.severe,
            PUT_METRIC_DATA,
            "calls/s",
            "nothing will do for long: events have to be counted together",
            PUT_METRIC_DATA / workload.severe if workload.severe else inf,
        ),
    ]
