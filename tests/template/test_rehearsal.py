"""The settings of a rehearsal are those that a deployment would have."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.local.commands import CommandError
from tools.rehearse import bill, setting

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
    franklin, *_ = [
        each
        for each in setting.read("us_accidents", "prod", "", departments).departments()
        if each["name"] == "Franklin"
    ]
    assert franklin["filter"] == {"county": ["Franklin"]}


def test_a_parameter_is_checked_as_before_a_deployment(departments: Path) -> None:
    for given, said in [
        ("NotifySeverity=2", "did you mean NotifySeverityAbove"),
        ("TransformSeverityAbove=9", "expected one of 0, 1, 2, 3"),
        ("FifoAlerts=true AlertEmail=a@b.c", "FifoAlerts=true cannot be used"),
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
