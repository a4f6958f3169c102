"""What a user does on the first day, from the command line: rewards of one's own, trackers, queues that start over."""

import contextlib
import importlib.util
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from g2rpo.cli.main import app
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
    ("tensorboard", "--report_to tensorboard", "report_to is 'tensorboard'. Expected an installed tracker. Install it (pip install tensorboard)"),
    ("trackio", "--report_to trackio", "report_to is 'trackio'. Expected an installed tracker"),
    ("wandb", "--report_to none wandb", "report_to is 'none'"),
    ("wandb", "--report_to wandb", "report_to is 'wandb'. Expected an installed tracker"),
    ("vllm", "--use_vllm", "use_vllm is True. Expected the package vllm to be installed"),
    ("bitsandbytes", "--load_in_4bit", "load_in_4bit is True. Expected the package bitsandbytes"),
    ("bitsandbytes", "--optim adamw_8bit", "optim is 'adamw_8bit'. Expected what Transformers can make of it. It says: You need to install `bitsandbytes`"),
    ("liger_kernel", "--use_liger_kernel", "use_liger_kernel is True. Expected the package liger_kernel"),
    ("deepspeed", "--deepspeed ds.json", "deepspeed is 'ds.json'. Expected the package deepspeed"),
    ("flash_attn", "--attn_implementation flash_attention_2", "FlashAttention2"),
]  # fmt: skip
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
