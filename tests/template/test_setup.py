"""What a first run installs and compiles, what it shows, and how it recovers."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from tools.local.commands import REPOSITORY
from tools.setup import environments
from tools.setup.compiling import BUILDS, Cargo, SetupError, lines
from tools.setup.environments import VirtualEnvironment, read
from tools.setup.progress import Display, Stream, duration

REQUIREMENTS = sorted((REPOSITORY / "tools" / "requirements").glob("*.txt"))
# What commands run that must not wait for large packages.
LOCAL_MODULES = ("demo", "cloud", "query", "removal", "where", "services.athena")


def required(file: Path) -> dict[str, str]:
    """The pinned versions by package."""
    lines = (line.partition("#")[0].partition(";")[0].strip() for line in file.open())
    return dict(line.split("==") for line in lines if line)


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("file", REQUIREMENTS, ids=lambda file: file.stem)
def test_every_requirement_has_an_exact_version(file: Path) -> None:
    assert all(re.fullmatch(r"[\w!.+]+", version) for version in required(file).values())


def closure(names: set[str]) -> set[str]:
    """The packages and all that they require."""
    found: set[str] = set()
    todo = {normal(name) for name in names}
    while todo:
        name = todo.pop()
        found.add(name)
        try:
            needs = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue  # for another version of Python
        plain = (need for need in needs if "extra ==" not in need)
        todo |= {normal(re.match(r"[\w.-]+", need)[0]) for need in plain} - found
    return found


# Refuses to import what the first arguments name, as if it were not installed.
WITHOUT = """
import sys

class Refuse:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in sys.argv[1:]:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Refuse())
"""


def test_the_local_cloud_needs_only_its_requirements() -> None:
    allowed = closure(set(required(REPOSITORY / "tools" / "requirements" / "local.txt")))
    owners = metadata.packages_distributions()
    others = [
        module
        for module, names in owners.items()
        if not {normal(name) for name in names} & {*allowed, "setuptools"}
    ]
    assert {"samcli", "awscli", "datafusion", "ziglang"} <= {*others}
    imports = "".join(f"import tools.local.{name}\n" for name in LOCAL_MODULES)
    script = f"{WITHOUT}import tools.plan.plan\n{imports}"
    command = [sys.executable, "-c", script, *others]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_command_compiles_the_same_graph() -> None:
    """A build of one package would compile the SDK again, with other features."""
    files = [REPOSITORY / "Makefile", *(REPOSITORY / "tools").rglob("*.py")]
    texts = [file.read_text(encoding="utf-8") for file in files]
    builds = [
        line
        for text in texts
        for line in text.splitlines()
        if re.search(r"""(?<!`)cargo["', ]+(build|test|clippy|run)\b""", line)
    ]
    assert len(builds) > 5
    assert [line for line in builds if "--workspace" not in line] == []


# ---------------------------------------------------------------------------- progress


def test_no_crate_of_the_sdk_is_compiled_in_two_ways() -> None:
    """A crate is compiled again if a build asks for it, or for what it needs, with other features
    or in another profile."""
    compiled: dict[str, set[str]] = {}
    for command in (["build", *BUILDS["programs"]], ["build", *BUILDS["tests"]], ["test"]):
        units = graph(command)
        for index, unit in enumerate(units):
            if unit["target"]["name"].startswith(("aws_", "lambda_runtime")):
                name = f"{unit['pkg_id']} {unit['target']['kind']} {unit['mode']}"
                compiled.setdefault(name, set()).add(identity(units, index, {}))
    assert len([name for name in compiled if "aws-sdk-" in name]) >= 5
    assert {name: ways for name, ways in compiled.items() if len(ways) > 1} == {}


def graph(command: list[str]) -> list[dict[str, Any]]:
    """What cargo would compile."""
    listed = subprocess.run(
        ["cargo", *command, "--workspace", "--offline", "-Z", "unstable-options", "--unit-graph"],
        cwd=REPOSITORY,
        env={**os.environ, "RUSTC_BOOTSTRAP": "1"},  # the graph is not yet an option of its own
        capture_output=True,
        check=True,
    )
    return json.loads(listed.stdout)["units"]


def identity(units: list[dict[str, Any]], index: int, known: dict[int, str]) -> str:
    """All that decides whether a unit was compiled before, that of its dependencies included."""
    if index not in known:
        unit = units[index]
        needs = sorted(identity(units, each["index"], known) for each in unit["dependencies"])
        # `cargo test` names its profile otherwise, with the same settings.
        profile = {**unit["profile"], "name": ""}
        what = [unit["pkg_id"], unit["target"]["name"], unit["mode"], unit["features"], profile]
        text = json.dumps([*what, needs], sort_keys=True)
        known[index] = hashlib.sha256(text.encode()).hexdigest()
    return known[index]


def test_the_progress_of_cargo_is_read_from_its_own() -> None:
    output = io.StringIO()
    cargo = Cargo("programs", Display(output))
    for line in [
        "    Updating crates.io index",
        "   Compiling serde v1.0.229",
        "    Building [=====>       ] 143/321: aws-sdk-s3, aws-sdk-sns",
        "warning: unused variable: `x`",
    ]:
        cargo._read(line)
    assert str(cargo._stream).startswith("programs: 143 of 321 steps, 178 left, ")
    assert str(cargo._stream).endswith(": aws-sdk-s3, aws-sdk-sns")
    assert output.getvalue().splitlines() == [
        "programs: started",
        "warning: unused variable: `x`",
    ]


def test_a_build_with_nothing_to_do_prints_nothing() -> None:
    output = io.StringIO()
    cargo = Cargo("programs", Display(output))
    cargo._read("    Finished `dev` profile [unoptimized + debuginfo] target(s) in 0.31s")
    assert output.getvalue() == ""


@pytest.mark.parametrize("lines", [
    ["Resolved 28 packages in 746ms", " Downloading duckdb (19.5MiB)", " Downloaded duckdb"],
    ["Resolved 28 packages in 746ms", " Downloaded duckdb", "Prepared 28 packages in 3s"],
])  # fmt: skip
def test_the_progress_of_the_installer_is_read_from_its_lines(lines: list[str]) -> None:
    stream = Stream("tools", "packages")
    for line in lines:
        read(line, stream)
    assert (stream.done, stream.total) == (1, 28)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.6, "1 min 0 s"), (61, "1 min 1 s")]
)
def test_durations_are_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text


# ------------------------------------------------------------------------- environments


class Interrupted(SetupError):
    """The machine was switched off."""


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> VirtualEnvironment:
    """An environment for two files of requirements, whose installer only makes folders."""
    monkeypatch.setattr(environments, "REPOSITORY", tmp_path)
    monkeypatch.setattr(environments, "REQUIREMENTS", tmp_path)
    monkeypatch.setattr(environments.shutil, "which", lambda _: "uv")
    for name in ("local", "test"):
        (tmp_path / f"{name}.txt").write_text(f"{name}==1\n")
    return VirtualEnvironment(".venv", Display(io.StringIO()))


def installer(folder: Path, steps_until_interrupted: int | None = None):
    """An installer that is interrupted after some steps, each of which leaves something behind."""
    done = 0

    def step(path: Path) -> None:
        nonlocal done
        if done == steps_until_interrupted:
            raise Interrupted
        done += 1
        path.mkdir(parents=True, exist_ok=True)

    def run(command: list[str], _: Stream) -> None:
        if "venv" in command:
            step(folder / "bin" / "python")
            step(folder / "lib" / "python3.11" / "site-packages")
        for argument in command:
            if argument.startswith("--requirement="):
                name = Path(argument).stem
                step(folder / "lib" / "python3.11" / "site-packages" / f"{name}-1.dist-info")

    return run


def test_an_installation_is_complete_for_what_it_installed(
    environment: VirtualEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "_run", installer(environment.folder))
    assert environment.missing(["local"]) == ["local"]
    environment.install(["local"])
    assert environment.missing(["local", "test"]) == ["test"]
    environment.install(["test"])
    assert environment.missing(["local", "test"]) == []


@pytest.mark.parametrize("steps", range(4))
def test_an_interrupted_installation_is_repaired_by_the_next(
    environment: VirtualEnvironment, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    monkeypatch.setattr(environment, "_run", installer(environment.folder, steps))
    with pytest.raises(SetupError):
        environment.install(["local", "test"])
    assert environment.missing(["local", "test"]) == ["local", "test"]
    monkeypatch.setattr(environment, "_run", installer(environment.folder))
    environment.install(["local", "test"])
    assert environment.missing(["local", "test"]) == []


def test_what_is_deleted_or_changed_is_installed_again(
    environment: VirtualEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "_run", installer(environment.folder))
    environment.install(["local"])
    (environment.folder / "lib" / "python3.11" / "site-packages" / "local-1.dist-info").rmdir()
    assert environment.missing(["local"]) == ["local"]
    environment.install(["local"])
    assert environment.missing(["local"]) == []
    (environments.REQUIREMENTS / "local.txt").write_text("local==2\n")
    assert environment.missing(["local"]) == ["local"]
    environment.install(["local"])
    (environment.folder / "bin" / "python").rmdir()
    assert environment.missing(["local"]) == ["local"]


def test_a_redrawn_line_is_read_before_the_next_one_comes() -> None:
    script = "printf 'Building [=>] 1/2: shared\\r'; read -r; printf 'Finished\\nend'"
    with subprocess.Popen(
        ["bash", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        found = lines(process.stdout)
        # The script waits: text mode would never return this line.
        assert next(found) == "Building [=>] 1/2: shared"
        process.stdin.write(b"\n")
        process.stdin.flush()
        assert list(found) == ["Finished", "end"]
