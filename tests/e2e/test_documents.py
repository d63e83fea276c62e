"""Every command in the documents runs as written, on the local cloud."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import PORT, Run
from tools.local import cloud
from tools.local.cloud import Cloud
from tools.local.commands import REPOSITORY, tail, tools
from tools.local.stack import Stack, wait_for

README = REPOSITORY / "README.md"
DOCS = REPOSITORY / "docs"
RUNBOOK = DOCS / "RUNBOOK.md"

WALK_PORT = PORT + 2
WALK_SECONDS = 600

# Commands that are not run, by their beginnings.
LEFT_OUT = {
    "make check": "it runs before the tests",
    "make test": "it runs this walk",
    "make live": "it runs until it is interrupted; test_live.py runs the same program",
    "make deploy": "it takes an AWS account; the same template is deployed to the local cloud",
    "aws sqs": "the CLI of PyPI asks AWS's own address for queues, whatever AWS_ENDPOINT_URL says",
}

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(document: Path, language: str) -> list[str]:
    text = document.read_text(encoding="utf-8")
    return [body for kind, body in BLOCK.findall(text) if kind == language]


# The pages whose commands follow those of the README.
PAGES = [page for page in sorted(DOCS.glob("*.md")) if page != RUNBOOK and blocks(page, "sh")]


def walked(document: Path) -> str:
    """The document's commands as one script."""
    lines = "".join(blocks(document, "sh")).splitlines()
    kept = [line for line in lines if not line.startswith(tuple(LEFT_OUT))]
    return "\n".join(["set -euo pipefail", *kept, ""])


def walk(document: Path, directory: Path, variables: dict[str, str]) -> None:
    """Runs a document's commands in the checkout, like its reader."""
    script = directory / "walk.sh"
    text = walked(document).replace(f"127.0.0.1:{cloud.PORT}", f"127.0.0.1:{WALK_PORT}")
    script.write_text(text, encoding="utf-8")
    log = directory / "walk.log"
    with log.open("w", encoding="utf-8") as output:
        status = subprocess.run(
            ["bash", "-v", script],
            cwd=REPOSITORY,
            env={**tools({}), **variables},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=WALK_SECONDS,
        ).returncode
    assert status == 0, f"{document.name} stopped here:\n{tail(log)}"


@pytest.fixture(scope="module")
def newcomer(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The variables of a reader who followed the README with their own file."""
    own, written = REPOSITORY / "accidents.csv", REPOSITORY / "rows.csv"
    if own.exists() or written.exists():
        pytest.skip(f"{own.name} or {written.name} is here, and the README's commands use them")
    own.write_bytes(run.file.read_bytes())
    # make reads these from the environment if the command does not set them.
    variables = {"PORT": str(WALK_PORT), "ROWS": "100", "LOCAL": "1"}
    try:
        walk(README, tmp_path_factory.mktemp("readme"), variables)
        yield {**variables, **cloud.connect(WALK_PORT).credentials}
    finally:
        own.unlink()
        written.unlink(missing_ok=True)
        cloud.down(WALK_PORT)


@pytest.mark.usefixtures("newcomer")
def test_every_command_of_the_readme_runs_as_written() -> None:
    assert "make demo" in walked(README)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_of_a_page_runs_as_written(
    page: Path, newcomer: dict[str, str], tmp_path: Path
) -> None:
    walk(page, tmp_path, newcomer)


def test_every_command_of_the_runbook_runs_as_written(local: Cloud, tmp_path: Path) -> None:
    walk(RUNBOOK, tmp_path, local.credentials)


@pytest.fixture(scope="module")
def unlisted_severity(local: Cloud, stack: Stack) -> None:
    """An event whose severity the data set does not list, which Athena shows with its value."""
    event = '{"ID": "unlisted", "Severity": 9, "City": "Nowhere", "County": "None"}'
    local.client("lambda").invoke(
        FunctionName=local.outputs["IngestFunctionName"], Payload=f'{{"records": [{event}]}}'
    )
    table, view = (stack.outputs[name] for name in ("AnalyticalTableName", "LatestViewName"))

    def arrived() -> bool | None:
        found = stack.query(f"select unlisted_severity from {table} where id = 'unlisted'").rows
        return True if found == [["9"]] else None

    wait_for(arrived, 60, 0.2, lambda: "the event of severity 9 is not in the table")
    assert stack.query(f"select severity from {view} where id = 'unlisted'").rows == [["9"]]


@pytest.mark.usefixtures("unlisted_severity")
@pytest.mark.parametrize("sql", blocks(RUNBOOK, "sql"), ids=lambda sql: " ".join(sql.split())[:40])
def test_every_query_of_the_runbook_answers(sql: str, stack: Stack) -> None:
    assert stack.query(sql).rows


def test_the_skipped_commands_exist() -> None:
    text = "".join(body for page in [README, *DOCS.glob("*.md")] for body in blocks(page, "sh"))
    assert [start for start in LEFT_OUT if start not in text] == []
