"""The settings of a rehearsal are those that a deployment would have."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tools.local.commands import CommandError
from tools.plan import model, plan
from tools.rehearse import bill, rehearse, setting

FILE = """
[[department]]
name = "Franklin"
protocol = "email"
address = "dispatch@franklin.example.com"
filter = { county = ["Franklin"] }
environments = ["prod"]

[[department]]
name = "All"
protocol = "sms"
address = "+16145550100"
"""


@pytest.fixture
def departments(tmp_path: Path) -> Path:
    path = tmp_path / "departments.toml"
    path.write_text(FILE, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("DigestAbove=5", {"DigestAbove": "5"}),
        ("A=1 B=2", {"A": "1", "B": "2"}),
        (" A=1,  B=x,y C= ", {"A": "1", "B": "x,y", "C": ""}),
        ("A=1,B=2", {"A": "1", "B": "2"}),
    ],
)
def test_assignments_are_read(text: str, expected: dict[str, str]) -> None:
    assert setting.assignments(text) == expected


@pytest.mark.parametrize("text", ["DigestAbove", "DigestAbove = 5", "A=1 B"])
def test_what_assigns_nothing_is_refused(text: str) -> None:
    with pytest.raises(CommandError, match="expected parameters such as"):
        setting.assignments(text)


def test_functions_get_the_variables_of_the_environment(departments: Path) -> None:
    given = "NotifySeverityAbove=2 StreamMode=PROVISIONED ShardCount=6 ParallelizationFactor=2"
    found = setting.read("us_accidents", "prod", given, departments)
    notify = found.variables("Notify")
    assert (notify["SEVERITY_ABOVE"], notify["SHARDS"], notify["DATASET"]) == (
        "2",
        "6",
        "us_accidents",
    )
    assert found.variables("Metrics")["MAX_SERIES"] == "500"
    assert found.mapping() == {
        "shards": 6,
        "factor": 2,
        "batch": 1000,
        "window_seconds": 2,
        "timeout_seconds": 60,
    }
    assert found.name == f"prod {given}"


def test_departments_are_those_of_the_environment(departments: Path) -> None:
    def names(env: str, given: str = "") -> list[str]:
        found = setting.read("us_accidents", env, given, departments)
        return [each["name"] for each in found.departments()]

    assert names("dev") == ["All"]
    assert sorted(names("prod")) == ["All", "Franklin"]
    assert sorted(names("dev", "AlertEmail=ops@example.com")) == ["AlertEmail", "All"]
    found = setting.read("us_accidents", "prod", "", departments).departments()
    (franklin,) = [each for each in found if each["name"] == "Franklin"]
    assert franklin["filter"] == {"county": ["Franklin"]}


def test_a_parameter_is_checked_as_before_a_deployment(departments: Path) -> None:
    for given, said in [
        ("NotifySeverity=2", "did you mean NotifySeverityAbove"),
        ("TransformSeverityAbove=9", "expected one of 0, 1, 2, 3"),
        ("FifoAlerts=true AlertEmail=a@b.c", "FifoAlerts=true cannot be used"),
        ("DigestAbove=5 DigestAbove=6", "DigestAbove is given twice, as 5 and 6"),
    ]:
        with pytest.raises(CommandError, match=said):
            setting.read("us_accidents", "dev", given, departments)


def test_against_names_an_environment_or_parameters(departments: Path) -> None:
    def name(text: str) -> str:
        return setting.against("us_accidents", "dev", text, departments).name

    assert name("prod") == "prod"
    assert name("DigestAbove=5") == "dev DigestAbove=5"
    assert name("prod DigestAbove=5") == "prod DigestAbove=5"
    with pytest.raises(CommandError, match="no environment nope"):
        name("nope")


def test_the_bill_follows_the_rows_and_the_setting(departments: Path) -> None:
    rows = {
        "accepted": 1_000,
        "severe": 200,
        "sizes": {"raw": 500_000, "severe": 60_000, "analytical": 120_000},
        "rate": {"rows": 1_000, "seconds": 100, "rows_of_minute": 120_000},
    }
    months = {"most": 40, "all": 60, "months": 2}
    found = {"severe": {"events": 200, "series": [months]}, "alerts": {"events": 30}}
    chosen = setting.read("us_accidents", "dev", "MemorySize=512", departments)
    workload = bill.workload(rows, found, chosen, bill.average(rows))
    assert (workload.eps, workload.severe, workload.alerted) == (10, 0.2, 0.03)
    assert (workload.memory_mb, workload.series, workload.alerts_per_second) == (512, 40, 8)
    # 2,000 rows a second of 500 bytes, and a fifth of them of 300 bytes.
    assert bill.shards(rows, found, chosen, bill.peak(rows)) == (3, 1)
    assert bill.series_dollars(months) == pytest.approx(30 * 0.3 * 12)
    assert sum(bill.by_service(bill.lines(rows, found, chosen)).values()) > 0
    peak = sum(bill.by_service(bill.lines_for_peak(rows, found, chosen)).values())
    average = bill.workload(rows, found, chosen, bill.average(rows))
    provisioned = model.bill(
        replace(average, mode="provisioned"), plan.prices(), bill.measured(rows)
    )
    # Two more shards of stream 1 for twelve months.
    price = plan.prices()["kinesis_provisioned"]
    a_month = plan.prices()["hours_per_month"] * (
        price["shard_hour"] + price["shard_hour_extended"]
    )
    assert peak == pytest.approx(12 * (sum(line.dollars for line in provisioned) + 2 * a_month))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("NotifySeverityAbove=1", ["has the effect of NotifySeverityAbove=2"]),
        ("NotifySeverityAbove=4", ["no severity that the data set lists; the highest is 4"]),
        ("NotifySeverityAbove=2", []),
        ("NotifySeverityAbove=3", []),
        ("NotifySeverityAbove=1 TransformSeverityAbove=1", []),
    ],
)
def test_a_threshold_without_effect_is_noted(
    departments: Path, given: str, said: list[str]
) -> None:
    notes = setting.read("us_accidents", "dev", given, departments).notes()
    assert len(notes) == len(said)
    assert all(text in note for text, note in zip(said, notes))


def test_an_area_has_a_subscriber_of_its_own(departments: Path) -> None:
    found = setting.read("us_accidents", "dev", "", departments, ["Los Angeles"])
    first, *_ = found.departments()
    assert first == {
        "name": "Los Angeles (AREA)",
        "protocol": "email",
        "filter": {"county": ["Los Angeles"]},
    }
    assert found.request()["departments"][0] == first


def test_channels_of_a_chat_are_called_chat(tmp_path: Path) -> None:
    path = tmp_path / "departments.toml"
    path.write_text('[[department]]\nname = "Room"\nprotocol = "chat"\n', encoding="utf-8")
    (found,) = setting.read("us_accidents", "dev", "", path).departments()
    assert found == {"name": "Room", "protocol": "chat"}


def test_what_is_wrong_with_departments_names_their_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    for text, said in [
        ("[[department]\n", ":1: "),
        (FILE.replace("county", "conty"), ": Franklin filters by conty, which no alert"),
        (FILE.replace('{ county = ["Franklin"] }', '{ severity = ["4"] }'), "as a number"),
    ]:
        path.write_text(text, encoding="utf-8")
        setting.template_with.cache_clear()
        with pytest.raises(CommandError) as raised:
            setting.read("us_accidents", "dev", "", path)
        assert str(raised.value).startswith(str(path)), raised.value
        assert said in str(raised.value), raised.value


# -------------------------------------------------------------------------------------- files


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("a.csv", "b.csv", "my year.csv", "bob's.csv", "my data/c.csv"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.csv", ["a.csv"]),
        (" b.csv  a.csv ", ["b.csv", "a.csv"]),
        ("my year.csv", ["my year.csv"]),
        ("my year.csv a.csv", ["my year.csv", "a.csv"]),
        ("'my year.csv' a.csv", ["my year.csv", "a.csv"]),
        ("a.csv bob's.csv", ["a.csv", "bob's.csv"]),
        ("my data/*.csv b.csv", ["my data/c.csv", "b.csv"]),
        ("[ab].csv", ["a.csv", "b.csv"]),
    ],
)
def test_files_are_found_by_name_and_pattern(folder: Path, text: str, expected: list[str]) -> None:
    assert [str(path) for path in rehearse.files(text)] == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("c.csv", "could not find the file c.csv$"),
        ("a.csv my yaer.csv", "could not find the file my; put a name with blanks in quotes"),
        ("my data", "my data is a folder; name its files, such as CSV='my data/"),
        ("  ", "name the files to rehearse"),
    ],
)
def test_a_file_that_is_not_there_is_named(folder: Path, text: str, said: str) -> None:
    with pytest.raises(CommandError, match=said):
        rehearse.files(text)


def test_files_that_are_given_twice_are_noted(folder: Path) -> None:
    (folder / "copy.csv").write_text("a.csv", encoding="utf-8")
    (folder / "empty.csv").touch()
    (folder / "none.csv").touch()
    given = ["a.csv", "./a.csv", "b.csv", "copy.csv", "empty.csv", "none.csv"]
    paths, notes = rehearse.once([Path(name) for name in given])
    assert [path.name for path in paths] == ["a.csv", "b.csv", "copy.csv", "empty.csv", "none.csv"]
    assert notes == [
        "a.csv is named twice, and was read once",
        "copy.csv has the same content as a.csv, so that its rows count twice",
    ]


def test_a_comparison_with_itself_is_refused(departments: Path) -> None:
    given = ["--csv", "x", "--departments", str(departments)]
    with pytest.raises(CommandError, match="AGAINST=dev is what is rehearsed anyway"):
        rehearse.settings(rehearse.arguments([*given, "--against", "dev"]))
    default = [*given, "--against", "NotifySeverityAbove=3"]
    with pytest.raises(CommandError, match="is what is rehearsed anyway"):
        rehearse.settings(rehearse.arguments(default))
    assert len(rehearse.settings(rehearse.arguments([*given, "--against", "prod"]))) == 2
