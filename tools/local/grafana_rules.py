"""Grafana's alert rules for a deployed stack, to provision from a file.

    python -m tools.local.grafana_rules --env prod > target/grafana-alerts.json

They have the stack's parameters, its region, and the names and ids that AWS gave its resources.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tools.local import cloud, functions, where
from tools.local.commands import Parser, run, say
from tools.local.problems import sentence

# The resources whose physical ids are dimensions of metrics.
MEASURED = (
    "FailuresBucket",
    "MetricsFunctionSevereStream",
    "NotifyFunctionSevereStream",
    "ReplayMapping",
    "TransformFunctionRawStream",
)


def rules(place: where.Place) -> str:
    """The rules of the place's stack."""
    place.outputs()  # says what to do if there is no stack
    pages = place.client("cloudformation").get_paginator("list_stack_resources")
    resources = {
        each["LogicalResourceId"]: each.get("PhysicalResourceId", "")
        for page in pages.paginate(StackName=place.stack)
        for each in page["StackResourceSummaries"]
    }
    given = settings(place.region, place.parameters(), resources)
    return functions.render("--alert-rules", place.dataset, *given)


def settings(
    region: str, parameters: Mapping[str, str], resources: Mapping[str, str]
) -> Iterable[str]:
    """The options that replace the defaults by a stack's values."""
    suffix = ".fifo" if parameters.get("FifoAlerts") == "true" else ""
    values = {
        **parameters,
        **{name: resources[name] for name in MEASURED if resources.get(name)},
        "Region": region,
        "TopicSuffix": suffix,
    }
    return [f"--set={name}={value}" for name, value in sorted(values.items())]


def main() -> int:
    parser = Parser(description="Grafana's alert rules for a deployed stack")
    where.add_options(parser)
    arguments = parser.parse_args()
    try:
        print(rules(where.place_of(arguments)), end="")
    except where.PROBLEMS as error:
        say(f"error: {sentence(error)}")
        return 1
    return 0


if __name__ == "__main__":
    run(main, cloud.left_running)
