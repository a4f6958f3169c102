"""The data fields of a recipe: problems, their traces and their rewards."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rlvr_graders.registry import get_reward

from g2rpo.data.completion import TraceFields, setting, style
from g2rpo.data.curriculum import in_order, of_difficulty, of_pass_rate, read_pass_rates
from g2rpo.data.load import instructed, load_problems
from g2rpo.data.problem import Problem
from g2rpo.data.prompt_forms import FORMATS, as_text, with_examples
from g2rpo.data.sources.openr1 import TIERS
from g2rpo.data.tasks import make
from g2rpo.data.tasks.notations import altered
from g2rpo.data.trace_assignment import come_round, keep_traces
from g2rpo.data.trace_choice import pick_traces
from g2rpo.errors import ConfigError, nearest, one_of
from g2rpo.training.presets import PRESETS


@dataclass
class DataConfig(TraceFields):
    """Where problems and rewards come from, and how a completion is written around a trace."""

    preset: str | None = setting(None, f"A method by name: {', '.join(PRESETS)}. Single fields override it.")
    dataset_name: str | None = setting(None, "Data set on the hub, such as openai/gsm8k.")
    dataset_path: str | None = setting(
        None, "Local file or folder instead (JSONL, JSON, CSV, Parquet); $NAME is an environment variable."
    )
    dataset_config: str | None = setting(None, "Configuration on the hub, such as main.")
    dataset_split: str = setting("train", "Split on the hub, or the file's stem in a folder.")
    dataset_limit: int | None = setting(None, "Keep the first so many problems.")
    dataset_difficulty: list[float] | None = setting(
        None, "Keep problems of this difficulty alone: lowest and highest, or one number for both (GSM8K: [1, 3] steps)."
    )
    dataset_pass_rate: list[float] | None = setting(
        None,
        "Train on problems that a model solves this often alone: lowest and highest share of its samples, from curriculum_file. "
        "Held-out splits are left whole.",
    )
    dataset_source: str | None = setting(
        None, "How rows are read, by name (docs/data.md); default: recognised by the set's name or its columns."
    )
    dataset_duplicates: str = setting("error", "A problem that stands there twice: error, drop (keep the first) or keep.")
    dataset_trace: str = setting("shortest", "Of several traces of a problem: shortest or first.")
    curriculum: str | None = setting(None, "Order of the problems: easy_to_hard, mixed (TRL's shuffling) or sequential.")
    curriculum_by: str = setting("difficulty", "What makes a problem hard: difficulty, tiers (by source) or pass_rate.")
    curriculum_tiers: list[str] = setting(list(TIERS), "Sources from easy to hard, for curriculum_by: tiers.")
    curriculum_file: str | None = setting(
        None, "Pass rates written by g2rpo data difficulty, for curriculum_by: pass_rate and dataset_pass_rate."
    )
    columns: dict[str, str] = setting({}, "Which column plays which role: {prompt: question, answer: final, trace: solution}.")
    system_prompt: str | None = setting(None, "System message before every problem.")
    instruction: str | None = setting(None, "Line appended to every problem, such as the wanted format.")
    few_shot: int = setting(
        0, "Worked examples in front of each problem, drawn from the training problems, never the problem itself."
    )
    prompt_format: str = setting(
        "chat", "How prompts are put: chat (the model's template), or text, for base models without one."
    )
    task: str | None = setting(None, "Procedural task instead of a data set: chains, word_problems or programs.")
    task_steps: list[int] = setting([7], "Reasoning steps per problem: one number, or lowest and highest.")
    task_size: int = setting(2000, "Problems to draw.")
    trace_noise: float = setting(0.0, "Share of a task's traces with one wrong step; answers stay right.")
    trace_style: str = setting(
        "own", "How a task's traces are written: own, prose, terse, skips (steps left out) or stops (the last third left out)."
    )
    trace_limit: int | None = setting(None, "Problems that keep their trace; the others have an answer only. Default: all.")
    trace_share: float | None = setting(
        None,
        "Least share of the problems trained on that have a trace: those come round more often if they are fewer. Default: "
        "as they are.",
    )
    rewards: list[str] = setting(
        ["accuracy"], "Rewards by name, module:function or file.py:function; found beside the recipe and in the working folder."
    )
    reward_kwargs: dict[str, dict[str, Any]] = setting({}, "Settings per reward: {cosine: {max_length: 512}}.")

    def __post_init__(self) -> None:
        style(self.guidance_style)

    def problems(self, split: str | None = None) -> list[Problem]:
        """Loads or draws the problems, each with the trace it is to have, and with worked examples in the completion style."""
        one_of("prompt_format", self.prompt_format, FORMATS)
        problems = self._with_traces(split)
        if self.few_shot:
            pool = problems if split in (None, self.dataset_split) else self._with_traces(None)
            problems = with_examples(problems, pool, self.few_shot, style(self.guidance_style))
        return problems if self.prompt_format == "chat" else [as_text(p) for p in problems]

    def _with_traces(self, split: str | None) -> list[Problem]:
        problems = self._problems(split)
        if self.dataset_pass_rate is not None and self.curriculum_file and split in (None, self.dataset_split):
            problems = of_pass_rate(problems, self.dataset_pass_rate, read_pass_rates(self.curriculum_file))
        if self.task is not None:
            problems = [altered(p, noise=self.trace_noise, style=self.trace_style) for p in problems]
        elif self.trace_noise or self.trace_style != "own":
            name = "trace_noise" if self.trace_noise else "trace_style"
            raise ConfigError(
                name,
                getattr(self, name),
                expected="it unset: only a procedural task's traces can be rewritten",
                then="Set task, or leave it out.",
            )
        return problems if self.trace_limit is None else keep_traces(problems, self.trace_limit)

    def _problems(self, split: str | None) -> list[Problem]:
        if self.task is not None:
            if not 1 <= len(self.task_steps) <= 2:
                raise ConfigError(
                    "task_steps", self.task_steps, expected="one number, or lowest and highest", then="Write task_steps: [9]."
                )
            low, high = self.task_steps[0], self.task_steps[-1]
            drawn = make(self.task, split or self.dataset_split, self.task_size, steps=(low, high))
            return [instructed(p, self.system_prompt, self.instruction) for p in drawn]
        whole = self.dataset_difficulty is None
        problems = load_problems(
            name=self.dataset_name,
            path=self.dataset_path and os.path.expandvars(self.dataset_path),
            config=self.dataset_config,
            split=split or self.dataset_split,
            columns=self.columns or None,
            source=self.dataset_source,
            duplicates=self.dataset_duplicates,
            limit=self.dataset_limit if whole else None,
            system_prompt=self.system_prompt,
            instruction=self.instruction,
        )
        if not whole:
            problems = of_difficulty(problems, self.dataset_difficulty)[: self.dataset_limit]
        return pick_traces(problems, self.dataset_trace)

    def in_curriculum(self, problems: Sequence[Problem], seed: int) -> list[Problem]:
        """The problems in the order they are trained on; without a curriculum, as they are. `trace_share` repeats some."""
        if self.curriculum is not None:
            rates = read_pass_rates(self.curriculum_file) if self.curriculum_file else None
            problems = in_order(
                problems, self.curriculum, self.curriculum_by, seed=seed, tiers=self.curriculum_tiers, pass_rates=rates
            )
        return list(problems) if self.trace_share is None else come_round(problems, self.trace_share)

    def reward_functions(self) -> list[Any]:
        unknown = [name for name in self.reward_kwargs if name not in self.rewards]
        if unknown:
            raise ConfigError(
                "reward_kwargs", unknown[0], expected="one of the rewards of this run", then=nearest(unknown[0], self.rewards)
            )
        return [get_reward(name, **self.reward_kwargs.get(name, {})) for name in self.rewards]
