"""What the cookbook's architecture needs and costs at the same rate, and where it ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import ceil, inf
from typing import Any

from tools.plan.model import (
    LOG_BYTES_PER_INVOCATION,
    SHARD_RECORDS,
    Function,
    Line,
    Stream,
    Workload,
    batched,
    cloudwatch_lines,
    dollars_of_function,
    dollars_of_stream,
    duration,
    firehose_gb,
    logs_line,
    queries,
    raw_objects,
    tiered,
)
from tools.plan.quotas import PUT_METRIC_DATA, Limit

# Records a second that one KPU (a core) of its Flink job filters. Measured with Flink SQL 2.3:
# 45,000 a second on two cores, over the same records as JSON files.
FLINK_RECORDS_PER_KPU = 22_500
# Records that one invocation of its function gets.
FUNCTION_BATCH = 100


def bill(workload: Workload, prices: Mapping[str, Any], measured: Mapping[str, Any]) -> list[Line]:
    """The lines of its bill for a month, its limits left out of account.

    One PutRecord for each event, Flink on KPUs, a call of PutMetricData for each severe event,
    Firehose for the raw layer, a Grafana workspace. Its streams are billed in the same mode and
    kept for as long.
    """
    size, cpu = measured["bytes"], measured["cpu_us_per_record"]
    severe_eps = workload.eps * workload.severe
    plain = replace(workload, pack=False)
    raw = Stream("stream 1", workload.eps, size["cookbook_raw"], 2)
    severe = Stream("stream 2", severe_eps, size["severe"], 1)
    # One event after the other, each waiting for its own call.
    invocations, records = batched(severe, plain, FUNCTION_BATCH, 0)
    seconds = duration(records, cpu["python_metrics"], records, plain)
    raw_gb = firehose_gb(workload.eps, size["cookbook_raw"], prices)
    raw_dollars = tiered(raw_gb, prices["firehose"]["gb_in"])
    return [
        producer(workload.eps * cpu["python_normalise"] / 1e6, prices),
        *dollars_of_stream(raw, plain, prices),
        flink(workload.eps, prices),
        *dollars_of_stream(severe, plain, prices),
        dollars_of_function(Function("count", invocations, seconds), plain, prices),
        Line("Firehose", "raw: in", f"{raw_gb:,.0f} GB", raw_dollars),
        raw_objects(plain, size["cookbook_raw"], prices),
        *cloudwatch_lines(severe_eps, workload.series, prices),
        logs_line("logs", invocations * LOG_BYTES_PER_INVOCATION, prices),
        Line("Grafana", "workspace", "one editor", prices["grafana"]["editor_month"]),
        queries(workload, prices),
    ]


def producer(cores: float, prices: Mapping[str, Any]) -> Line:
    """The instances with so many busy cores."""
    price = prices["ec2"]
    instances = max(1, ceil(cores / price["vcpus"]))
    dollars = instances * prices["hours_per_month"] * price["instance_hour"]
    return Line("EC2", "producer", f"{instances:,} instances", dollars)


def flink(eps: float, prices: Mapping[str, Any]) -> Line:
    price = prices["flink"]
    kpus = max(1, ceil(eps / FLINK_RECORDS_PER_KPU))
    dollars = (kpus + 1) * prices["hours_per_month"] * price["kpu_hour"]
    dollars += kpus * price["storage_gb_per_kpu"] * price["storage_gb_month"]
    return Line("Flink", "filter", f"{kpus:,} KPU and one to run them", dollars)


def limits(workload: Workload) -> list[Limit]:
    """Where it ends: its own design, not the account, is in the way."""
    # Its partition key is the severity: four values, four fifths of the events under one of them,
    # and a shard takes a thousand records a second however many shards there are.
    commonest = max(1 - workload.severe - 0.009, 0.25)
    return [
        Limit(
            "Kinesis",
            "records of one shard, for the commonest severity",
            workload.eps * commonest,
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
