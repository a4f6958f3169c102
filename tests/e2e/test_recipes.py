"""Every recipe: its arithmetic, and its agreement with its siblings. `test_recipes_train.py` runs them."""

import re
import shlex
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from transformers import TrainingArguments

from g2rpo.training.run.recipe import Recipe, read_flags, read_yaml, resolve
from g2rpo.training.sft import resolve_sft

RECIPES = Path(__file__).parents[2] / "recipes"
ALL = sorted(path.stem for path in RECIPES.glob("*.yaml"))
SFT = [name for name in ALL if name.startswith("sft-")]
RL = [name for name in ALL if name not in SFT]
LINES = {name: (RECIPES / f"{name}.yaml").read_text().splitlines() for name in ALL}
CPU = ("--use_cpu",)
TREATMENT = re.compile(r"preset|output_dir|guidance_.*")
"""What two arms of one comparison may differ in."""


def path(name: str) -> Path:
    return RECIPES / f"{name}.yaml"


@contextmanager
def processes(count: int):
    """Inside, every configuration believes in so many processes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingArguments, "world_size", property(lambda self: count))
        yield


@cache
def at_home(name: str, sft: bool) -> Recipe:
    """The recipe as its own launch command resolves it, but for the accelerator."""
    with processes(launches(name)[0].processes):
        values = read_yaml(path(name))
        return resolve_sft(values, CPU) if sft else resolve(values, CPU)


# ---------------------------------------------------------------------- the files themselves


def test_the_recipes_that_the_documentation_lists_are_there():
    listed = set(re.findall(r"`([\w.-]+)\.yaml`", (RECIPES / "README.md").read_text()))
    assert {n for n in listed if not n.startswith(("zero", "fsdp"))} == set(ALL)


@pytest.mark.parametrize("name", ALL)
def test_resolves_and_says_what_has_not_been_tried(name):
    values = read_yaml(path(name))
    recipe = at_home(name, name in SFT)
    assert recipe.training.output_dir == f"runs/{name}"
    assert recipe.training.seed == 42
    header = " ".join(line.lstrip("# ") for line in LINES[name] if line.startswith("#"))
    assert "Hardware:" in header
    if not values["model_name_or_path"].startswith("builtin"):
        assert "Never run on the real weights" in header


@pytest.mark.parametrize("name", RL)
def test_serves_supervised_fine_tuning_too(name):
    sft, rl = at_home(name, True), at_home(name, False)
    assert sft.data.system_prompt == rl.data.system_prompt
    assert sft.training.learning_rate == rl.training.learning_rate
    assert resolve_sft(read_yaml(path(name)), CPU).data.guidance_style == rl.training.guidance_style


@dataclass(frozen=True)
class Launch:
    """A command in a recipe's header and what the header says about it."""

    recipe: str
    processes: int
    per_step: int
    words: tuple[str, ...]

    @property
    def flags(self) -> tuple[str, ...]:
        return self.words[self.words.index(f"recipes/{self.target}.yaml") + 1 :]

    @property
    def target(self) -> str:
        return next(Path(w).stem for w in self.words if w.startswith("recipes/") and "accelerate" not in w)

    @property
    def sft(self) -> bool:
        return self.words[self.words.index(f"recipes/{self.target}.yaml") - 1] == "sft"


def launches(name: str) -> list[Launch]:
    found, claim = [], None
    text = "\n".join(LINES[name]).replace("\\\n#", "")
    for line in text.splitlines():
        if said := re.search(r"\((\d+) process(?:es)?, (\d+) (?:rollouts|sequences) per step\)", line):
            claim = int(said[1]), int(said[2])
        elif line.startswith("#   ") and "g2rpo " in line:
            found.append(Launch(name, *claim, tuple(shlex.split(line.removeprefix("#")))))
    return found


LAUNCHES = [launch for name in ALL for launch in launches(name)]


def test_every_recipe_gives_its_launch_command():
    assert {launch.recipe for launch in LAUNCHES} == set(ALL)
    assert all(launch.target == launch.recipe for launch in LAUNCHES if "--model_name_or_path" not in launch.flags)


@pytest.mark.parametrize("launch", LAUNCHES, ids=lambda launch: f"{launch.recipe}-{launch.processes}")
def test_launch_command_makes_the_batch_that_the_header_claims(launch):
    options = launch.words[: launch.words.index("train" if "train" in launch.words else "sft")]
    if "accelerate" in options:
        count = 1
        if "--config_file" in options:
            count = read_yaml(RECIPES.parent / options[options.index("--config_file") + 1])["num_processes"]
        if "--num_processes" in options:
            count = int(options[options.index("--num_processes") + 1])
        assert count == launch.processes
    elif "torchrun" in options:
        assert int(options[options.index("--nproc-per-node") + 1]) == launch.processes
    else:
        assert launch.processes == 1
    values, flags = read_yaml(path(launch.target)), (*launch.flags, *CPU)
    with processes(launch.processes):
        args = resolve_sft(values, flags).training if launch.sft else resolve(values, flags).training
    if not launch.sft:
        assert args.generation_batch_size == launch.per_step
        assert launch.per_step % args.num_generations == 0
        assert args.optimizer_steps_per_generation == 1  # on-policy: each batch of rollouts feeds one step
    assert args.per_device_train_batch_size * args.gradient_accumulation_steps * launch.processes == launch.per_step


# ---------------------------------------------------------------------- siblings do not drift apart


@cache
def resolved(name: str) -> dict:
    return at_home(name, name in SFT).to_json()


def differences(a: str, b: str) -> set[str]:
    left, right = ({k: v for part in resolved(n).values() for k, v in part.items()} for n in (a, b))
    return {key for key in left.keys() | right.keys() if left.get(key) != right.get(key)}


ARMS = [
    ("qwen3-0.6b-math", "qwen3-0.6b-math-ours"),
    ("qwen3-1.7b-base-math", "qwen3-1.7b-base-math-ours"),
    ("qwen3-1.7b-base-math", "grpo-qwen3-1.7b-base-math"),
    ("qwen3-8b-base-math", "qwen3-8b-base-math-ours"),
]


@pytest.mark.parametrize(("a", "b"), ARMS, ids=[b for _, b in ARMS])
def test_arms_differ_in_the_treatment_alone(a, b):
    found = differences(a, b)
    assert "guidance_controller" in found
    assert {key for key in found if not TREATMENT.fullmatch(key)} == set()


def test_model_sizes_differ_in_what_size_asks_for():
    small = {"model_name_or_path", "output_dir", "guidance_ratio"}
    memory = {
        "per_device_train_batch_size",
        "gradient_accumulation_steps",
        "steps_per_generation",
        "generation_batch_size",
        "vllm_gpu_memory_utilization",
    }
    assert differences("qwen3-1.7b-base-math", "qwen3-0.6b-math") <= small
    assert differences("qwen3-1.7b-base-math", "qwen3-8b-base-math") <= small | memory


def test_lora_recipe_differs_in_what_lora_changes():
    lora = {key for key in resolved("qwen3-1.7b-lora")["model"] if "lora" in key} | {"use_peft", "dtype", "learning_rate"}
    memory = {"per_device_train_batch_size", "gradient_accumulation_steps", "steps_per_generation", "vllm_gpu_memory_utilization"}
    assert differences("qwen3-1.7b-gsm8k-1gpu", "qwen3-1.7b-lora") <= lora | memory | {"output_dir"}


def test_fine_tuning_sees_what_the_arms_see():
    sft, rl = read_yaml(path("sft-qwen3-1.7b-base-math")), read_yaml(path("qwen3-1.7b-base-math"))
    own = {
        "output_dir",
        "max_length",
        "per_device_train_batch_size",
        "gradient_accumulation_steps",
        "num_train_epochs",
        "save_strategy",
        "save_total_limit",
    }
    assert {key for key in sft if sft[key] != rl.get(key)} == own


def test_newcomers_recipe_is_an_arm_of_the_demo():
    from g2rpo.lab.demo import EXPERIMENT

    values, demo = read_yaml(path("chains")), read_yaml(EXPERIMENT)
    assert {key for key, value in demo["shared"].items() if values.get(key) != value} == {"max_steps"}  # the budget ends both
    assert values["max_sampled_tokens"] == demo["budget"]["sampled_tokens"]
    assert values["preset"] == demo["arms"]["g2rpo"]["preset"]


def test_the_published_values():
    args, data = resolved("qwen3-1.7b-base-math")["training"], resolved("qwen3-1.7b-base-math")["data"]
    published = {
        "num_generations": 10,
        "learning_rate": 1e-5,
        "temperature": 0.7,
        "lr_scheduler_kwargs": {"min_lr_rate": 0.1},
        "warmup_steps": 0.05,
        "beta": 0.04,
        "shuffle_dataset": False,
        "reward_weights": [1.0, 0.1],
        "guidance_loss": "policy_gradient",
        "guidance_advantages": "joint",
        "guidance_unit": "tokens",
        "guidance_ratio": 0.25,
        "max_completion_length": 4096,
    }
    assert {key: args[key] for key in published} == published
    assert data["rewards"] == ["accuracy", "format"]
    assert data["dataset_name"] == "G2RPO-A/Math-Curriculum-1K"
    assert resolved("qwen3-0.6b-math")["training"]["guidance_ratio"] == 0.75


@pytest.mark.parametrize("file", sorted((RECIPES / "accelerate").glob("*.yaml")), ids=lambda file: file.stem)
def test_accelerate_knows_every_field(file):
    from accelerate.commands.config.config_args import load_config_from_file
    from accelerate.commands.launch import launch_command_parser

    config = load_config_from_file(str(file))  # raises for unknown keys
    known = {action.dest for action in launch_command_parser()._actions}
    assert set(config.deepspeed_config) | set(config.fsdp_config) <= known
    assert config.mixed_precision == "bf16"
    assert config.num_processes == 8


def test_flags_of_launch_commands_are_fields():
    for launch in LAUNCHES:
        assert set(read_flags(launch.flags)) <= resolved_fields()


@cache
def resolved_fields() -> set[str]:
    return {key for part in resolved("qwen3-1.7b-base-math").values() for key in part}
