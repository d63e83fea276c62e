"""A Python with the tools that `make demo` installs, without those of the tests."""

from __future__ import annotations

import venv
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement

from tools.local.commands import REPOSITORY

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


def python_with_local_tools(folder: Path) -> Path:
    """The interpreter of a new virtual environment with the packages of `local.txt`, linked."""
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
