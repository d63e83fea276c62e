"""Runs the commands of a document in the checkout, as its reader would."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tools.local import cloud
from tools.local.commands import REPOSITORY, tail, tools

README = REPOSITORY / "README.md"
DOCS = REPOSITORY / "docs"
RUNBOOK = DOCS / "RUNBOOK.md"

SECONDS = 600

# Commands that are not run, by their beginnings.
LEFT_OUT = {
    "make demo DATASET=support_tickets": "a test of its own runs it, with few rows",
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


def walked(document: Path) -> str:
    """The document's commands as one script."""
    lines = "".join(blocks(document, "sh")).splitlines()
    kept = [line for line in lines if not line.startswith(tuple(LEFT_OUT))]
    return "\n".join(["set -euo pipefail", *kept, ""])


def walk(document: Path, directory: Path, variables: dict[str, str]) -> None:
    """Runs a document's commands, on the port that the variables name."""
    script = directory / "walk.sh"
    port = variables.get("PORT", str(cloud.PORT))
    text = walked(document).replace(f"127.0.0.1:{cloud.PORT}", f"127.0.0.1:{port}")
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
            timeout=SECONDS,
        ).returncode
    assert status == 0, f"{document.name} stopped here:\n{tail(log)}"
