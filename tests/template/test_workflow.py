"""The workflow of the public CI may read the code and nothing else, and runs pinned actions."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tools.local.commands import REPOSITORY
from tools.local.template import parse

WORKFLOWS = sorted((REPOSITORY / ".github" / "workflows").glob("*.yml"))


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_a_workflow_has_least_permissions_and_pinned_actions(file: Path) -> None:
    workflow = parse(file.read_text(encoding="utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert "permissions" not in job
        assert job["timeout-minutes"] <= 60
        for step in job["steps"]:
            assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", step.get("uses", "a/b@" + "0" * 40))
