"""One event can be followed through the functions' logs by its id."""

from __future__ import annotations

import json
from typing import Any

from tests.e2e.conftest import Run
from tools.local.cloud import Cloud
from tools.local.stack import now, wait_for

FUNCTIONS = ["ingest", "transform", "metrics", "notify"]


def trail(local: Cloud, event: str) -> dict[str, dict[str, Any]]:
    """The lines that name an event, by function, found with the runbook's query."""
    logs = local.client("logs")
    query = logs.start_query(
        logGroupNames=[
            f"/aws/lambda/{local.outputs[f'{function.capitalize()}FunctionName']}"
            for function in FUNCTIONS
        ],
        startTime=int(now().timestamp()) - 3600,
        endTime=int(now().timestamp()) + 60,
        queryString=f"fields @timestamp, @message | filter @message like /{event}/",
    )["queryId"]

    def complete() -> list[Any] | None:
        answer = logs.get_query_results(queryId=query)
        return answer["results"] if answer["status"] == "Complete" else None

    found = {}
    for row in wait_for(complete, 30, 0.1, lambda: "the query did not end"):
        message = next(field["value"] for field in row if field["field"] == "@message")
        for line in message.splitlines():
            if event in line:
                entry = json.loads(line)
                found[entry["function"]] = entry
    return found


def test_a_severe_event_is_followed_from_ingest_to_its_alert(run: Run, local: Cloud) -> None:
    event = run.above(3)[0]["ID"]
    found = trail(local, event)
    assert {name: entry["status"] for name, entry in found.items()} == dict.fromkeys(
        FUNCTIONS, "delivered"
    )
    assert all(event in entry["ids"] for entry in found.values())
    assert all(entry["request_id"] for entry in found.values())


def test_an_event_that_is_not_severe_ends_at_transform(run: Run, local: Cloud) -> None:
    event = next(row["ID"] for row in run.rows if float(row["Severity"]) <= 2)
    found = trail(local, event)
    assert {name: entry["status"] for name, entry in found.items()} == {
        "ingest": "delivered",
        "transform": "filtered",
    }
