"""A command uses the account of `make deploy`, and the local cloud only on request."""

from __future__ import annotations

import argparse

import pytest
from botocore import exceptions

from tools.local import cloud, where
from tools.local.commands import CommandError
from tools.local.functions import Environment
from tools.local.problems import sentence

TARGET = Environment("dev", "us-accidents-dev", "eu-west-1", {"Environment": "dev"})
LOCAL = cloud.Cloud(4566, "us-accidents-dev", "eu-west-1", {})


def chosen(
    monkeypatch: pytest.MonkeyPatch,
    *,
    credentials: bool,
    running: bool,
    local: bool = False,
    environment: dict[str, str] | None = None,
) -> where.Place:
    monkeypatch.setattr(where, "configured", lambda port: credentials)
    monkeypatch.setattr(cloud, "running", lambda port: 1 if running else None)
    monkeypatch.setattr(cloud, "connect", lambda port: LOCAL)
    return where.choose(4566, TARGET, local, environment or {})


@pytest.mark.parametrize("running", [False, True])
def test_credentials_of_any_kind_lead_to_aws(
    running: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The region is samconfig's, as for a deployment, with any variable of the shell.
    shell = {"AWS_REGION": "us-east-1"}
    place = chosen(monkeypatch, credentials=True, running=running, environment=shell)
    assert (place.name, place.local) == ("AWS", False)
    assert place.region == "eu-west-1"
    assert place.variables["AWS_REGION"] == "eu-west-1"
    assert str(place) == "AWS, stack us-accidents-dev in eu-west-1"


def test_the_local_cloud_is_used_if_it_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    place = chosen(monkeypatch, credentials=True, running=True, local=True)
    assert place.local
    assert place.variables["AWS_ENDPOINT_URL"] == "http://127.0.0.1:4566"


def test_the_local_cloud_is_used_without_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    place = chosen(monkeypatch, credentials=False, running=True)
    assert place.local
    assert str(place).startswith("the local cloud on port 4566, stack us-accidents-dev")


def test_an_endpoint_of_the_shell_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    shell = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9999"}
    place = chosen(monkeypatch, credentials=True, running=False, environment=shell)
    assert not place.local
    assert "http://127.0.0.1:9999" in place.name


@pytest.mark.parametrize(("local", "says"), [(False, "no AWS credentials"), (True, "no local")])
def test_nowhere_to_go_is_an_error(local: bool, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(cloud.CloudError, match=f"{says}.*make up PORT=4566"):
        chosen(monkeypatch, credentials=False, running=False, local=local)


@pytest.mark.parametrize(
    ("stack", "dataset", "says"),
    [
        ("us-accidents-prod", "us_accidents", "no stack us-accidents-dev, but us-accidents-prod"),
        ("support-tickets-dev", "support_tickets", "add DATASET=support_tickets"),
    ],
)
def test_another_stack_is_named_with_what_differs(
    stack: str, dataset: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs = [{"OutputKey": "DatasetName", "OutputValue": dataset}]
    other = {"StackName": stack, "Outputs": outputs}
    place = chosen(monkeypatch, credentials=False, running=True)
    monkeypatch.setattr(where.Place, "deployed", lambda self: None)
    monkeypatch.setattr(where.Place, "any_stack", lambda self: other)
    with pytest.raises(CommandError, match=says):
        place.outputs()


@pytest.mark.parametrize(
    ("named", "stack"),
    [(None, "us-accidents-dev"), ("dev", "us-accidents-dev"), ("prod", "us-accidents-prod")],
)
def test_an_environment_that_is_named_is_meant(
    named: str | None, stack: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs = [{"OutputKey": "DatasetName", "OutputValue": "us_accidents"}]
    there = {"StackName": "us-accidents-dev", "Outputs": outputs}
    monkeypatch.setattr(cloud, "running", lambda port: 1)
    monkeypatch.setattr(where.Place, "any_stack", lambda self: there)
    options = argparse.Namespace(env=named, dataset=None, port=4566, local=True)
    assert where.place_of(options).stack == stack


CODE_ERRORS = {
    "ExpiredTokenException": "aws sso login",
    "InvalidClientTokenId": "AWS_PROFILE",
    "AccessDenied": "docs/RUNBOOK.md",
}


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (exceptions.NoCredentialsError(), "aws configure sso"),
        (exceptions.PartialCredentialsError(provider="env", cred_var="x"), "aws configure sso"),
        (exceptions.UnauthorizedSSOTokenError(), "aws sso login"),
        (exceptions.SSOTokenLoadError(error_msg="gone"), "aws sso login"),
        (exceptions.EndpointConnectionError(endpoint_url="https://x"), "AWS_ENDPOINT_URL"),
        *(
            (exceptions.ClientError({"Error": {"Code": code, "Message": "m"}}, "Do"), hint)
            for code, hint in CODE_ERRORS.items()
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_an_error_about_the_account_says_what_to_do(error: Exception, hint: str) -> None:
    text = sentence(error)
    assert text.startswith(str(error).rstrip("."))
    assert hint in text
    assert "\n" not in text


def test_another_error_stays_as_it_is() -> None:
    assert sentence(CommandError("no such file")) == "no such file"
    error = exceptions.ClientError({"Error": {"Code": "Other", "Message": "m"}}, "Do")
    assert sentence(error) == str(error)
