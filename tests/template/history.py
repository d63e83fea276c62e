"""The template as it was before: what an upgrade starts from."""

from __future__ import annotations

import subprocess

from tools.local.commands import REPOSITORY

NAME = "template.yaml"


class NoHistory(Exception):
    """There is no earlier template to compare with; the text says why."""


def earlier_template() -> tuple[str, str]:
    """The newest template that differs from this checkout's, and the name of its version.

    A release goes before a commit: an upgrade between releases is what users do.
    """
    now = (REPOSITORY / NAME).read_text(encoding="utf-8")
    try:
        versions = [
            *_git("tag", "--list", "v*", "--sort=-creatordate", "--merged", "HEAD").split(),
            *_git("log", "--format=%h", "--", NAME).split(),
        ]
        for version in versions:
            text = _git("show", f"{version}:{NAME}")
            if text != now:
                return text, version
    except (OSError, subprocess.CalledProcessError) as error:
        raise NoHistory(f"git does not answer here: {error}") from error
    raise NoHistory("git knows no earlier template; a shallow clone does not have it")


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(REPOSITORY), *arguments]
    finished = subprocess.run(command, check=True, capture_output=True, encoding="utf-8")
    return finished.stdout
