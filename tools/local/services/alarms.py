"""CloudWatch's alarms, evaluated as on AWS.

The emulator adds up all series of a metric, evaluates nothing after the last data point, and knows
neither metric math nor composite alarms in a template. Here the alarms are evaluated every few
seconds, by the rules of `evaluation.py`, and their actions get the message of CloudWatch.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from typing import Any

from ministack.core.responses import get_account_id, get_region, new_uuid
from ministack.services import cloudwatch, sns
from ministack.services.cloudformation import provisioners

from tools.local.clients import client
from tools.local.services.evaluation import MINUTE, MetricAlarm, Minutes, Series, Verdict
from tools.local.services.metric_math import UnsupportedAlarm

log = logging.getLogger("alarms")

# How often the alarms are evaluated: in seconds, or 0 for never, where a test does it itself.
VARIABLE = "ALARM_SECONDS"
EVERY_SECONDS = 5.0

# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricData.html
QUERIES_PER_CALL = 500
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_SetAlarmState.html
LONGEST_REASON = 1023

# What an alarm on several metrics has none of.
OF_ONE_METRIC = (
    "MetricName",
    "Namespace",
    "Statistic",
    "ExtendedStatistic",
    "Period",
    "Dimensions",
    "Unit",
)

own_record = provisioners._cw_metric_alarm_record
own_put = cloudwatch._put_metric_alarm


def install() -> None:
    cloudwatch._evaluate_alarm = lambda alarm: None
    cloudwatch._put_metric_alarm = put_metric_alarm
    cloudwatch._dispatch_alarm_actions = notify
    provisioners._cw_metric_alarm_record = record_of
    provisioners._RESOURCE_HANDLERS["AWS::CloudWatch::CompositeAlarm"] = {
        "create": create_composite,
        "update": update_composite,
        "delete": delete_composite,
    }
    seconds = float(os.environ.get(VARIABLE, EVERY_SECONDS))
    if seconds:
        threading.Thread(target=watch, args=(seconds,), name="alarms", daemon=True).start()


# ------------------------------------------------------------------------------------ evaluation


def watch(seconds: float) -> None:
    """Evaluates the alarms for as long as the local cloud runs."""
    while True:
        time.sleep(seconds)
        try:
            evaluate(client("cloudwatch"), time.time())
        except Exception:
            log.exception("the alarms could not be evaluated; they are tried in %s s", seconds)


def evaluate(service: Any, now: float) -> None:
    """Sets each alarm to the state that its data points give it at a time."""
    alarms = list(metric_alarms(service))
    if not alarms:
        return
    end = int(now // MINUTE * MINUTE) + MINUTE
    begin = end - MINUTE - max(alarm.seconds for alarm in alarms)
    series = {each for alarm in alarms for each in alarm.series.values()}
    minutes = read_minutes(service, series, begin, end)
    for alarm in alarms:
        verdict = alarm.evaluate(minutes, now)
        if verdict.state != alarm.state:
            service.set_alarm_state(
                AlarmName=alarm.name,
                StateValue=verdict.state,
                StateReason=alarm.reason(verdict.values, verdict.end)[:LONGEST_REASON],
                StateReasonData=json.dumps(reason_data(alarm, verdict, now)),
            )


def metric_alarms(service: Any) -> Iterator[MetricAlarm]:
    pages = service.get_paginator("describe_alarms").paginate(AlarmTypes=["MetricAlarm"])
    for page in pages:
        for each in page["MetricAlarms"]:
            try:
                yield MetricAlarm.read(each)
            except UnsupportedAlarm as error:
                # It was made by a request in XML, of which nothing is checked.
                log.error("the alarm %s is not evaluated: it has %s", each["AlarmName"], error)


def read_minutes(service: Any, series: Iterable[Series], begin: int, end: int) -> Minutes:
    wanted = list(series)
    minutes: dict[Series, dict[int, float]] = {each: {} for each in wanted}
    for start in range(0, len(wanted), QUERIES_PER_CALL):
        queries = [
            {"Id": f"m{start + index}", "MetricStat": query_of(each)}
            for index, each in enumerate(wanted[start : start + QUERIES_PER_CALL])
        ]
        pages = service.get_paginator("get_metric_data").paginate(
            MetricDataQueries=queries,
            StartTime=datetime.fromtimestamp(begin, timezone.utc),
            EndTime=datetime.fromtimestamp(end, timezone.utc),
        )
        for page in pages:
            for result in page["MetricDataResults"]:
                found = minutes[wanted[int(result["Id"][1:])]]
                for at, value in zip(result["Timestamps"], result["Values"]):
                    found[int(at.timestamp())] = value
    return minutes


def query_of(series: Series) -> dict[str, Any]:
    dimensions = [{"Name": name, "Value": value} for name, value in series.dimensions]
    metric = {"Namespace": series.namespace, "MetricName": series.metric, "Dimensions": dimensions}
    return {"Metric": metric, "Period": MINUTE, "Stat": series.statistic}


def reason_data(alarm: MetricAlarm, verdict: Verdict, now: float) -> dict[str, Any]:
    evaluated = alarm.evaluated(verdict.values)
    return {
        "version": "1.0",
        "queryDate": stamp(now),
        "period": alarm.period,
        "recentDatapoints": [verdict.values[at] for at in evaluated],
        "threshold": alarm.threshold,
        "evaluatedDatapoints": [
            {
                "timestamp": stamp(alarm.time_of(at, verdict.end).timestamp()),
                "value": verdict.values[at],
            }
            for at in evaluated
        ],
    }


def stamp(seconds: float) -> str:
    at = datetime.fromtimestamp(seconds, timezone.utc)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03}+0000"


# -------------------------------------------------------------------------------------- messages


def notify(alarm: dict[str, Any], old: str, new: str, reason: str) -> None:
    """Sends the message of a changed alarm to its topics."""
    key = {"ALARM": "AlarmActions", "OK": "OKActions"}.get(new, "InsufficientDataActions")
    if not alarm.get("ActionsEnabled", True):
        return
    subject = f'{new}: "{alarm["AlarmName"]}" in {get_region()}'[:100]
    for action in alarm.get(key) or []:
        if cloudwatch._is_sns_action_arn(action):
            sns._fanout(action, new_uuid(), json.dumps(message(alarm, old, new, reason)), subject)
        else:
            log.error("the action %s of %s is not an SNS topic", action, alarm["AlarmName"])


def message(alarm: dict[str, Any], old: str, new: str, reason: str) -> dict[str, Any]:
    """Source of its form: CloudWatch user guide, "Notifying users on alarm changes"."""
    common = {
        "AlarmName": alarm["AlarmName"],
        "AlarmDescription": alarm.get("AlarmDescription", ""),
        "AWSAccountId": get_account_id(),
        "NewStateValue": new,
        "NewStateReason": reason,
        "StateChangeTime": stamp(time.time()),
        "Region": get_region(),
        "AlarmArn": alarm["AlarmArn"],
        "OldStateValue": old,
        **{
            key: alarm.get(key) or []
            for key in ("OKActions", "AlarmActions", "InsufficientDataActions")
        },
    }
    if "AlarmRule" in alarm:
        data = json.loads(alarm.get("StateReasonData") or "{}")
        children = [
            {
                "Arn": each["arn"],
                "State": {
                    "Value": each["state"]["value"],
                    "Timestamp": each["state"]["timestamp"],
                },
            }
            for each in data.get("triggeringAlarms", [])
        ]
        return {**common, "AlarmRule": alarm["AlarmRule"], "TriggeringChildren": children}
    return {**common, "Trigger": trigger(alarm)}


def trigger(alarm: dict[str, Any]) -> dict[str, Any]:
    shared = {
        "EvaluationPeriods": alarm["EvaluationPeriods"],
        "DatapointsToAlarm": alarm.get("DatapointsToAlarm", alarm["EvaluationPeriods"]),
        "ComparisonOperator": alarm["ComparisonOperator"],
        "Threshold": alarm["Threshold"],
        "TreatMissingData": alarm["TreatMissingData"],
        "EvaluateLowSampleCountPercentile": "",
    }
    if alarm.get("Metrics"):
        return {"Metrics": [lower_case(each) for each in alarm["Metrics"]], **shared}
    percentile = alarm.get("ExtendedStatistic")
    statistic = (
        {"StatisticType": "ExtendedStatistic", "ExtendedStatistic": percentile}
        if percentile
        else {"StatisticType": "Statistic", "Statistic": alarm["Statistic"].upper()}
    )
    return {
        "MetricName": alarm["MetricName"],
        "Namespace": alarm["Namespace"],
        **statistic,
        "Unit": None,
        "Dimensions": lower_case(alarm)["Dimensions"],
        "Period": alarm["Period"],
        **shared,
    }


def lower_case(value: Any) -> Any:
    """A value whose dimensions have their keys in lower case, as in a message."""
    if isinstance(value, list):
        return [lower_case(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        key: [{"value": of["Value"], "name": of["Name"]} for of in each]
        if key == "Dimensions"
        else lower_case(each)
        for key, each in value.items()
    }


# ------------------------------------------------------------------------------------ definitions


def record_of(name: str, properties: dict[str, Any]) -> dict[str, Any]:
    """An alarm of a template, as the emulator keeps it."""
    metrics = properties.get("Metrics")
    if metrics:
        properties = {key: each for key, each in properties.items() if key != "Metrics"}
        record = own_record(name, {**properties, "MetricName": "-", "Namespace": "-"})
        record = over_several(record, metrics)
    else:
        record = own_record(name, properties)
    try:
        MetricAlarm.read(record)
    except UnsupportedAlarm as error:
        raise ValueError(f"{error} is not supported by the local cloud") from error
    return record


def over_several(record: dict[str, Any], metrics: list[dict[str, Any]]) -> dict[str, Any]:
    own = {key: each for key, each in record.items() if key not in OF_ONE_METRIC}
    return {**own, "Metrics": metrics}


def put_metric_alarm(
    parameters: dict[str, Any], request: dict[str, Any], is_cbor: bool, is_json: bool = False
) -> Any:
    """PutMetricAlarm, which refuses what is not evaluated."""
    try:
        if is_cbor or is_json:
            MetricAlarm.read(request)
    except UnsupportedAlarm as error:
        text = f"{error} is not supported by the local cloud"
        return cloudwatch._error("ValidationError", text, 400, use_json=is_json, use_cbor=is_cbor)
    answer = own_put(parameters, request, is_cbor, is_json)
    name = request.get("AlarmName")
    if request.get("Metrics") and answer[0] == 200:
        cloudwatch._alarms[name] = over_several(cloudwatch._alarms[name], request["Metrics"])
    return answer


def create_composite(
    logical_id: str, properties: dict[str, Any], stack_name: str
) -> tuple[str, dict[str, str]]:
    name = properties.get("AlarmName") or provisioners._physical_name(
        stack_name, logical_id, max_len=255
    )
    status, _, body = cloudwatch._put_composite_alarm(
        {}, {**properties, "AlarmName": name}, is_cbor=False, is_json=True
    )
    if status >= 400:
        raise ValueError(json.loads(body)["message"])
    return name, {"Arn": cloudwatch._composite_alarms[name]["AlarmArn"]}


def update_composite(
    physical_id: str, old: dict[str, Any], new: dict[str, Any], stack_name: str
) -> tuple[str, dict[str, str]]:
    return create_composite(physical_id, {"AlarmName": physical_id, **new}, stack_name)


def delete_composite(physical_id: str, properties: dict[str, Any]) -> None:
    cloudwatch._composite_alarms.pop(physical_id, None)
