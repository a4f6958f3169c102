"""What a user does on the first day, from the command line: rewards of one's own, trackers, queues that start over."""

import contextlib
import importlib.util
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from g2rpo.cli.main import app
from g2rpo.data.tasks import make
from g2rpo.training.run.libraries import library_words


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


def refusal(*arguments: str | Path) -> str:
    """The sentence that a command is refused with, run in this process."""
    with pytest.raises(SystemExit) as stopped, contextlib.redirect_stderr(io.StringIO()) as told:
        app([*map(str, arguments)], standalone_mode=False)
    assert stopped.value.code == 2
    line = told.getvalue().strip().splitlines()[-1]
    assert line.startswith("error: ")
    assert "Traceback" not in told.getvalue()
    return line


def installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


ABSENT = [
    (
        "tensorboard",
        "--report_to tensorboard",
        "report_to is 'tensorboard'. Expected an installed tracker. Install it (pip install tensorboard)",
    ),
    ("trackio", "--report_to trackio", "report_to is 'trackio'. Expected an installed tracker"),
    ("wandb", "--report_to none wandb", "report_to is 'none'"),
    ("wandb", "--report_to wandb", "report_to is 'wandb'. Expected an installed tracker"),
    ("vllm", "--use_vllm", "use_vllm is True. Expected the package vllm to be installed"),
    ("bitsandbytes", "--load_in_4bit", "load_in_4bit is True. Expected the package bitsandbytes"),
    (
        "bitsandbytes",
        "--optim adamw_8bit",
        "optim is 'adamw_8bit'. Expected what Transformers can make of it. It says: You need to install `bitsandbytes`",
    ),
    ("liger_kernel", "--use_liger_kernel", "use_liger_kernel is True. Expected the package liger_kernel"),
    ("deepspeed", "--deepspeed ds.json", "deepspeed is 'ds.json'. Expected the package deepspeed"),
    ("flash_attn", "--attn_implementation flash_attention_2", "FlashAttention2"),
]
WRONG = [
    ("--report_to nonsense", "report_to is 'nonsense'. Expected trackers that Transformers knows"),
    ("--report_to tensorbord", "Did you mean 'tensorboard'"),
    ("--optim nonsense", "optim is 'nonsense'"),
    ("--lr_scheduler_type nonsense", "lr_scheduler_type is 'nonsense'"),
    ("--attn_implementation nonsense", "It says: Specified `attn_implementation"),
    ("--dtype nonsense", "It says: Invalid `dtype`"),
    ("--use_peft --lora_target_modules nonsense", "Target modules nonsense not found"),
    ("--save_strategy nonsense", "save_strategy is 'nonsense'"),
    ("--loss_type nonsense", "loss_type is 'nonsense'. Expected one of"),
    ("--num_generations 3", "num_generations"),
    ("--load_best_model_at_end", "load_best_model_at_end"),
    ("--fsdp nonsense", "fsdp"),
    ("--scale_rewards nonsense", "scale_rewards is 'nonsense'. Expected one of group, batch, none"),
    ("--max_completion_length 1000000", "Expected less than 512, the tokens that the model has room for"),
    ("--eval_strategy steps", "eval_strategy is 'steps'. Expected no, or suites"),
    ("--warmup_ratio 0.1", "Write it as warmup_steps: below 1"),
    ("--max_prompt_length 512", "TRL cuts no prompts any more"),
    ("--rewards accuracy,acuracy", "reward is 'acuracy'. Expected a known reward"),
    ("--use_peft --lora_target_modules q_proj,nonsense_proj --lora_r 0", "`r` should be a positive"),
    ("--reward_weights 1 2", "reward weights"),
    ("--hub_strategy nonsense", "hub_strategy is 'nonsense'"),
    ("--accelerator_config nonexistent.json", "nonexistent.json"),
    ("--gradient_accumulation_steps 0", "gradient_accumulation_steps"),
    ("--warmup_steps -3", "warmup_steps"),
    ("--torch_empty_cache_steps -1", "torch_empty_cache_steps"),
    ("--lr_scheduler_kwargs nonsense", "lr_scheduler_kwargs"),
    ("--optim_args nonsense", "optim_args is 'nonsense'"),
    ("--optim adagrad --optim_args lr_decay=x", "optim_args is 'lr_decay=x'"),
    (
        "--lr_scheduler_type cosine_with_min_lr",
        "lr_scheduler_type is 'cosine_with_min_lr'. Expected what Transformers can make of it",
    ),
    ("--lora_r 0 --use_peft", "`r` should be a positive"),
]


@pytest.mark.parametrize(("module", "flags", "told"), [pytest.param(*case, id=case[1]) for case in ABSENT])
def test_a_package_that_is_missing_is_told_before_a_model_is_loaded(recipe, module, flags, told, monkeypatch):
    if installed(module):
        pytest.skip(f"{module} is installed")
    if "attn" not in flags:
        monkeypatch.setattr("g2rpo.training.trainer.GuidedGRPOTrainer.__init__", None)
    assert told in refusal("train", recipe, *flags.split())
    assert not (recipe.parents[1] / "run").exists()


@pytest.mark.parametrize(("flags", "told"), [pytest.param(*case, id=case[0]) for case in WRONG])
def test_what_a_library_refuses_is_told_in_a_sentence(recipe, flags, told):
    assert told in refusal("train", recipe, *flags.split())
    assert not (recipe.parents[1] / "run").exists()


def test_an_error_that_nobody_meant_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError), library_words("set-up"):
        _ = 1 / 0
    with pytest.raises(ValueError, match="ours"), library_words("set-up"):
        raise ValueError("ours")


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


def test_rollout_files_hold_the_expected_answer_and_show_prints_it(tmp_path, recipe, capsys):
    for flags in ([], ["--preset", "grpo"]):
        run = tmp_path / f"run{len(flags)}"
        app(["train", str(recipe), "--max_steps", "1", "--output_dir", str(run), *flags], standalone_mode=False)
        rows = pq.read_table(run / "rollouts" / "generation_000000.parquet").to_pylist()
        golds = {p.key: p.answer for p in make("chains", "train", 32, steps=3)}
        assert rows
        assert [row["answer"] for row in rows] == [golds[row["key"]] for row in rows]
        capsys.readouterr()
        app(["show", str(run)], standalone_mode=False)
        assert f"expected {rows[0]['answer']}\n" in capsys.readouterr().out


def steps(run: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (run / "steps.jsonl").read_text().splitlines()]


def test_resuming_a_complete_run_says_so_and_is_no_failure(tmp_path, recipe, capsys):
    run = tmp_path / "run"
    assert app(["train", str(recipe)], standalone_mode=False) is None
    written = (run / "steps.jsonl").read_bytes()
    capsys.readouterr()
    for again in (["--resume"], ["--resume", "auto"], ["--logging_steps", "1", "--resume"]):
        app(["train", str(recipe), *again], standalone_mode=False)
        assert f"Complete: {run} has 2 steps" in capsys.readouterr().out
    assert (run / "steps.jsonl").read_bytes() == written
    assert "learning_rate is 0.1" in refusal("train", recipe, "--resume", "--learning_rate", "0.1")
    # Killed between the last checkpoint and the end: it gets the model that the checkpoint holds.
    (run / "model.safetensors").unlink()
    (run / "phases.json").unlink()
    app(["train", str(recipe), "--resume"], standalone_mode=False)
    assert (run / "model.safetensors").read_bytes() == (run / "checkpoint-2" / "model.safetensors").read_bytes()
    # With more to do it goes on.
    app(["train", str(recipe), "--resume", "auto", "--max_steps", "3"], standalone_mode=False)
    assert steps(run) == [1, 2, 3]


def test_a_complete_run_without_checkpoints_or_by_its_budget_of_tokens_is_complete_too(tmp_path, recipe, capsys):
    for flags in (["--save_strategy", "no"], ["--max_steps", "50", "--max_sampled_tokens", "300"]):
        run = tmp_path / flags[0].strip("-")
        app(["train", str(recipe), *flags, "--output_dir", str(run)], standalone_mode=False)
        capsys.readouterr()
        app(["train", str(recipe), *flags, "--output_dir", str(run), "--resume"], standalone_mode=False)
        assert f"Complete: {run} has {len(steps(run))} steps" in capsys.readouterr().out
    app(
        [
            "train",
            str(recipe),
            "--num_train_epochs",
            "1",
            "--max_steps",
            "-1",
            "--task_size",
            "4",
            "--output_dir",
            str(tmp_path / "epochs"),
        ],
        standalone_mode=False,
    )
    capsys.readouterr()
    app(
        [
            "train",
            str(recipe),
            "--num_train_epochs",
            "1",
            "--max_steps",
            "-1",
            "--task_size",
            "4",
            "--output_dir",
            str(tmp_path / "epochs"),
            "--resume",
        ],
        standalone_mode=False,
    )
    assert "Complete" in capsys.readouterr().out


@pytest.mark.parametrize("flags", [["--logging_steps", "1"], ["--logging_steps", "50"], ["--save_strategy", "no"]])
def test_imitation_that_was_ended_by_its_budget_of_tokens_is_complete(tmp_path, recipe, capsys, flags):
    run, budget = tmp_path / "run", ["--max_steps", "50", "--max_sampled_tokens", "300", "--save_steps", "50", *flags]
    app(["sft", str(recipe), *budget, "--resume", "auto"], standalone_mode=False)
    assert "the budget of tokens is spent" in capsys.readouterr().out
    written = (run / "steps.jsonl").read_bytes()
    assert written
    for again in (["--resume"], ["--resume", "auto"]):
        app(["sft", str(recipe), *budget, *again], standalone_mode=False)
        assert f"Complete: {run} has {steps(run)[-1]} steps" in capsys.readouterr().out
    assert (run / "steps.jsonl").read_bytes() == written


def test_resume_auto_begins_where_nothing_is_there_yet_and_where_no_checkpoint_was_reached(tmp_path, recipe):
    run = tmp_path / "run"
    assert "checkpoint to resume from" in refusal("train", recipe, "--resume")
    app(["train", str(recipe), "--resume", "auto", "--save_strategy", "no", "--max_steps", "1"], standalone_mode=False)
    assert steps(run) == [1]
    # What a kill before the first checkpoint leaves: a record, a half-written checkpoint, no model.
    (run / "phases.json").unlink()
    (run / "model.safetensors").unlink()
    (run / "checkpoint-1").mkdir()
    assert "learning_rate is 0.1" in refusal("train", recipe, "--resume", "auto", "--learning_rate", "0.1")
    app(["train", str(recipe), "--resume", "auto"], standalone_mode=False)
    assert steps(run) == [1, 2]
    assert sorted(f.name for f in (run / "rollouts").iterdir()) == ["generation_000000.parquet", "generation_000001.parquet"]


def test_resume_auto_leaves_what_is_no_stopped_run_alone(tmp_path, recipe):
    run = tmp_path / "run"
    run.mkdir()
    (run / "model.safetensors").write_bytes(b"somebody's")
    assert "a directory without a run in it" in refusal("train", recipe, "--resume", "auto")
    assert (run / "model.safetensors").read_bytes() == b"somebody's"


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_sigterm_writes_a_checkpoint_and_the_resumed_run_is_the_uninterrupted_one(tmp_path, recipe):
    many = ["--max_steps", "12", "--gradient_accumulation_steps", "2", "--num_iterations", "2", "--save_steps", "12"]
    app(["train", str(recipe), *many, "--output_dir", str(tmp_path / "whole")], standalone_mode=False)
    run = tmp_path / "run"
    started = subprocess.Popen(command("train", recipe, *many), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    until = time.monotonic() + 240
    while time.monotonic() < until and not (run / "steps.jsonl").exists() and started.poll() is None:
        time.sleep(0.02)
    started.send_signal(signal.SIGTERM)
    said, _ = started.communicate(timeout=240)
    assert started.returncode == 75, said
    [checkpoint] = run.glob("checkpoint-*")
    step = int(checkpoint.name.rpartition("-")[2])
    assert f"Stopped by SIGTERM after step {step}" in said
    assert step % 2 == 0  # each generation batch feeds two
    assert step < 12
    assert not (run / "model.safetensors").exists()
    assert "budget of tokens" not in said
    app(["train", str(recipe), *many, "--resume", "auto"], standalone_mode=False)
    losses = [
        [json.loads(line)["metrics"]["loss"] for line in (folder / "steps.jsonl").read_text().splitlines()]
        for folder in (run, tmp_path / "whole")
    ]
    assert losses[0] == losses[1]
    assert (run / "model.safetensors").read_bytes() == (tmp_path / "whole" / "model.safetensors").read_bytes()


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize(("pause", "code"), [(0.0, 7), (2.0, -signal.SIGTERM)])
def test_a_second_sigterm_ends_the_process_unless_a_launcher_echoes_the_first(pause, code):
    program = f"""
import signal, sys, time
from g2rpo.training.run import resuming
resuming.ECHO_S = 1.0
stop = resuming.StopOnSigterm(None)
stop.on_train_begin(None, None, None)
signal.raise_signal(signal.SIGTERM)
time.sleep({pause})
signal.raise_signal(signal.SIGTERM)
sys.exit(7 if stop.told_at is not None else 1)
"""
    assert subprocess.run([sys.executable, "-c", program], timeout=240).returncode == code


def test_without_the_command_line_no_signal_is_caught(tmp_path, recipe):
    app(["train", str(recipe)], standalone_mode=False)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
