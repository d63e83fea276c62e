"""What a stack has with its defaults or with other parameters, as `template.yaml` says it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from tools.local.functions import TEMPLATE
from tools.local.template import parse


@cache
def read(path: Path = TEMPLATE) -> dict[str, Any]:
    """The fields of a workload that the template decides by its defaults."""
    return of(parse(path.read_text(encoding="utf-8")), {})


def of(template: dict[str, Any], parameters: Mapping[str, str]) -> dict[str, Any]:
    """The fields of a workload that the template decides with these parameters."""
    every = template["Globals"]["Function"]
    transform = mapping(template, "TransformFunction")
    metrics = mapping(template, "MetricsFunction")
    notify = mapping(template, "NotifyFunction")
    buffer = properties(template, "AnalyticalDelivery")["ExtendedS3DestinationConfiguration"]
    stream = properties(template, "RawStream")
    of_ingest, of_metrics = (
        properties(template, function)["Environment"]["Variables"]
        for function in ("IngestFunction", "MetricsFunction")
    )

    def value(of: Any) -> Any:
        """The value itself, or that of the parameter to which it refers."""
        if isinstance(of, dict) and set(of) == {"Ref"}:
            name = of["Ref"]
            return parameters.get(name, template["Parameters"][name]["Default"])
        return of

    bound = int(value(of_metrics.get("MAX_SERIES", 0)))
    mode = value(stream["StreamModeDetails"]["StreamMode"])
    return {
        "mode": mode.lower().replace("_", "-"),
        "retention_hours": float(value(stream["RetentionPeriodHours"])),
        "pack": int(value(of_ingest["PACK_RANGES"])) > 0,
        "memory_mb": int(value(every["MemorySize"])),
        "architecture": value(every["Architectures"][0]),
        "log_ids": value(every["Environment"]["Variables"]["LOG_EVENT_IDS"]) == "true",
        "batch": int(value(transform["BatchSize"])),
        "window_seconds": float(value(transform["MaximumBatchingWindowInSeconds"])),
        "metrics_batch": int(value(metrics["BatchSize"])),
        "metrics_window_seconds": float(value(metrics["MaximumBatchingWindowInSeconds"])),
        "notify_batch": int(value(notify["BatchSize"])),
        "notify_window_seconds": float(value(notify["MaximumBatchingWindowInSeconds"])),
        "buffer_seconds": float(value(buffer["BufferingHints"]["IntervalInSeconds"])),
        "buffer_mib": float(value(buffer["BufferingHints"]["SizeInMBs"])),
        # Without a bound the series are assumed.
        **({"series": bound} if bound > 0 else {}),
        **watched(template),
    }


def properties(template: dict[str, Any], resource: str) -> dict[str, Any]:
    return template["Resources"][resource]["Properties"]


def mapping(template: dict[str, Any], function: str) -> dict[str, Any]:
    """The mapping of a function that reads a stream."""
    events = properties(template, function)["Events"].values()
    (found,) = [event["Properties"] for event in events if event["Type"] == "Kinesis"]
    return found


def watched(template: dict[str, Any]) -> dict[str, int]:
    """What CloudWatch bills of alarms and dashboards.

    An alarm is billed for each metric that it reads. Those that only some stacks have are left out.
    """
    resources = [each for each in template["Resources"].values() if "Condition" not in each]
    metrics = [
        sum("MetricStat" in metric for metric in alarm["Properties"].get("Metrics", [])) or 1
        for alarm in resources
        if alarm["Type"] == "AWS::CloudWatch::Alarm"
    ]
    kinds = [each["Type"] for each in resources]
    return {
        "alarm_metrics": sum(metrics),
        "composite_alarms": kinds.count("AWS::CloudWatch::CompositeAlarm"),
        "dashboards": kinds.count("AWS::CloudWatch::Dashboard"),
    }
