"""What a user does on the first day, from the command line: rewards of one's own, trackers, queues that start over."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "g2rpo", *map(str, arguments)]


def g2rpo(*arguments: str | Path, cwd: Path, timeout: float = 240, **env: str) -> subprocess.CompletedProcess:
    paths = os.pathsep.join(path for path in sys.path if path)  # the working folder is another one
    env = {**os.environ, "PYTHONPATH": paths, **env}
    return subprocess.run(command(*arguments), capture_output=True, text=True, cwd=cwd, timeout=timeout, env=env)


@pytest.fixture
def recipe(tmp_path, checkpoint):
    """A recipe file in a folder of its own, for two tiny steps."""
    folder = tmp_path / "recipes"
    folder.mkdir()
    path = folder / "tiny.yaml"
    path.write_text(
        f"""
model_name_or_path: {checkpoint("qwen3")}
task: chains
task_steps: [3]
task_size: 32
num_generations: 4
per_device_train_batch_size: 8
max_completion_length: 48
max_steps: 2
learning_rate: 1e-3
guidance_controller: profile
use_cpu: true
bf16: false
report_to: none
save_steps: 1
logging_steps: 1
output_dir: {tmp_path / "run"}
"""
    )
    return path


OWN = "def short(completions, **columns):\n    return [float(len(str(c)) < 200) for c in completions]\n"


@pytest.mark.parametrize(
    ("place", "name"), [("recipe", "my_rewards:short"), ("working", "my_rewards:short"), ("recipe", "./my_rewards.py:short")]
)
def test_a_reward_of_ones_own_beside_the_recipe_or_in_the_working_folder(tmp_path, recipe, place, name):
    working = tmp_path / "elsewhere"
    working.mkdir()
    (recipe.parent if place == "recipe" else working).joinpath("my_rewards.py").write_text(OWN)
    done = g2rpo("train", recipe, "--rewards", "accuracy", name, "--guidance_reward", "accuracy", "--max_steps", "1", cwd=working)
    assert done.returncode == 0, done.stderr
    [step] = [json.loads(line) for line in (tmp_path / "run" / "steps.jsonl").read_text().splitlines()]
    assert "rewards/short/mean" in step["metrics"]
