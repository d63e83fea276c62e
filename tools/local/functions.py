"""Builds the four functions: for this machine with the dev profile, and for AWS.

The local cloud and the tests run the dev binaries of the one build that `cargo test` uses too.
`python -m tools.local.functions dev` builds for an environment of `samconfig.toml` on AWS.
"""

from __future__ import annotations

import io
import json
import platform
import subprocess
import sys
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tools.local.commands import REPOSITORY, CommandError, Parser, logged, run, say, shown
from tools.local.template import parse

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SAMCONFIG = REPOSITORY / "samconfig.toml"
TEMPLATE = REPOSITORY / "template.yaml"
AWS_BUILD = REPOSITORY / ".aws-sam" / "build"  # where `sam deploy` looks for it
LOCAL_BUILD = REPOSITORY / "target" / "local" / "build"
BINARIES = REPOSITORY / "target" / "debug"

FUNCTIONS = ("ingest", "transform", "metrics", "notify")
DATASETS = REPOSITORY / "datasets"
DATASET = "us_accidents"


@dataclass(frozen=True)
class Environment:
    """What `samconfig.toml` says about one environment, for one data set."""

    name: str
    stack: str
    region: str
    parameters: dict[str, str]
    dataset: str = DATASET

    @property
    def overrides(self) -> list[str]:
        return [f"{name}={value}" for name, value in self.parameters.items()]


def environment(name: str, dataset: str = DATASET) -> Environment:
    if not (DATASETS / dataset / "dataset.toml").is_file():
        names = sorted(path.parent.name for path in DATASETS.glob("*/dataset.toml"))
        raise CommandError(
            f"there is no datasets/{dataset}/dataset.toml; the data sets are {', '.join(names)}"
        )
    config = configuration()
    if "stack_name" not in config.get(name, {}).get("global", {}).get("parameters", {}):
        names = [each for each in config if each != "default"]
        raise CommandError(f"no environment {name} in samconfig.toml; it has {', '.join(names)}")
    settings = config[name]["global"]["parameters"]
    parameters = dict(entry.split("=", 1) for entry in settings["parameter_overrides"])
    stack = f"{dataset.replace('_', '-')}-{parameters['Environment']}"
    return Environment(name, stack, settings["region"], parameters, dataset)


def configuration() -> dict[str, Any]:
    """The tables of samconfig.toml, by environment."""
    try:
        config = tomllib.loads(SAMCONFIG.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise CommandError(f"samconfig.toml is not TOML: {error}") from error
    return {name: tables for name, tables in config.items() if isinstance(tables, dict)}


def local_environment(dataset: str = DATASET) -> Environment:
    """The local cloud's; its functions run as processes of this machine."""
    local = environment("local", dataset)
    return replace(local, parameters={**local.parameters, "Architecture": host_architecture()})


def host_architecture() -> str:
    return "arm64" if platform.machine() in ("arm64", "aarch64") else "x86_64"


def binary(name: str) -> Path:
    """The dev binary of a function or a tool, such as `transform` or `replay`."""
    return BINARIES / name


def compile_programs() -> None:
    """Compiles the dev binaries of the functions and of `replay`, and shows its progress."""
    shown([sys.executable, "-m", "tools.setup", "--compile", "programs"])


def build_local(dataset: str = DATASET) -> Path:
    """Builds the stack of a data set for the local cloud, and returns the built template.

    Each function's code is an archive next to the template.
    """
    compile_programs()
    directory = LOCAL_BUILD / dataset
    directory.mkdir(parents=True, exist_ok=True)
    template = load(template_of(dataset))
    for resource in functions_of(template):
        name = resource["Metadata"]["BuildProperties"]["Binary"]
        resource["Properties"]["CodeUri"] = pack(binary(name), directory).name
    return write(directory / "template.json", json.dumps(template).encode())


def pack(program: Path, directory: Path) -> Path:
    """Writes a function's code as Lambda takes it: an archive with the program as `bootstrap`.

    The same program gives the same archive, so that a deployment does not replace the function.
    """
    entry = zipfile.ZipInfo("bootstrap")  # without the time of the build
    entry.external_attr = 0o755 << 16
    entry.compress_type = zipfile.ZIP_STORED
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(entry, program.read_bytes())
    return write(directory / f"{program.name}.zip", packed.getvalue())


def write(path: Path, content: bytes) -> Path:
    """Writes a file at once: a cloud on another port may be deployed from it meanwhile."""
    new = path.with_suffix(".new")
    new.write_bytes(content)
    return new.replace(path)


def build(target: Environment, directory: Path) -> Path:
    """Builds for AWS into the directory and returns the built template."""
    source = template_of(target.dataset)
    template = load(source)
    default = template["Parameters"]["Architecture"]["Default"]
    architecture = target.parameters.get("Architecture", default)

    # `sam build` keeps the compiler's output to itself for minutes. The same build, run first,
    # shows it, and leaves `sam` nothing to compile.
    command = ["cargo", "lambda", "build", "--release"]
    command += ["--arm64"] if architecture == "arm64" else []
    command += [f"--bin={name}" for name in FUNCTIONS]
    say(f"functions: building for {architecture}")
    shown(command)

    command = ["sam", "build", "--config-env", target.name]
    command += ["--template-file", str(source), "--base-dir", str(REPOSITORY)]
    command += ["--build-dir", str(directory), "--parameter-overrides", *target.overrides]
    logged("functions: packing", command, REPOSITORY / "target" / "sam-build.log", {})
    return directory / "template.yaml"


def template_of(dataset: str) -> Path:
    """The template that deploys a data set: the repository's own, or one rendered from it."""
    if load(TEMPLATE)["Parameters"]["Dataset"]["Default"] == dataset:
        return TEMPLATE
    rendered = render("--template", dataset)
    path = REPOSITORY / "target" / "templates" / f"{dataset}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(rendered, encoding="utf-8")
    return path


def render(*arguments: str) -> str:
    """What the renderer prints."""
    shown(["cargo", "build", "--quiet", "--workspace", "--bin=render"])
    command = [str(binary("render")), *arguments]
    rendered = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    if rendered.returncode != 0:
        raise CommandError(rendered.stderr.strip().removeprefix("error: "))
    return rendered.stdout


def load(template: Path) -> dict[str, Any]:
    """A template with its short tags, such as `!Ref`, spelt out."""
    return parse(template.read_text(encoding="utf-8"))


def functions_of(template: dict[str, Any]) -> list[dict[str, Any]]:
    """The functions among a template's resources."""
    resources = template["Resources"].values()
    return [each for each in resources if each["Type"] == "AWS::Serverless::Function"]


def main() -> int:
    parser = Parser(description="build the functions for AWS")
    parser.add_argument("environment", help="an environment of samconfig.toml")
    parser.add_argument("--dataset", default=DATASET, help="a folder of datasets/")
    arguments = parser.parse_args()
    try:
        if arguments.environment == "local":
            raise CommandError("local is the local cloud; `make up` builds and deploys for it")
        build(environment(arguments.environment, arguments.dataset), AWS_BUILD)
    except CommandError as error:
        say(f"error: {error}")
        return 1
    return 0


if __name__ == "__main__":
    run(main)
