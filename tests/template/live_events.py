"""Events, alerts and views for the tests of the live page."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

from tools.live.atlas import Atlas
from tools.live.view import Stage, View
from tools.local.alert_queue import Alert
from tools.local.dataset import Dataset

ACCIDENTS = Dataset.load("us_accidents")
TICKETS = Dataset.load("support_tickets")
BEGAN = datetime(2026, 7, 14, 9, 30, tzinfo=timezone.utc)
HOSTILE = '</script><img src=x onerror="alert(1)">'


def view_of(dataset: Dataset = ACCIDENTS) -> View:
    stages = [Stage("accepted", "taken in", "a"), Stage("raw", "raw layer", "b", "accepted")]
    return View(dataset, Atlas.of(dataset.region), severe_above=2, stages=stages)


def event(number: int, severity: Any = 3, **others: Any) -> dict[str, Any]:
    return {
        "ID": f"A-{number}",
        "Severity": severity,
        "City": "Dublin",
        "County": "Franklin",
        "Start_Lat": 40.1,
        "Start_Lng": -83.1,
        "Txn_Timestamp": (BEGAN + timedelta(seconds=number)).isoformat().replace("+00:00", "Z"),
        **others,
    }


def alert(number: int, count: int = 1, **content: Any) -> Alert:
    ids = [f"A-{number + each}" for each in range(count)]
    content = {"count": count, "ids": ids, "severity": 4, "text": "text", **content}
    return Alert(
        subject=f"alert {number}",
        message=json.dumps(content),
        content=content,
        attributes={},
        received=BEGAN + timedelta(seconds=number, milliseconds=700),
        message_id=f"m-{number}",
    )


def row(number: int, count: int = 1) -> dict[str, Any]:
    return {
        "alerted_at": "2026-07-14 09:30:07.123",
        "severity": 4,
        "event_count": count,
        "subject": f"alert {number}",
        "message_id": f"m-{number}",
        "latency_ms": 650,
    }
