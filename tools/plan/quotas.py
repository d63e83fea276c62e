"""Where the default quotas of an AWS account end, and what to ask for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil, inf
from typing import Any

from tools.plan.model import MB, MIB, Need, Workload, need

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


def limits(workload: Workload, measured: Mapping[str, Any]) -> list[Limit]:
    """The quotas of each service."""
    needs = need(workload, measured)
    concurrency = sum(function.concurrency for function in needs.functions)
    return [
        stream_limit(needs, workload.mode),
        Limit(
            "Lambda",
            "concurrent executions",
            concurrency,
            CONCURRENCY,
            "at once",
            f"`Concurrent executions` of {ceil(concurrency * 2):,}; ParallelizationFactor above 1"
            " where a batch takes longer than its shard fills one",
        ),
        *firehose_limits(needs, workload, measured["bytes"]["analytical"]),
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


def stream_limit(needs: Need, mode: str) -> Limit:
    if mode == "on-demand":
        return Limit(
            "Kinesis",
            "write throughput of an on-demand stream",
            needs.raw.bytes / MB,
            ON_DEMAND_BYTES / MB,
            "MB/s",
            "more than 10 GB/s by support; a new stream takes 4 MB/s, and later twice its highest"
            " of the last 30 days, so start it provisioned, or raise the load in steps",
        )
    shards = needs.raw.shards("provisioned") + needs.severe.shards("provisioned")
    return Limit(
        "Kinesis",
        "shards of the account",
        shards,
        SHARDS,
        "shards",
        f"`Shards per Region` of {ceil(shards * 1.5):,}, and raise the template's ShardCount",
    )


def firehose_limits(needs: Need, workload: Workload, record_bytes: float) -> list[Limit]:
    """Those of the analytical delivery stream, which transform writes to."""
    records = needs.severe.records
    size = records * record_bytes
    requests = needs.calls_per_10_000["firehose:PutRecordBatch"] * workload.eps / 10_000
    # Its largest partition has the severe events that are not alerted.
    largest = 1 - (workload.alerted / workload.severe if workload.severe else 0)
    return [
        Limit(
            "Firehose",
            "direct put, bytes",
            size / MIB,
            DIRECT_PUT_BYTES / MIB,
            "MiB/s",
            f"a direct put limit of {ceil(size * 1.5 / MIB):,} MiB/s for the analytical"
            " delivery stream",
        ),
        Limit(
            "Firehose",
            "direct put, records",
            records,
            DIRECT_PUT_RECORDS,
            "records/s",
            "it rises with the bytes",
        ),
        Limit(
            "Firehose",
            "direct put, requests",
            requests,
            DIRECT_PUT_REQUESTS,
            "requests/s",
            "a longer window of transform in template.yaml, or the same limit as for the bytes",
        ),
        Limit(
            "Firehose",
            "bytes of one active partition",
            size * largest / MB,
            PARTITION_BYTES / MB,
            "MB/s",
            "a second partition key",
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
