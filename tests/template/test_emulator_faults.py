"""Each fault of the emulator happens as its write-up says, with the version that is installed.

A write-up whose text no longer matches is out of date: the emulator has been corrected or changed.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import pytest

from tests.ports import free_port
from tools.local import cloud
from tools.local.commands import REPOSITORY, without_aws

PAGE = REPOSITORY / "docs" / "EMULATOR_FAULTS.md"
TEXT = PAGE.read_text(encoding="utf-8")
SECONDS = 60
REGION = "eu-west-1"

Client = Callable[..., Any]


@dataclass(frozen=True)
class WriteUp:
    title: str
    program: str
    expected: str
    actual: str


def write_ups() -> Iterator[WriteUp]:
    for section in re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]:
        title = section.splitlines()[0]
        found = re.fullmatch(
            r".*?```python\n(.*?)```\n\n"
            r"\*\*Expected:\*\* (.*?)\n\n"
            r"\*\*Actual:\*\*\n\n```text\n(.*?)```\n*",
            section,
            re.DOTALL,
        )
        assert found, f"{title}: expected a program, the expected and the actual result"
        yield WriteUp(title, *found.groups())


WRITE_UPS = list(write_ups())


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """The emulator as it is installed, without this project's services; its clients."""
    folder, port = tmp_path_factory.mktemp("emulator"), free_port()
    variables = {
        **without_aws(os.environ),
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_REGION": REGION,
        "AUTH": "true",
        "IOT_MTLS_ENABLED": "false",
        "SFTP_ENABLED": "false",
        "TMPDIR": str(folder),
        "S3_DATA_DIR": str(folder / "s3"),
        "STATE_DIR": str(folder / "state"),
    }
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "ministack"],
            cwd=folder,
            env=variables,
            stdout=output,
            stderr=output,
        )
    try:
        assert cloud.wait_until(lambda: cloud.healthy(port), SECONDS), log.read_text("utf-8")

        def client(service: str, key: str = "test", secret: str = "test") -> Any:
            return boto3.client(
                service,
                endpoint_url=cloud.endpoint(port),
                region_name=REGION,
                aws_access_key_id=key,
                aws_secret_access_key=secret,
            )

        yield client
    finally:
        process.terminate()
        process.wait(SECONDS)


def test_the_page_is_about_the_version_that_is_installed() -> None:
    version = importlib.metadata.version("ministack")
    assert f"MiniStack {version}" in TEXT


def test_every_expectation_has_its_page_of_aws() -> None:
    for each in WRITE_UPS:
        assert "](https://docs.aws.amazon.com/" in each.expected, each.title


@pytest.mark.parametrize("write_up", WRITE_UPS, ids=lambda each: each.title)
def test_a_fault_happens_as_it_is_written_up(plain: Client, write_up: WriteUp) -> None:
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(compile(write_up.program, write_up.title, "exec"), {"client": plain})
    assert output.getvalue() == write_up.actual
