"""This checkout's template with parameters, and the metrics that its functions emit."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from tools.local.functions import DATASET, TEMPLATE, load, render
from tools.local.rendered import Rendered

KEY = "arn:aws:kms:eu-west-1:000000000000:key/5a1e7c0d"

# Every option that adds something.
EVERYTHING = {
    "EncryptionKeyArn": KEY,
    "Tracing": "Active",
    "EnhancedFanOut": "true",
    "ReplayFrom": "1764000000",
    "AlertEmail": "ops@example.com",
    "FifoAlerts": "true",
    "MonthlyBudgetDollars": "100",
    "BudgetEmail": "costs@example.com",
}

# A namespace, a name, and the names of the dimensions.
Metric = tuple[str, str, frozenset[str]]


@cache
def emitted(dataset: str = DATASET) -> frozenset[Metric]:
    """What the functions and AWS emit for a data set: the constants that the renderer knows."""
    return frozenset(
        (metric["namespace"], metric["name"], frozenset(metric["dimensions"]))
        for metric in json.loads(render("--metrics", dataset))
    )


def rendered(parameters: dict[str, str] | None = None) -> Rendered:
    """This checkout's template with these parameters and the defaults of the others."""
    return Rendered(_template(), parameters or {})


@cache
def _template() -> dict[str, Any]:
    return load(TEMPLATE)


def defaults(template: dict[str, Any]) -> dict[str, str]:
    """The default of each parameter of a template."""
    return {name: str(each["Default"]) for name, each in template["Parameters"].items()}


def listed(value: Any) -> list[Any]:
    """A value of a policy, which is a list or a single one."""
    return value if isinstance(value, list) else [value]
