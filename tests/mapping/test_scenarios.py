"""The rules of the mapping: each scenario file has its steps, here and in the simulated mapping."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.mapping.draw import draw
from tests.mapping.run import difference, files, steps_of
from tests.mapping.scenario import InvalidScenario, Scenario
from tools.local.commands import REPOSITORY, shown

FOLDER = Path(os.environ.get("MAPPING_SCENARIOS", Path(__file__).parent / "scenarios"))
DRAWN = 500


@pytest.mark.parametrize("path", files([FOLDER]), ids=lambda path: path.stem)
def test_scenario_has_its_steps(path: Path) -> None:
    scenario = Scenario.load(path)
    assert scenario.steps, "a scenario without steps shows nothing"
    assert difference(scenario) is None


Simulate = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def simulate() -> Simulate:
    """Runs the simulated mapping on scenario files."""
    shown(["cargo", "build", "--quiet", "--workspace", "--bin", "simulate"])
    command = [REPOSITORY / "target" / "debug" / "simulate", "--mapping"]
    return lambda *paths: subprocess.run(
        [*command, *paths], capture_output=True, encoding="utf-8", check=False
    )


def test_simulated_mapping_takes_the_same_steps(simulate: Simulate, tmp_path: Path) -> None:
    kinds: set[str] = set()
    for seed in range(DRAWN):
        document = draw(seed)
        try:
            document["steps"] = steps_of(Scenario.read(document))
        except InvalidScenario:
            # A function that fails for ever.
            document["until"] = 20_000
            document["steps"] = steps_of(Scenario.read(document))
        kinds |= {kind for step in document["steps"] for kind in step}
        (tmp_path / f"{seed:06}.json").write_text(json.dumps(document))
    assert {"invoke", "checkpoint", "bisect", "discard"} <= kinds
    ran = simulate(FOLDER, tmp_path)
    differing = [line for line in ran.stdout.splitlines() if "as expected" not in line]
    assert (ran.returncode, differing, ran.stderr) == (0, [], "")


def test_a_step_that_differs_is_named_by_both(simulate: Simulate, tmp_path: Path) -> None:
    wrong = {"records": [{}], "steps": [{"at": 0, "invoke": "1"}]}
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps(wrong))
    sentence = 'step 0 is {"at": 0, "shard": 0, "lane": 0, "invoke": "0"}, expected '
    assert (difference(Scenario.load(path)) or "").startswith(sentence)
    ran = simulate(path)
    assert ran.returncode == 1
    assert 'step 0 is {"at":0,"shard":0,"lane":0,"invoke":"0"}' in ran.stdout


INVALID = {
    "not JSON": "{",
    "not an object": "[]",
    "a record that is a list": '{"records": [[]]}',
    "an unknown field": '{"record": []}',
    "an unknown setting": '{"mapping": {"BatchSise": 1}}',
    "a batch size of 0": '{"mapping": {"BatchSize": 0}}',
    "an age of a second": '{"mapping": {"MaximumRecordAgeInSeconds": 1}}',
    "an unknown response type": '{"mapping": {"FunctionResponseTypes": ["All"]}}',
    "an unknown position": '{"mapping": {"StartingPosition": "FIRST"}}',
    "a position without its time": '{"mapping": {"StartingPosition": "AT_TIMESTAMP"}}',
    "a negative time": '{"records": [{"at": -1}]}',
    "a time as a text": '{"records": [{"at": "1"}]}',
    "records without order": '{"records": [{"at": 1}, {"at": 0}]}',
    "a record without a shard": '{"records": [{"shard": 1}]}',
    "a record for a closed shard": '{"records": [{}], "reshards": [{"at": 0, "split": 0}]}',
    "an empty key": '{"records": [{"key": ""}]}',
    "no reshard": '{"records": [{}], "reshards": [{"at": 0}]}',
    "a merge of one shard": '{"reshards": [{"at": 0, "merge": [0, 0]}]}',
    "an unknown answer": '{"function": [{"answer": "maybe"}]}',
    "an answer that is not a number": '{"function": [{"answer": {"response": NaN}}]}',
    "a number without end": '{"function": [{"answer": {"response": 1e999}}]}',
    "half a character": '{"function": [{"answer": {"response": "\\ud83d"}}]}',
    "a step of nothing": '{"steps": [{"at": 0}]}',
    "a step of two": '{"steps": [{"at": 0, "invoke": "0", "checkpoint": "0"}]}',
    "no end": '{"records": [{}], "function": [{"answer": "error"}]}',
}


@pytest.mark.parametrize("text", INVALID.values(), ids=INVALID)
def test_invalid_file_is_refused_in_one_sentence(
    text: str, simulate: Simulate, tmp_path: Path
) -> None:
    path = tmp_path / "invalid.json"
    path.write_text(text)
    with pytest.raises(InvalidScenario) as refused:
        difference(Scenario.load(path))
    ran = simulate(path)
    assert ran.returncode == 2
    for sentence in (f"error: {refused.value}", ran.stderr.strip()):
        assert "\n" not in sentence
        assert sentence.startswith("error: ")
    assert ran.stderr.startswith(f"error: {path}: ")


def test_a_folder_without_scenarios_is_refused(simulate: Simulate, tmp_path: Path) -> None:
    with pytest.raises(InvalidScenario, match="has no scenario"):
        files([tmp_path])
    ran = simulate(tmp_path)
    assert (ran.returncode, "has no scenario" in ran.stderr) == (2, True)
