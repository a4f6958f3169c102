"""The command line as a user meets it: whole runs on a tiny model, what they leave behind, and what mistakes are told."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from g2rpo.cli.doctor import run_doctor
from g2rpo.cli.fields import print_fields
from g2rpo.cli.main import app


def g2rpo(*arguments: str, cwd: Path | None = None, timeout: float = 240, **env: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "g2rpo", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=timeout, env={**os.environ, **env})


@pytest.fixture
def recipe(tmp_path, checkpoint):
    """A recipe file for three tiny steps."""
    path = tmp_path / "tiny.yaml"
    path.write_text(
        f"""
model_name_or_path: {checkpoint("qwen3")}
task: chains
task_steps: [3]
task_size: 32
rewards: [accuracy, format]
reward_weights: [1.0, 0.1]
num_generations: 4
per_device_train_batch_size: 8
max_completion_length: 48
max_steps: 4
learning_rate: 1e-3
use_cpu: true
bf16: false
report_to: none
save_strategy: steps
save_steps: 2
output_dir: {tmp_path / "run"}
"""
    )
    return path


def test_train_show_and_resume(recipe, tmp_path):
    done = g2rpo("train", str(recipe))
    assert done.returncode == 0, done.stderr[-2000:]
    assert "step 4/4" in done.stdout  # plain lines where the output is not a terminal
    run = tmp_path / "run"
    steps = [json.loads(line) for line in (run / "steps.jsonl").read_text().splitlines()]
    assert [s["step"] for s in steps] == [1, 2, 3, 4]
    wanted = {"guidance/success/unguided", "guidance/success/gap", "guidance/advantage/guided_mass", "guidance/groups/solve_none",
              "guidance/groups/zero_std", "guidance/advantage/std", "guidance/tokens/sampled", "guidance/tokens/prefilled",
              "guidance/tokens/trained", "loss", "reward"}  # fmt: skip
    assert wanted <= set(steps[0]["metrics"])
    assert set(steps[0]["controller"]) == {"successes", "failures"}
    assert json.loads((run / "resolved.json").read_text())["training"]["guidance_controller"] == "profile"
    assert json.loads((run / "manifest.json").read_text())["problems"] == 32
    rows = pq.read_table(run / "rollouts" / "generation_000000.parquet").to_pylist()
    assert len(rows) == 8
    guided = next(r for r in rows if r["guided"])
    assert guided["token_origin"].count(1) == guided["guidance_tokens"] > 0
    assert len(guided["token_origin"]) == len(guided["token_ids"])

    shown = g2rpo("show", str(run))
    assert shown.returncode == 0, shown.stderr
    assert "⟦<think>" in shown.stdout
    assert "unguided" in shown.stdout

    again = g2rpo("train", str(recipe))
    assert again.returncode == 2
    assert "--resume" in again.stderr
    # As if killed after step 3: the last checkpoint is removed, lines and rollouts past step 2 stay behind.
    for file in (run / "checkpoint-4").rglob("*"):
        file.unlink()
    (run / "checkpoint-4").rmdir()
    before = (run / "steps.jsonl").read_text().splitlines()
    resumed = g2rpo("train", str(recipe), "--resume")
    assert resumed.returncode == 0, resumed.stderr[-2000:]
    after = (run / "steps.jsonl").read_text().splitlines()
    assert after[:2] == before[:2]

    def comparable(line):
        record = json.loads(line)
        return record["step"], record["controller"], record["metrics"]["loss"], record["metrics"]["reward"]

    assert [comparable(a) for a in after] == [comparable(b) for b in before]


def test_sft_from_the_same_recipe(recipe, tmp_path):
    done = g2rpo("sft", str(recipe), "--output_dir", str(tmp_path / "sft"), "--save_strategy", "no")
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "sft" / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--guidance_ratoi", "0.5"], ["guidance_ratoi", "Did you mean 'guidance_ratio'"]),
        (["--guidance_ratio", "1.5"], ["guidance_ratio is 1.5", "[0, 1]"]),
        (["--num_generations", "1"], ["num_generations is 1", "at least 2"]),
        (["--guidance_controller", "papr"], ["papr", "Did you mean 'paper'"]),
        (["--guidance_reward", "speed"], ["speed", "accuracy_reward"]),
        (["--task", "chainz"], ["chainz", "Did you mean 'chains'"]),
        (["--rewards", "acuracy"], ["acuracy", "Did you mean 'accuracy'"]),
        (["--learning_rate", "fast"], ["learning_rate is 'fast'", "a number"]),
    ],
)
def test_mistakes_are_told_in_one_line_before_anything_runs(recipe, tmp_path, capsys, flags, words):
    with pytest.raises(SystemExit) as stopped:
        app(["train", str(recipe), *flags], standalone_mode=False)
    assert stopped.value.code == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith("error: ")
    for word in words:
        assert word in message
    assert not (tmp_path / "run" / "steps.jsonl").exists()


def test_help_is_quick():
    g2rpo("--help")  # the first call may compile
    times = []
    for _ in range(3):
        began = time.perf_counter()
        assert g2rpo("--help").returncode == 0
        times.append(time.perf_counter() - began)
    assert min(times) < 0.5


@pytest.mark.parametrize(
    "command",
    [
        ["train"],
        ["sft"],
        ["demo"],
        ["compare"],
        ["report"],
        ["show"],
        ["doctor"],
        ["fields"],
        ["grade", "math"],
        ["grade", "code"],
        ["eval"],
        ["compare-evals"],
    ],
)
def test_every_command_explains_itself(command):
    done = CliRunner().invoke(app, [*command, "--help"])
    assert done.exit_code == 0
    assert "Usage" in done.stdout


def test_doctor_says_what_is_here(capsys):
    assert run_doctor() == 0
    assert "torch" in capsys.readouterr().out


def test_fields_lists_ours_and_trls(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    print_fields("guidance_ratio")
    print_fields("learning_rate")
    shown = capsys.readouterr().out
    assert "alpha" in shown
    assert "5e-05" in shown or "1e-06" in shown


def test_grade_math_reads_pairs_and_writes_verdicts(tmp_path):
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text(
        '{"id": "a", "gold": "1/2", "completion": "so \\\\boxed{0.5}"}\n{"id": "b", "gold": "3", "completion": "<answer>4</answer>"}\n'
    )
    done = CliRunner().invoke(app, ["grade", "math", "--input", str(pairs), "--output", str(tmp_path / "out.jsonl")])
    assert done.exit_code == 0, done.output
    verdicts = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [(v["id"], v["verdict"], v["score"]) for v in verdicts] == [("a", "equal", 1.0), ("b", "different", 0.0)]
