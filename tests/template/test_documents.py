"""Links, paths, settings and targets of make in the documents exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.template.rendered import TEMPLATE, load
from tools.local.commands import REPOSITORY
from tools.local.functions import tomllib

DOCUMENTS = [
    *REPOSITORY.glob("*.md"),
    *(REPOSITORY / "docs").glob("*.md"),
    *(REPOSITORY / "datasets").glob("*/README.md"),
    REPOSITORY / "tools" / "replay" / "README.md",
]
LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def text_of(document: Path) -> str:
    return document.read_text(encoding="utf-8")


def anchors(document: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    prose = FENCE.sub("", text_of(document))
    headings = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_a_documents_links_lead_somewhere(document: Path) -> None:
    for link in LINK.findall(FENCE.sub("", text_of(document))):
        if re.match(r"https?:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_paths_in_the_documents_exist(document: Path) -> None:
    if document.name == "CHANGELOG.md":
        return  # it names files that are gone
    for path in re.findall(r"`(\w+/[\w./-]+)`", FENCE.sub("", text_of(document))):
        top = path.partition("/")[0]
        # A build makes `target/`, and the reader a data set of their own.
        is_own = (REPOSITORY / top).is_dir() and top != "target" and "calls_911" not in path
        assert not is_own or (REPOSITORY / path).exists(), path


@pytest.mark.parametrize("parent", ["functions", "shared/src", "tools", "tests"])
def test_the_code_map_has_every_folder(parent: str) -> None:
    code_map = text_of(REPOSITORY / "docs" / "ARCHITECTURE.md").partition("## Code map")[2]
    listed = set(re.findall(r"(?:^  |, )([a-z0-9]+)/", code_map, re.MULTILINE))
    folders = {each.name for each in (REPOSITORY / parent).iterdir() if each.is_dir()}
    assert {name for name in folders if not name.startswith(("_", "."))} <= listed


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_settings_in_the_documents_are_parameters(document: Path) -> None:
    parameters = load(TEMPLATE)["Parameters"]
    for kind, body in FENCE.findall(text_of(document)):
        if kind == "toml" and "parameter_overrides" in body:
            for pair in tomllib.loads(body)["parameter_overrides"]:
                assert pair.split("=")[0] in parameters


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_targets_in_the_documents_exist(document: Path) -> None:
    if document.name == "CHANGELOG.md":
        return  # it names targets that are gone
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    text = text_of(document)
    code = "".join(body for _, body in FENCE.findall(text))
    named = re.findall(r"^make ([a-z]+)", code, re.MULTILINE) + re.findall(r"`make ([a-z]+)", text)
    assert set(named) <= targets
