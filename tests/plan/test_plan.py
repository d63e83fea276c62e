"""The bill, compared with examples that were calculated by hand from the price list.

The examples have prices of their own, round ones, so that a price that changes changes no test.
"""

from __future__ import annotations

import re
from dataclasses import replace
from math import inf, isclose
from pathlib import Path

import pytest

from tools.local.template import parse
from tools.plan import cookbook, defaults, model, plan, quotas
from tools.plan.model import Function, Stream, Workload, tiered

# A month of 1,000 hours is 3.6 million seconds.
PRICES = {
    "hours_per_month": 1_000,
    "kinesis_on_demand": {
        "stream_hour": 0.04,
        "gb_in": 0.08,
        "gb_out": 0.04,
        "gb_month_extended": 0.1,
        "record_unit_bytes": 1_024,
    },
    "kinesis_provisioned": {
        "shard_hour": 0.015,
        "million_put_units": 0.014,
        "shard_hour_extended": 0.02,
        "put_unit_bytes": 25_600,
    },
    "lambda": {"gb_second": {"arm64": 0.00001, "x86_64": 0.00002}, "million_requests": 0.2},
    "firehose": {
        "gb_in": [[100, 0.03], [inf, 0.02]],
        "record_unit_bytes": 5_120,
        "gb_converted": 0.02,
        "gb_partitioned": 0.02,
        "thousand_objects_partitioned": 0.005,
    },
    "s3": {"gb_month": 0.02, "thousand_puts": 0.005},
    "cloudwatch": {
        "series_month": [[100, 0.3], [inf, 0.1]],
        "thousand_put_metric_data": 0.01,
        "log_gb_in": 0.5,
        "alarm_metric_month": 0.1,
        "composite_alarm_month": 0.5,
        "dashboard_month": 3.0,
    },
    "sns": {"million_publishes": 0.5},
    "athena": {"tb_scanned": 5.0},
    "flink": {"kpu_hour": 0.11, "storage_gb_month": 0.1, "storage_gb_per_kpu": 50},
    "ec2": {"instance_hour": 0.02, "vcpus": 2},
    "grafana": {"editor_month": 9.0},
}
MEASURED = {
    "machine": "a machine of the example",
    "cpu_us_per_record": {
        "ingest": 10.0,
        "transform": 10.0,
        "metrics": 10.0,
        "notify": 10.0,
        "python_normalise": 200.0,
        "python_metrics": 100.0,
    },
    "ms_of_full_batch": {"transform": {"256": 300.0, "1769": 30.0}},
    "bytes": {"raw": 1_100, "severe": 130, "analytical": 1_000, "cookbook_raw": 1_500},
}
# Round shares: a fifth is severe, a fiftieth alerted.
WORKLOAD = Workload(eps=1_000, severe=0.2, alerted=0.02)


def dollars(lines: list[model.Line], service: str, what: str) -> float:
    [line] = [line for line in lines if (line.service, line.what) == (service, what)]
    return line.dollars


def test_a_raw_event_is_billed_as_two_kilobytes_and_a_severe_one_as_one() -> None:
    raw = Stream("raw", 1_000, 1_100, 2)
    assert raw.billed(1_024) == 1_000 * 2_048
    assert Stream("severe", 200, 130, 2).billed(1_024) == 200 * 1_024


def test_packed_records_are_billed_for_about_their_bytes() -> None:
    # 1,107 bytes each, of which 59 fit in 64 KiB: 65,313 bytes, billed as 64 units of 1,024.
    packed = Stream("raw", 5_900, 1_100, 2, packed=True)
    assert packed.records_per_pack == 59
    assert isclose(packed.records_sent, 100)
    assert isclose(packed.billed(1_024), 100 * 64 * 1_024)


@pytest.mark.parametrize(
    ("records", "size", "mode", "shards"),
    [
        (1, 100, "on-demand", 4),  # there are never fewer
        (10_000, 1_100, "on-demand", 22),  # 11 MB/s, twice
        (10_000, 1_100, "provisioned", 16),  # 11 MB/s at seven tenths of a MB/s each
        (10_000, 100, "provisioned", 15),  # 10,000 records at 700 each
        (1, 100, "provisioned", 1),
    ],
)
def test_shards_follow_bytes_and_records(
    records: float, size: float, mode: str, shards: int
) -> None:
    assert Stream("s", records, size, 2).shards(mode) == shards


def test_readers_need_shards_of_their_own_beyond_two() -> None:
    # Five readers of 1 MB/s fetch 5 MB/s, at 2 MB/s a shard: 2.5, at seven tenths full 3.57.
    assert Stream("s", 1_000, 1_000, 5).shards("provisioned") == 4


def test_tiers_are_filled_from_the_first() -> None:
    assert isclose(tiered(50, [[100, 0.3], [inf, 0.1]]), 15)
    assert isclose(tiered(150, [[100, 0.3], [inf, 0.1]]), 30 + 5)
    assert tiered(0, [[100, 0.3], [inf, 0.1]]) == 0


def test_an_on_demand_stream_costs_hours_traffic_and_retention() -> None:
    # In: 1,000/s of 2,048 bytes for 3.6 million seconds are 7,372.8 GB. Out: 1.1 MB/s twice are
    # 7,920 GB. Kept two days more than one: 1.1 MB/s for 48 hours are 190.08 GB.
    lines = model.dollars_of_stream(Stream("s", 1_000, 1_100, 2), WORKLOAD, PRICES)
    assert isclose(dollars(lines, "Kinesis", "s: stream"), 40)
    assert isclose(dollars(lines, "Kinesis", "s: in"), 7_372.8 * 0.08)
    assert isclose(dollars(lines, "Kinesis", "s: out"), 7_920 * 0.04)
    assert isclose(dollars(lines, "Kinesis", "s: kept beyond a day"), 190.08 * 0.1)


def test_a_provisioned_stream_costs_its_shards_and_put_units() -> None:
    # 1.1 MB/s at seven tenths of a MB/s each: two shards. A unit for each record, 3,600 million
    # of them.
    provisioned = replace(WORKLOAD, mode="provisioned")
    lines = model.dollars_of_stream(Stream("s", 1_000, 1_100, 2), provisioned, PRICES)
    assert isclose(dollars(lines, "Kinesis", "s: shards"), 2 * 1_000 * 0.015)
    assert isclose(dollars(lines, "Kinesis", "s: put units"), 3_600 * 0.014)
    assert isclose(dollars(lines, "Kinesis", "s: kept beyond a day"), 2 * 1_000 * 0.02)
    day = replace(provisioned, retention_hours=24)
    assert len(model.dollars_of_stream(Stream("s", 1_000, 1_100, 2), day, PRICES)) == 2


def test_an_invocation_takes_its_share_of_a_core_and_its_calls() -> None:
    # 1,000 records of 10 us on a quarter of a core are 40 ms, and two calls of 15 ms.
    quarter = replace(WORKLOAD, memory_mb=model.CORE_MB // 4)
    share = quarter.memory_mb / model.CORE_MB
    assert isclose(model.duration(1_000, 10, 2, quarter), 0.01 / share + 0.03)
    # More than a core's memory makes one thread no faster.
    whole = replace(WORKLOAD, memory_mb=2 * model.CORE_MB)
    assert isclose(model.duration(1_000, 10, 0, whole), 0.01)


def test_batches_end_when_full_or_polled() -> None:
    # 100/s over four shards: each poll of a second hands a batch over.
    assert isclose(model.batches(Stream("s", 100, 130, 2), 4, 1_000, 0), 4)
    # A window of 10 seconds: one for each shard in ten seconds.
    assert isclose(model.batches(Stream("s", 100, 130, 2), 4, 1_000, 10), 0.4)
    # 100,000/s: full batches of a thousand.
    assert isclose(model.batches(Stream("s", 100_000, 130, 2), 4, 1_000, 0), 100)
    # Never more batches than records.
    assert isclose(model.batches(Stream("s", 1, 130, 2), 4, 1_000, 0), 1)
    # 10,000 to a batch: 6 MB end it at 6,000,000 / (1,100 * 4 / 3 + 450) records.
    by_payload = 6e6 / (1_100 * 4 / 3 + 450)
    assert isclose(model.batches(Stream("s", 1e6, 1_100, 2), 4, 10_000, 0), 1e6 / by_payload)


def test_a_function_costs_its_seconds_and_its_invocations() -> None:
    # 10/s of 0.1 s: one at once, a quarter of a GB, 3.6 million seconds; 36 million invocations.
    line = model.dollars_of_function(Function("f", 10, 0.1), WORKLOAD, PRICES)
    assert isclose(line.dollars, 0.25 * 3.6e6 * 0.00001 + 36 * 0.2)


def test_memory_is_compared_by_price_and_by_the_time_of_a_full_batch() -> None:
    found = model.memories(WORKLOAD, PRICES, MEASURED)
    times = {memory.mb: memory.ms_of_full_batch["transform"] for memory in found}
    # Measured for two sizes; the others have their share of the core that takes 30 ms.
    assert (times[256], times[1_769]) == (300.0, 30.0)
    assert isclose(times[512], 30 * 1_769 / 512)
    for memory in found:
        sized = replace(WORKLOAD, memory_mb=memory.mb)
        lines = [line for line in model.bill(sized, PRICES, MEASURED) if line.service == "Lambda"]
        assert isclose(memory.dollars, sum(line.dollars for line in lines)), memory.mb


def test_the_fastest_memory_that_costs_hardly_more_is_recommended() -> None:
    def sizes(*dollars: float) -> list[model.Memory]:
        return [model.Memory(128 * (1 + i), each, {}) for i, each in enumerate(dollars)]

    for dollars, expected in (
        ((10, 10.5, 11.0, 11.1), 384),
        ((10, 12, 10.9, 12), 384),
        ((10, 12, 13, 14), 128),
        ((0, 0, 0, 0), 512),
    ):
        assert model.recommended(sizes(*dollars)).mb == expected


def test_firehose_rounds_each_record_up_to_five_kilobytes() -> None:
    assert isclose(model.firehose_gb(1_000, 1_100, PRICES), 1_000 * 5_120 * 3.6e6 / 1e9)
    assert isclose(model.firehose_gb(1_000, 5_121, PRICES), 1_000 * 10_240 * 3.6e6 / 1e9)


def test_objects_end_at_the_buffers_time_or_size() -> None:
    # Two prefixes, one object each every 60 seconds.
    assert isclose(model.objects_per_month(1, WORKLOAD, 2, PRICES), 2 / 60 * 3.6e6)
    # 64 MiB/s: an object a second.
    assert isclose(model.objects_per_month(64 * 1024 * 1024, WORKLOAD, 2, PRICES), 3.6e6)
    assert model.objects_per_month(0, WORKLOAD, 2, PRICES) == 0


def test_the_whole_bill_has_the_lines_worked_by_hand() -> None:
    lines = model.bill(WORKLOAD, PRICES, MEASURED)
    # Raw 18,432 GB, analytical 3,686.4 GB and alerts (8/s) 147.456 GB in: 22,265.856 GB, the first
    # 100 at 0.03 and the rest at 0.02.
    together = 100 * 0.03 + 22_165.856 * 0.02
    assert isclose(dollars(lines, "Firehose", "raw: in"), together * 18_432 / 22_265.856)
    assert isclose(dollars(lines, "Firehose", "alerts: in"), together * 147.456 / 22_265.856)
    assert isclose(dollars(lines, "Firehose", "analytical: to Parquet"), 3_686.4 * 0.02)
    # 200/s of 1,000 bytes are 720 GB; two folders a minute are 120,000 objects.
    assert isclose(dollars(lines, "Firehose", "analytical: by severity"), 720 * 0.02 + 120 * 0.005)
    # 20/s alerted, 8/s of them in messages: 28.8 million. Without a bound 72 million.
    assert isclose(dollars(lines, "SNS", "alerts"), 28.8 * 0.5)
    unbounded = model.bill(replace(WORKLOAD, alerts_per_second=0), PRICES, MEASURED)
    assert isclose(dollars(unbounded, "SNS", "alerts"), 72 * 0.5)
    # metrics: four shards and a window of a second are four batches a second of 50 events, one
    # call each. notify: a window of two seconds, two a second, each of which alerts.
    assert isclose(dollars(lines, "CloudWatch", "PutMetricData"), (14_400 + 7_200) * 0.01)
    # 1,000 series, 40 of the counts, 4 of unreadable cells and 2 of the latency:
    # 100 at 0.3 and 946 at 0.1.
    assert isclose(dollars(lines, "CloudWatch", "series"), 30 + 94.6)
    # ingest 2, transform 4, metrics 4 and notify 2 invocations a second, 1,100 bytes each.
    assert isclose(dollars(lines, "CloudWatch", "logs"), 12 * 1_100 * 3.6e6 / 1e9 * 0.5)
    # Every event in two logs and a fifth in two more, 12 bytes each: 28.8 KB/s.
    assert isclose(dollars(lines, "CloudWatch", "ids in the logs"), 28_800 * 3.6e6 / 1e9 * 0.5)
    # 1.1 MB/s gzipped to an eighth are 495 GB; one object a minute, 60,000.
    assert isclose(dollars(lines, "S3", "raw, gzip"), 495 * 0.02 + 60 * 0.005)


def test_ids_are_in_the_logs_only_if_requested() -> None:
    lines = model.bill(replace(WORKLOAD, log_ids=False), PRICES, MEASURED)
    assert not [line for line in lines if line.what == "ids in the logs"]


def test_alarms_cost_by_the_metrics_that_they_read() -> None:
    watched = replace(WORKLOAD, alarm_metrics=40, composite_alarms=1, dashboards=2)
    lines = model.bill(watched, PRICES, MEASURED)
    assert isclose(dollars(lines, "CloudWatch", "alarms"), 4.5)
    assert isclose(dollars(lines, "CloudWatch", "dashboards"), 6)


def test_notify_reports_latency_at_most_once_per_alert() -> None:
    def calls(alerted: float) -> float:
        return model.need(replace(WORKLOAD, alerted=alerted), MEASURED).put_metric_data

    assert isclose(calls(0), 4)
    assert isclose(calls(0.001), 5)  # one event a second
    assert isclose(calls(0.2), 6)  # two invocations a second


@pytest.mark.parametrize("severe", [0.0, 1e-9, 0.195, 1.0])
@pytest.mark.parametrize("alerted", [0.0, 1e-9, 0.027, 1.0])
@pytest.mark.parametrize("mode", ["on-demand", "provisioned"])
def test_any_shares_have_a_bill_and_limits(severe: float, alerted: float, mode: str) -> None:
    if alerted > severe:
        return
    for pack in (False, True):
        workload = Workload(eps=100, severe=severe, alerted=alerted, mode=mode, pack=pack)
        for lines in (model.bill, cookbook.bill):
            assert all(line.dollars >= 0 for line in lines(workload, PRICES, MEASURED))
        assert all(limit.need >= 0 for limit in quotas.limits(workload, MEASURED))
        assert all(limit.ends_at_eps > 0 for limit in cookbook.limits(workload))


def test_by_default_no_more_events_are_alerted_than_are_severe() -> None:
    def alerted(*argv: str) -> float:
        return plan.arguments(["--eps", "100", *argv]).alerted

    assert alerted() == Workload(eps=100).alerted
    assert [alerted("--severe", share) for share in ("0", "0.01", "0.027", "1")] == [
        0,
        0.01,
        0.027,
        0.027,
    ]
    assert alerted("--severe", "0.01", "--alerted", "0.005") == 0.005


def test_without_severe_events_there_is_a_report(capsys: pytest.CaptureFixture[str]) -> None:
    plan.report(plan.arguments(["--eps", "100", "--severe", "0"]), plan.measured(), plan.prices())
    said = capsys.readouterr().out
    assert "At 100 events/s the default quotas are enough." in said
    assert "inf" not in said


def test_the_defaults_are_those_of_the_template() -> None:
    template = parse(defaults.TEMPLATE.read_text(encoding="utf-8"))
    parsed = plan.arguments(["--eps", "1"])
    for parameter, field in {
        "MemorySize": "memory_mb",
        "Architecture": "architecture",
        "TransformBatchSize": "batch",
        "TransformWindowSeconds": "window_seconds",
        "MetricsBatchSize": "metrics_batch",
        "MetricsWindowSeconds": "metrics_window_seconds",
        "NotifyBatchSize": "notify_batch",
        "NotifyWindowSeconds": "notify_window_seconds",
        "StreamRetentionHours": "retention_hours",
        "DeliveryBufferSeconds": "buffer_seconds",
    }.items():
        # Some are constants of the template.
        if parameter in template["Parameters"]:
            assert getattr(parsed, field) == template["Parameters"][parameter]["Default"], field
    assert parsed.mode == template["Parameters"]["StreamMode"]["Default"].lower().replace("_", "-")
    assert parsed.log_ids == (template["Parameters"]["LogEventIds"]["Default"] == "true")
    alarms = [
        each for each in template["Resources"].values() if each["Type"] == "AWS::CloudWatch::Alarm"
    ]
    assert parsed.alarm_metrics >= len(alarms) - 1
    assert (parsed.composite_alarms, parsed.dashboards) == (1, 1)


def test_every_metric_of_the_counts_is_billed_for_each_function() -> None:
    sources = (defaults.TEMPLATE.parent / "shared" / "src").rglob("*.rs")
    texts = (each.read_text(encoding="utf-8") for each in sources)
    (text,) = (each for each in texts if "pub const UNACCOUNTED" in each)
    names = re.findall(r'^pub const [A-Z_]+: &str = "([A-Z]\w+)";$', text, re.MULTILINE)
    assert {"Unaccounted", "UnreadableCells"} <= set(names)
    assert (len(names) - model.UNREADABLE_SERIES) * 4 == model.COUNT_SERIES


def test_a_constant_of_the_template_is_a_default_as_well(tmp_path: Path) -> None:
    text = defaults.TEMPLATE.read_text(encoding="utf-8")
    changed = tmp_path / "template.yaml"
    changed.write_text(re.sub(r"(MemorySize: )!Ref MemorySize", r"\g<1>1024", text))
    assert defaults.read(changed)["memory_mb"] == 1_024
    assert defaults.read()["memory_mb"] != 1_024


def test_the_cookbook_pays_a_call_for_every_severe_event() -> None:
    lines = cookbook.bill(WORKLOAD, PRICES, MEASURED)
    # 200/s for 3.6 million seconds: 720 million calls.
    assert isclose(dollars(lines, "CloudWatch", "PutMetricData"), 7_200)
    # 1,000/s at 200 us are a fifth of a core: one instance.
    assert isclose(dollars(lines, "EC2", "producer"), 20)
    # One KPU filters, one runs it.
    assert isclose(dollars(lines, "Flink", "filter"), 2 * 110 + 5)


def test_a_quota_ends_where_the_need_reaches_it() -> None:
    ends = {limit.quota: limit for limit in quotas.with_ends(WORKLOAD, MEASURED)}
    # 5 MiB/s of analytical records of 1,000 bytes, a fifth of the events.
    assert isclose(
        ends["direct put, bytes"].ends_at_eps, 5 * 1024 * 1024 / 1_000 / 0.2, rel_tol=1e-3
    )
    # Never more than 8 messages a second, of the 10 that a mail address takes.
    assert ends["messages to one mail address"].ends_at_eps == inf
    unbounded = replace(WORKLOAD, alerts_per_second=0)
    ends = {limit.quota: limit for limit in quotas.with_ends(unbounded, MEASURED)}
    # 10 and 9,000 messages a second, a fiftieth of the events.
    assert isclose(ends["messages to one mail address"].ends_at_eps, 500, rel_tol=1e-2)
    assert isclose(ends["messages published"].ends_at_eps, 450_000, rel_tol=1e-3)
    assert not any(limit.exceeded for limit in quotas.limits(replace(WORKLOAD, eps=100), MEASURED))
    exceeded = [
        limit.quota
        for limit in quotas.limits(replace(WORKLOAD, eps=1_000_000), MEASURED)
        if limit.exceeded
    ]
    assert "direct put, bytes" in exceeded
    assert "messages to one mail address" not in exceeded


def test_the_cookbook_ends_at_its_hottest_shard() -> None:
    shard, calls = cookbook.limits(WORKLOAD)
    assert isclose(shard.ends_at_eps, 1_000 / (1 - 0.2 - 0.009))
    assert isclose(calls.ends_at_eps, 500 / 0.2)


def test_packing_reduces_the_bill_and_keeps_other_quotas() -> None:
    packed = replace(WORKLOAD, pack=True)
    assert plan.total(model.bill(packed, PRICES, MEASURED)) < plan.total(
        model.bill(WORKLOAD, PRICES, MEASURED)
    )


def test_the_model_finds_every_price_and_measurement() -> None:
    for eps in (100, 10_000, 1_000_000):
        for mode in ("on-demand", "provisioned"):
            workload = Workload(eps=eps, mode=mode)
            measurements = plan.measured()
            assert plan.total(model.bill(workload, plan.prices(), measurements)) > 0
            assert plan.total(cookbook.bill(workload, plan.prices(), measurements)) > 0


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["--eps", "0"],
        ["--eps", "nan"],
        ["--eps", "ten"],
        ["--eps", "10", "--severe", "1.5"],
        ["--eps", "10", "--severe", "0.01", "--alerted", "0.5"],
        ["--eps", "10", "--mode", "serverless"],
        ["--eps", "10", "--batch", "0"],
    ],
)
def test_a_wrong_option_is_refused_in_a_sentence(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        plan.arguments(argv)
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1


def test_the_report_names_what_to_ask_for(capsys: pytest.CaptureFixture[str]) -> None:
    plan.report(Workload(eps=1_000_000), plan.measured(), plan.prices())
    said = capsys.readouterr().out
    assert "At 100 events/s the default quotas are enough." in said
    assert "At 1,000,000 events/s Firehose: direct put, bytes: 208 are needed" in said
    assert "The cookbook's architecture ends at" in said
