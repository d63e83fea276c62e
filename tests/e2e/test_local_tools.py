"""The tools that `make demo` installs suffice for the local cloud, without those of the tests."""

from __future__ import annotations

import os
import subprocess
import venv
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement

from tests.template.conftest import free_port
from tools.local.commands import REPOSITORY, without_aws

LOCAL = REPOSITORY / "tools" / "requirements" / "local.txt"


def required(lines: list[str], seen: set[str]) -> Iterator[str]:
    """The installed packages that requirements ask for, and what those ask for."""
    for line in lines:
        requirement = Requirement(line)
        name = requirement.name.lower()
        wanted = requirement.marker is None or any(
            requirement.marker.evaluate({"extra": extra}) for extra in requirement.extras or {""}
        )
        if wanted and name not in seen:
            seen.add(name)
            yield name
            yield from required(distribution(name).requires or [], seen)


def environment(folder: Path) -> Path:
    """A virtual environment with the packages of `local.txt` only, linked; its interpreter."""
    venv.create(folder, symlinks=True)
    (site,) = folder.glob("lib/python3*/site-packages")
    lines = [line.partition("#")[0].strip() for line in LOCAL.read_text("utf-8").splitlines()]
    for name in required([line for line in lines if line], set()):
        found = distribution(name)
        for top in {file.parts[0] for file in found.files or []} - {"..", "__pycache__"}:
            link = site / top
            if not link.exists():
                link.symlink_to(Path(str(found.locate_file(top))))
    return folder / "bin" / "python"


def test_the_local_cloud_needs_no_more_than_it_installs(tmp_path: Path) -> None:
    python, port = environment(tmp_path / "environment"), f"--port={free_port()}"

    def cloud(command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [python, "-m", "tools.local.cloud", command, port],
            cwd=REPOSITORY,
            env=without_aws(os.environ),
            capture_output=True,
            text=True,
            check=False,
        )

    try:
        up = cloud("up")
        assert up.returncode == 0, up.stdout + up.stderr
    finally:
        down = cloud("down")
    assert down.returncode == 0, down.stdout + down.stderr
