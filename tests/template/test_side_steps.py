"""Less common uses: other thresholds, profiles, data sets and columns."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tools.live import __main__ as live
from tools.local import checks, cloud, demo, functions, query, where
from tools.local.cloud import Cloud
from tools.local.commands import REPOSITORY, CommandError, Parser, run
from tools.local.functions import Environment, local_environment
from tools.local.stack import QueryResult, Stack


def ran(*command: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, encoding="utf-8", check=False, **options
    )


def make(*words: str) -> subprocess.CompletedProcess[str]:
    own = ("MAKEFLAGS", "MAKELEVEL")
    return ran("make", *words, env={n: v for n, v in os.environ.items() if n not in own})


def asked(bare: Cloud, *command: str, **shell: str) -> tuple[int, str, str]:
    """Runs a tool in a shell with a profile that does not exist here, and a proxy."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if "AWS" not in name and name.upper() != "NO_PROXY"
    }
    proxy = {"HTTP_PROXY": "http://127.0.0.1:9", "NO_PROXY": "intranet"}
    environment |= {"AWS_PROFILE": "work", "NO_COLOR": "1", "COLUMNS": "100", **proxy, **shell}
    finished = ran(sys.executable, "-m", *command, "--port", str(bare.port), env=environment)
    return finished.returncode, finished.stdout, finished.stderr


def test_a_query_goes_to_the_local_cloud_with_any_profile(bare: Cloud) -> None:
    sql = "select count(*) as events from us_accidents_raw"
    status, answer, said = asked(bare, "tools.local.query", "--local", "--sql", sql)
    assert status == 0, said
    assert "events" in answer
    assert said.startswith(f"goes to the local cloud on port {bare.port}, stack us-accidents-dev")
    # Also in a shell whose variables point to it, as in the documents.
    status, _, said = asked(bare, "tools.local.query", "--sql", sql, **bare.credentials)
    assert status == 0, said


def test_a_missing_profile_is_named_with_the_local_alternative(bare: Cloud) -> None:
    status, _, said = asked(bare, "tools.local.query", "--sql", "select 1")
    assert status == 1
    assert "profile (work) could not be found" in said
    assert "LOCAL=1" in said


def test_a_command_for_the_local_cloud_gets_no_variable_of_an_account(bare: Cloud) -> None:
    command = ["tools.local.where", "--local", "--port", str(bare.port), "--", "env"]
    profile = {"AWS_PROFILE": "work", "AWS_SESSION_TOKEN": "t"}
    finished = ran(sys.executable, "-m", *command, env={**os.environ, **profile})
    variables = dict(line.partition("=")[::2] for line in finished.stdout.splitlines())
    assert not {"AWS_PROFILE", "AWS_SESSION_TOKEN"} & variables.keys()
    assert variables["AWS_ENDPOINT_URL"] == bare.endpoint


def test_a_data_set_that_is_not_deployed_is_named(bare: Cloud) -> None:
    options = ("--local", "--dataset", "support_tickets")
    for command in (("tools.local.query", "--sql", "select 1"), ("tools.local.where", "env")):
        status, _, said = asked(bare, command[0], *options, *command[1:])
        assert status == 1
        assert "the data set support_tickets is not deployed" in said
        assert "has us_accidents; add DATASET=us_accidents" in said


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("select nothing from us_accidents_raw", ["us_accidents_raw has id, ", "severity", "day"]),
        ("select id from calls_911_raw", ["has the tables", "us_accidents_rejects"]),
        ("select no_function_here(id) from us_accidents_raw", ["DuckDB"]),
    ],
)
def test_a_failed_query_lists_the_tables_and_columns(
    bare: Cloud, sql: str, says: list[str]
) -> None:
    status, _, said = asked(bare, "tools.local.query", "--local", "--sql", sql)
    assert status == 1
    assert "error: the query failed: " in said
    assert all(text in said for text in says), said


def test_a_row_too_wide_for_a_table_is_printed_by_column() -> None:
    columns = [f"column_{number}" for number in range(54)]
    wide = QueryResult(columns, ["varchar"] * 54, [[f"value {n}" for n in range(54)]] * 2, 0, 0)
    shown = str(query.shown(wide, 100))
    assert " column_7: value 7" in shown
    assert "column_53: value 53\n\n" in shown
    narrow = QueryResult(["a", "b"], ["varchar"] * 2, [["x" * 300, None]], 0, 0)
    assert query.wide(narrow) <= 100


def test_a_query_has_the_parameters_of_the_stack() -> None:
    sql = (
        "select 3 as three -- of three\nwhere level > 3 -- NotifySeverityAbove\nand 7 > 0 -- Other"
    )
    expected = sql.replace("> 3 --", "> 1 --")
    assert query.with_parameters(sql, {"NotifySeverityAbove": "1"}) == expected
    for file in functions.DATASETS.glob("*/queries/never_alerted.sql"):
        sql = file.read_text(encoding="utf-8")
        asked = query.with_parameters(sql, {"NotifySeverityAbove": "-2"})
        assert "> -2 -- NotifySeverityAbove" in asked


def test_the_demo_expects_the_deployed_settings(bare: Cloud) -> None:
    stack = Stack.of(bare)
    client, name = bare.client("lambda"), bare.outputs["NotifyFunctionName"]
    before = client.get_function_configuration(FunctionName=name)["Environment"]
    changed = {"Variables": {**before["Variables"], "SEVERITY_ABOVE": "2"}}
    assert (stack.severity_above("Transform"), stack.severity_above("Notify")) == (2, 3)
    client.update_function_configuration(FunctionName=name, Environment=changed)
    try:
        pipeline = demo.Pipeline(stack, 10)
    finally:
        client.update_function_configuration(FunctionName=name, Environment=before)
    assert (pipeline.severe_above, pipeline.alert_above) == (2, 2)


class Series:
    """A CloudWatch with these series of one metric, each with the sum 1."""

    def __init__(self, *series: dict[str, str]) -> None:
        named = [[{"Name": n, "Value": v} for n, v in each.items()] for each in series]
        self._metrics = [{"MetricName": "m", "Dimensions": each} for each in named]

    def get_paginator(self, operation: str) -> Any:
        self._operation = operation
        return self

    def paginate(self, **asked: Any) -> list[dict[str, Any]]:
        if self._operation == "list_metrics":
            return [{"Metrics": self._metrics}]
        ids = [each["Id"] for each in asked["MetricDataQueries"]]
        return [{"MetricDataResults": [{"Id": each, "Values": [1.0]} for each in ids]}]


@pytest.mark.parametrize(
    ("series", "total"),
    [
        ([{"severity_accident": "3", "city_accident": "A", "county_accident": "B"},
          {"severity_accident": "3"}], 1),
        ([{"severity_accident": "3"}, {"severity_accident": "4"}], 2),
        ([{"severity_accident": "3"}, {"county_accident": "A"}, {"county_accident": "B"}], 1),
        ([], 0),
    ],
)  # fmt: skip
def test_each_event_is_counted_once_with_any_series(
    bare: Cloud, series: list[dict[str, str]], total: int
) -> None:
    stack = Stack(Stack.of(bare).dataset, bare.outputs, lambda _: Series(*series))
    assert sum(stack.metric_sums(demo.now()).values()) == total


def test_suggestions_of_the_demo_use_its_own_cloud(bare: Cloud) -> None:
    commands = [
        line for line in demo.next_steps(Stack.of(bare), 4570).plain.splitlines() if "make" in line
    ]
    assert len(commands) == 4
    assert all("PORT=4570" in line for line in commands)
    assert all("LOCAL=1" in line for line in commands if "make down" not in line)
    assert "--seed 2" in commands[2]


@pytest.mark.parametrize("name", ["local", "prod"])
def test_a_misspelled_parameter_of_any_environment_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = functions.SAMCONFIG.read_text("utf-8")
    head, table, rest = text.partition(f"[{name}.global.parameters]")
    rest = rest.replace('"Environment=', '"NotifySevertyAbove=2", "Environment=', 1)
    (changed := tmp_path / "samconfig.toml").write_text(head + table + rest, encoding="utf-8")
    monkeypatch.setattr(functions, "SAMCONFIG", changed)
    with pytest.raises(CommandError) as refused:
        checks.refuse(Environment("dev", "s", "eu-west-1", {"Environment": "dev"}))
    assert str(refused.value) == (
        "NotifySevertyAbove is not a parameter of template.yaml; did you mean "
        f"NotifySeverityAbove? ([{name}] of samconfig.toml)"
    )
    monkeypatch.undo()
    checks.refuse(local_environment())


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"rate": "0"}, "RATE=0: expected rows a second"),
        ({"rows": "-1"}, "ROWS=-1: expected a number of rows"),
        ({"csv": Path("nowhere.csv")}, "cannot read CSV=nowhere.csv"),
    ],
)
def test_the_demo_refuses_invalid_values_by_variable(given: dict[str, Any], says: str) -> None:
    arguments = {"csv": None, "rows": "10", "rate": "max", "dataset": "us_accidents", **given}
    with pytest.raises(demo.DemoFailed, match=says):
        demo.check_input(demo.argparse.Namespace(**arguments))


def test_a_file_without_a_usable_row_is_refused_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest = tmp_path / "replay"
    ingest.write_text("#!/bin/sh\nwc -l <$6 >&2\nexit 1\n", encoding="utf-8")
    ingest.chmod(0o755)
    rows = tmp_path / "rows.csv"
    rows.write_text("A;B\n" + "1;2\n" * 1000, encoding="utf-8")
    monkeypatch.setattr(demo, "REPLAY", ingest)
    monkeypatch.setattr(demo, "OUTPUT", tmp_path)
    with pytest.raises(demo.DemoFailed, match=rf"CSV={rows}: .* can be used: {demo.BEGINNING}$"):
        demo.check_rows("us_accidents", rows)
    ingest.write_text("#!/bin/sh\nexit 0\n", encoding="utf-8")
    demo.check_rows("us_accidents", rows)


@pytest.mark.parametrize("port", ["x", "0", "65536", "1.5", "٣"])
def test_an_option_is_named_as_the_variable_of_make(
    port: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = Parser()
    where.add_options(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["--port", port])
    expected = f"error: PORT: expected a port from 1 to 65535, found {port}\n"
    assert capsys.readouterr().err == expected


def test_an_interrupted_command_ends_in_one_line(
    bare: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted() -> int:
        # A shell lets its commands in the background ignore the signal.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.kill(os.getpid(), signal.SIGINT)
        signal.pause()
        return 0

    with pytest.raises(SystemExit) as ended:
        run(interrupted, cloud.left_running)
    assert ended.value.code == 130
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("interrupted; the local cloud is still running")
    assert f"`make down PORT={bare.port}` stops it" in line


def test_an_unknown_target_points_to_the_list() -> None:
    finished = make("nosuch")
    assert finished.returncode == 2
    assert "there is no target nosuch; make help lists them" in finished.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("deploy", "EVN=prod"), "deploy takes no EVN; expected DATASET ENV."),
        (("replay", "CVS=rows.csv"), "replay takes no CVS; expected CHARSET CSV "),
        (("replay", "ROWS=5", "CSV=rows.csv"), "replay takes no ROWS;"),
        (("up", "ENV=prod"), "up takes no ENV; expected DATASET PORT."),
        (("plan", "EPS=5", "BACH=3"), "plan takes no BACH; expected ALERTED ALERTS_PER_SECOND "),
        (("test", "PORT=3"), "test takes no PORT; it has no variables."),
        (("rehearse", "DigestAbove=2"), "takes no DigestAbove; expected AGAINST AREA"),
        (("rehearse", "DigestAbove=2"), "parameters of the template go into SET="),
        (("query", "SQL=select 1", "LOCAL=maybe"), "LOCAL=maybe: expected yes or no."),
        (("simulate", "SEED=abc"), "SEED=abc: expected a whole number, for example 0."),
        (("simulate", "CASES=1.5"), "CASES=1.5: expected a whole number, for example 100000."),
        (("faults", "SHARE=some"), "SHARE=some: expected a number, for example 0.2."),
    ],
)
def test_make_refuses_a_variable_that_means_nothing(words: tuple[str, ...], says: str) -> None:
    refused = make(*words)
    assert refused.returncode == 2
    assert says in refused.stderr
    assert refused.stdout == ""


def test_make_takes_every_variable_that_a_recipe_uses() -> None:
    text = (REPOSITORY / "Makefile").read_text("utf-8")
    used = re.compile(r"\$\((?:call \w+,)?([A-Z_]+)[),]|\$\$(CSV|FILE|SQL|WHO)\b")
    # Those that a recipe takes by others, and those that a user does not set.
    held = dict(re.findall(r"^(PLACE|REMOVAL|SUGGESTED) :?= (.*)$", text, re.MULTILINE))
    own = {*re.findall(r"^([A-Z_]+) :?= ", text, re.MULTILINE), "CURDIR", "MAKE", "MAKEFILE_LIST"}

    def names(recipe: str) -> set[str]:
        found = {first or second for first, second in used.findall(recipe)}
        through = [names(held[name]) for name in found & held.keys()]
        return (found - own).union(*through)

    targets = re.findall(
        r"^([a-z]+):.*## (.*)\n((?:(?:\t.*| .*|[a-z]+: .*)\n)+)", text, re.MULTILINE
    )
    assert len(targets) > 20
    for target, listed, recipe in targets:
        taken = {*re.findall(r"([A-Z_]+)=", listed)}
        missing = names(recipe) - taken - {"STACK"}
        assert not missing, f"{target} does not list {missing}"


def test_make_takes_every_variable_of_the_documents() -> None:
    command = re.compile(r"make ([a-z]+)((?: [A-Z_]+=(?:\"[^\"]*\"|[^\s`|)\]]*))+)")
    found = {
        (target, name)
        for file in [REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md")]
        if file.name != "CHANGELOG.md"
        for target, given in command.findall(file.read_text("utf-8"))
        for name in re.findall(r" ([A-Z_]+)=", given)
    }
    assert len(found) > 20
    for target, name in sorted(found):
        value = "yes" if name in ("LOCAL", "CHECK", "README", "DRY_RUN", "AGAIN") else "1"
        tried = make("--dry-run", target, f"{name}={value}")
        assert "takes no" not in tried.stderr, (target, name)


@pytest.mark.parametrize("no", ["0", "no", "FALSE", ""])
def test_a_no_is_not_a_yes(no: str) -> None:
    given = ["--dry-run", "redrive", "FROM=rejects"]
    options = {"LOCAL": "--local", "DRY_RUN": "--dry-run", "AGAIN": "--again"}
    refused = make(*given, *(f"{name}={no}" for name in options)).stdout
    taken = make(*given, *(f"{name}=Yes" for name in options)).stdout
    for option in options.values():
        assert f" {option}" not in refused
        assert f" {option}" in taken
    assert " --check" not in make("--dry-run", "render", f"CHECK={no}").stdout


@pytest.mark.parametrize("target", ["replay", "suggest"])
def test_make_says_how_a_file_is_read(target: str) -> None:
    given = ("CSV=rows.txt", "FORMAT=csv", "CHARSET=latin1", "DATE_ORDER=dmy")
    command = make("--dry-run", target, *given).stdout
    assert '--format "csv" --charset "latin1" --date-order "dmy"' in command


@pytest.mark.parametrize("path", ["a b", "a'b", 'a"b', "$HOME", "`id`"])
def test_a_path_reaches_its_command_as_it_was_typed(path: str) -> None:
    refused = make("query", f"FILE=nowhere/{path}")
    assert f"cannot read FILE=nowhere/{path}: " in refused.stderr


def test_the_options_of_plan_and_rehearse_are_those_of_make() -> None:
    for program, option, given in (
        ("plan", "PLAN_OPTIONS", {"eps"}),
        ("rehearse", "REHEARSE_OPTIONS", {"csv", "who", "dataset", "env"}),
    ):
        listed = make("--print-data-base", "--dry-run", "help").stdout
        (words,) = re.findall(rf"^{option} :?= (.*)$", listed, re.MULTILINE)
        shown = ran(sys.executable, "-m", f"tools.{program}.{program}", "--help").stdout
        options = set(re.findall(r"^  (?:-h, )?--([a-z-]+)", shown, re.MULTILINE))
        expected = options - {"help"} - given
        assert {word.lower().replace("_", "-") for word in words.split()} == expected


@pytest.mark.parametrize("at", ["argparse", "boto3", "rich.console", "tools.live.view"])
def test_ctrl_c_while_a_command_begins_ends_in_one_line(at: str) -> None:
    """Interrupts it at the import of a module."""
    begin = f"""
import os, runpy, signal, sys

class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == {at!r}:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.argv = ["-m"]  # as Python names itself while it looks for the module
import tools
sys.modules.pop({at!r}, None)
sys.meta_path.insert(0, Interrupt())
sys.argv = ["tools.live", "--port", "1", "--page", "0"]
runpy.run_module("tools.live", run_name="__main__")
"""
    ended = ran(sys.executable, "-c", begin)
    assert ended.returncode in (-signal.SIGINT, 130), ended.stderr
    assert "Traceback" not in ended.stderr


def test_ctrl_c_while_python_starts_ends_in_one_line() -> None:
    """`make` holds the signal back until the package `tools` is imported."""

    def interrupt() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        os.kill(os.getpid(), signal.SIGINT)

    command = [sys.executable, "-m", "tools.plan.plan", "--eps", "5"]
    ended = ran(*command, preexec_fn=interrupt)
    assert (ended.returncode, ended.stdout) == (130, "")
    assert ended.stderr == "\ninterrupted before anything was done\n"
    commands = make("--dry-run", "plan", "EPS=5").stdout
    assert commands.count("env --block-signal=INT") == commands.count("-m tools.") == 2


def test_an_old_python_is_refused() -> None:
    old = "import sys; sys.version_info = (3, 9, 2); import tools"
    refused = ran(sys.executable, "-c", old)
    assert refused.stderr.startswith("error: expected Python 3.10 or later, found 3.")
    missing = make("down", "PYTHON=python3.nowhere")
    assert "expected Python 3.10 or later, found no python3.nowhere" in missing.stderr


def test_an_interrupted_program_is_followed_by_what_is_left_running(bare: Cloud) -> None:
    # A shell can lose a signal while it starts a command.
    program = "import time; print('begun', flush=True); time.sleep(60)"
    command = [sys.executable, "-c", program]
    options = ["--local", "--port", str(bare.port), "--", *command]
    with subprocess.Popen(
        [sys.executable, "-m", "tools.local.where", *options],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        os.killpg(process.pid, signal.SIGINT)
        said = process.communicate(timeout=30)[1]
    assert process.returncode == 130
    assert said.splitlines()[-1].startswith("interrupted; the local cloud is still running")


def test_a_page_for_all_addresses_names_them() -> None:
    with live.listen("0.0.0.0", 0) as listener:
        port = listener.getsockname()[1]
        own, *others = live.addresses(listener)
        assert own == f"http://127.0.0.1:{port}/"
        assert [f"http://{live.own_address()}:{port}/"] == others or live.own_address() is None
    with live.listen("127.0.0.1", 0) as listener:
        assert len(live.addresses(listener)) == 1
