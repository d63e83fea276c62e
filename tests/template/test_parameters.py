"""A parameter has a description, refuses invalid values and names the expected ones."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.template.rendered import TEMPLATE, load, rendered
from tools.local.functions import SAMCONFIG, tomllib

PARAMETERS: dict[str, dict[str, Any]] = load(TEMPLATE)["Parameters"]
GROUPS = load(TEMPLATE)["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_parameter_is_described_and_bounded(name: str) -> None:
    parameter = PARAMETERS[name]
    assert parameter["Description"].endswith(".")
    assert "Default" in parameter
    if parameter["Type"] == "Number":
        return  # CloudFormation itself names the valid numbers
    if "AllowedValues" not in parameter:
        assert parameter["ConstraintDescription"].startswith("must be ")
        assert re.fullmatch(parameter["AllowedPattern"], str(parameter["Default"]))


def test_parameters_are_few_and_the_console_shows_each_in_the_order_of_the_file() -> None:
    assert len(PARAMETERS) <= 45
    assert len(GROUPS[0]["Parameters"]) == 12, "those that people change come first"
    assert list(PARAMETERS) == [name for group in GROUPS for name in group["Parameters"]]


ENVIRONMENTS = {
    name: dict(pair.split("=", 1) for pair in each["global"]["parameters"]["parameter_overrides"])
    for name, each in tomllib.loads(SAMCONFIG.read_text(encoding="utf-8")).items()
    if isinstance(each, dict) and "parameter_overrides" in each["global"]["parameters"]
}


def test_retries_last_as_long_as_the_streams_keep_their_records() -> None:
    """A paused mapping uses no retry. In an outage a retry and its pause take a minute each."""
    for given in ({}, *ENVIRONMENTS.values()):
        stack = rendered(given)
        hours = int(stack.properties("SevereStream")["RetentionPeriodHours"])
        for function in ("Transform", "Metrics", "Notify"):
            (event,) = stack.properties(f"{function}Function")["Events"].values()
            assert event["Properties"]["MaximumRecordAgeInSeconds"] == "-1"
            attempts = int(event["Properties"]["MaximumRetryAttempts"])
            assert attempts * 2 >= hours * 60, "an outage as long as the retention needs no redrive"
            assert attempts <= hours * 30, (
                "what ends the function at once is given up before it expires"
            )
            assert event["Properties"]["DestinationConfig"]["OnFailure"]["Type"] == "S3"


@pytest.mark.parametrize(
    ("given", "resource", "says"),
    [
        ({"Environment": "dev"}, "Dashboard", "us-accidents-dev-eu-west-1"),
        ({"ReplayFrom": "1764000000"}, "ReplayConsumer", "us-accidents-replay-1764000000-dev"),
    ],
)
def test_a_name_holds_what_must_differ(given: dict[str, str], resource: str, says: str) -> None:
    properties = rendered(given).properties(resource)
    assert says in (properties.get("DashboardName"), properties.get("ConsumerName"))


def test_a_budget_has_no_name_that_a_replacement_would_share() -> None:
    costs = {"MonthlyBudgetDollars": "100", "BudgetEmail": "costs@example.com"}
    assert "BudgetName" not in rendered(costs).properties("Budget")["Budget"]


def own_names(parameters: dict[str, str]) -> dict[str, str]:
    """The names that each resource claims."""
    found = {}
    for name, resource in rendered(parameters).resources.items():
        if resource["Type"] == "AWS::Athena::NamedQuery":
            continue  # its name is unique only within its work group
        properties = resource.get("Properties", {})
        for key in ("BucketName", "Name", "FunctionName", "QueueName", "TopicName", "LogGroupName"):
            if isinstance(properties.get(key), str) and not properties[key].startswith("<"):
                found[f"{name}.{key}"] = properties[key]
        if resource["Type"] == "AWS::Glue::Database":
            found[name] = properties["DatabaseInput"]["Name"]
    return found


@pytest.mark.parametrize(
    "other",
    [
        {"Environment": "test"},
        # Names of buckets have no part for the data set: each data set has its own company.
        {"Dataset": "tickets", "Company": "helpdesk"},
    ],
    ids=["environments", "data sets"],
)
def test_several_stacks_share_one_account(other: dict[str, str]) -> None:
    one, two = own_names({}), own_names(other)
    assert len(one) > 20
    assert not set(one.values()) & set(two.values())


def test_the_variables_of_a_function_are_texts() -> None:
    """Variables of a process are text, and not every deployment tool converts numbers."""
    resources = load(TEMPLATE)["Resources"]
    for name, resource in resources.items():
        if resource["Type"] == "AWS::Serverless::Function":
            variables = resource["Properties"].get("Environment", {}).get("Variables", {})
            for variable, value in variables.items():
                for text in sides(value):
                    assert isinstance(text, (str, dict)), f"{name} {variable} = {text!r}"


def sides(value: Any) -> list[Any]:
    """The values of a choice; a plain value by itself."""
    if isinstance(value, dict) and "Fn::If" in value:
        return [side for choice in value["Fn::If"][1:] for side in sides(choice)]
    return [value]
