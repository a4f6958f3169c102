"""The examples run, the two TRL scripts differ in what they say, and the rule of the other package is found by its name."""

import difflib
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from g2rpo.errors import ConfigError
from g2rpo.lab.simulate.simulation import scenario, simulate
from g2rpo.method.controller import state_from_json, state_to_json
from g2rpo.method.controllers import get_controller
from g2rpo.method.rollout import Outcome

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("script", ["before", "after"])
def test_the_trl_scripts_run(script, tmp_path):
    command = [sys.executable, str(EXAMPLES / "trl" / f"{script}.py"), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert ("guidance/success/guided" in done.stdout) == (script == "after")


def test_they_differ_in_two_names():
    before, after = ((EXAMPLES / "trl" / f"{name}.py").read_text().split('"""')[2] for name in ("before", "after"))
    changes = [line for line in difflib.ndiff(before.splitlines(), after.splitlines()) if line[0] in "-+"]
    assert sorted(changes) == sorted(
        [
            "- from trl import GRPOConfig, GRPOTrainer",
            "+ from g2rpo import GuidedGRPOConfig, GuidedGRPOTrainer",
            "- trainer = GRPOTrainer(",
            "+ trainer = GuidedGRPOTrainer(",
            "-     args=GRPOConfig(",
            "+     args=GuidedGRPOConfig(",
        ]
    )


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The package as an installer leaves it: the module, and its entry points beside it."""
    project = tomllib.loads((EXAMPLES / "controller" / "pyproject.toml").read_text())["project"]
    shutil.copy(EXAMPLES / "controller" / "g2rpo_staircase.py", tmp_path)
    facts = tmp_path / f"g2rpo_staircase-{project['version']}.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = project["entry-points"].items()
    lines = [line for group, names in groups for line in (f"[{group}]", *(f"{name} = {at}" for name, at in names.items()))]
    (facts / "entry_points.txt").write_text("\n".join(lines) + "\n")
    monkeypatch.syspath_prepend(tmp_path)


def outcomes(success: float, guided: bool) -> list[Outcome]:
    return [
        Outcome(
            key="q",
            rollout_index=i,
            guided=guided,
            guidance_tokens=4 * guided,
            fraction=0.5 * guided,
            sampled_tokens=5,
            success=success,
            reward=success,
        )
        for i in range(4)
    ]


@pytest.mark.usefixtures("installed")
def test_the_rule_of_the_other_package_is_found_and_works():
    rule = get_controller("staircase", start=0.5, change=0.1)
    state = rule.initial()
    assert rule.update(state, outcomes(1.0, True)).fraction == pytest.approx(0.4)
    assert rule.update(state, outcomes(0.0, True)).fraction == pytest.approx(0.6)
    # Only guided rollouts count while there are any.
    assert rule.update(state, outcomes(0.0, True) + outcomes(1.0, False)).fraction == pytest.approx(0.6)
    assert state_from_json(rule, state_to_json(state)) == state
    lengths = simulate(rule, scenario("smooth"), steps=20, seed=0, ratio=0.5).length
    assert all(0 <= length <= 1 for length in lengths)
    assert len(set(lengths)) > 2
    with pytest.raises(ConfigError, match="target"):
        get_controller("staircase", target=1.0)


def test_without_its_package_the_name_is_unknown():
    with pytest.raises(ConfigError, match="staircase"):
        get_controller("staircase")
