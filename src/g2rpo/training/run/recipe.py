"""A recipe: one flat YAML file of TRL's and our fields, plus flags that win over it. Resolved before anything is loaded."""

import contextlib
import dataclasses
import difflib
import os
import re
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import yaml
from rlvr_graders.registry import get_reward, importable_from
from trl import ModelConfig

from g2rpo.data.completion import style
from g2rpo.data.curriculum import check_curriculum, in_order, of_difficulty, read_pass_rates
from g2rpo.data.few_shot import with_examples
from g2rpo.data.load import instructed, load_problems
from g2rpo.data.plain_text import FORMATS, as_text
from g2rpo.data.problem import Problem
from g2rpo.data.sources.openr1 import TIERS
from g2rpo.data.tasks import make
from g2rpo.data.tasks.notations import altered
from g2rpo.data.trace_assignment import come_round, keep_traces
from g2rpo.data.trace_choice import pick_traces
from g2rpo.errors import ConfigError, nearest
from g2rpo.training.config import GuidedGRPOConfig, check_numbers
from g2rpo.training.held_out_evaluation import DEFAULTS, HeldOutConfig
from g2rpo.training.presets import PRESETS, preset
from g2rpo.training.run.libraries import check_packages, library_words


def _setting(default: Any, text: str) -> Any:
    if isinstance(default, list | dict):
        return field(default_factory=lambda: type(default)(default), metadata={"help": text})
    return field(default=default, metadata={"help": text})


@dataclass
class DataConfig:
    """Where problems and rewards come from."""

    preset: str | None = _setting(None, f"A method by name: {', '.join(PRESETS)}. Single fields override it.")
    dataset_name: str | None = _setting(None, "Data set on the hub, such as openai/gsm8k.")
    dataset_path: str | None = _setting(
        None, "Local file or folder instead (JSONL, JSON, CSV, Parquet); $NAME is an environment variable."
    )
    dataset_config: str | None = _setting(None, "Configuration on the hub, such as main.")
    dataset_split: str = _setting("train", "Split on the hub, or the file's stem in a folder.")
    dataset_limit: int | None = _setting(None, "Keep the first so many problems.")
    dataset_difficulty: list[float] | None = _setting(
        None, "Keep problems of this difficulty alone: lowest and highest, or one number for both (GSM8K: [1, 3] steps)."
    )
    dataset_source: str | None = _setting(
        None, "How rows are read, by name (docs/data.md); default: recognised by the set's name or its columns."
    )
    dataset_duplicates: str = _setting("error", "A problem that stands there twice: error, drop (keep the first) or keep.")
    dataset_trace: str = _setting("shortest", "Of several traces of a problem: shortest or first (likeliest: g2rpo data traces).")
    curriculum: str | None = _setting(None, "Order of the problems: easy_to_hard, mixed (TRL's shuffling) or sequential.")
    curriculum_by: str = _setting("difficulty", "What makes a problem hard: difficulty, tiers (by source) or pass_rate.")
    curriculum_tiers: list[str] = _setting(list(TIERS), "Sources from easy to hard, for curriculum_by: tiers.")
    curriculum_file: str | None = _setting(None, "Pass rates written by g2rpo data difficulty, for curriculum_by: pass_rate.")
    columns: dict[str, str] = _setting({}, "Which column plays which role: {prompt: question, answer: final, trace: solution}.")
    system_prompt: str | None = _setting(None, "System message before every problem.")
    instruction: str | None = _setting(None, "Line appended to every problem, such as the wanted format.")
    few_shot: int = _setting(
        0, "Worked examples in front of each problem, drawn from the training problems, never the problem itself."
    )
    prompt_format: str = _setting(
        "chat", "How prompts are put: chat (the model's template), or text, for base models without one."
    )
    task: str | None = _setting(None, "Procedural task instead of a data set: chains, word_problems or programs.")
    task_steps: list[int] = _setting([7], "Reasoning steps per problem: one number, or lowest and highest.")
    task_size: int = _setting(2000, "Problems to draw.")
    trace_noise: float = _setting(0.0, "Share of a task's traces with one wrong step; answers stay right.")
    trace_style: str = _setting(
        "own", "How a task's traces are written: own, prose, terse, skips (steps left out) or stops (the last third left out)."
    )
    trace_limit: int | None = _setting(None, "Problems that keep their trace; the others have an answer only. Default: all.")
    trace_share: float | None = _setting(
        None,
        "Least share of the problems trained on that have a trace: those come round more often if they are fewer. Default: "
        "as they are.",
    )
    rewards: list[str] = _setting(
        ["accuracy"], "Rewards by name, module:function or file.py:function; found beside the recipe and in the working folder."
    )
    reward_kwargs: dict[str, dict[str, Any]] = _setting({}, "Settings per reward: {cosine: {max_length: 512}}.")

    def problems(self, split: str | None = None, style_name: str = "think_answer") -> list[Problem]:
        """Loads or draws the problems, each with the trace it is to have, and with worked examples in the named completion
        style."""
        if self.prompt_format not in FORMATS:
            raise ConfigError(
                "prompt_format", self.prompt_format, expected=f"one of {', '.join(FORMATS)}", then="Leave it out for chat."
            )
        problems = self._with_traces(split)
        if self.few_shot:
            pool = problems if split in (None, self.dataset_split) else self._with_traces(None)
            problems = with_examples(problems, pool, self.few_shot, style(style_name))
        return problems if self.prompt_format == "chat" else [as_text(p) for p in problems]

    def _with_traces(self, split: str | None) -> list[Problem]:
        problems = self._problems(split)
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


@dataclass(frozen=True)
class Recipe:
    """A run, resolved: model, data and rewards, training."""

    model: ModelConfig
    data: DataConfig
    training: Any
    held_out: HeldOutConfig = field(default_factory=HeldOutConfig)

    def to_json(self) -> dict[str, Any]:
        """The whole configuration as plain data, sorted by owner."""
        return {
            "model": dataclasses.asdict(self.model),
            "data": dataclasses.asdict(self.data),
            "training": self.training.to_dict(),
            "held_out": dataclasses.asdict(self.held_out),
        }


class _Yaml(yaml.SafeLoader):
    """YAML in which only true and false are truth values: `no` and `off` are words that fields of ours and TRL's take.

    A key that stands there twice is an error: YAML would keep the last one, and the eye finds the first.
    """

    def construct_mapping(self, node, deep=False):
        seen: dict[str, int] = {}
        for key, _ in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            if name in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"{name!r} stands there twice, on lines {seen[name]} and {line}: keep one of them"
                )
            seen[name] = line
        return super().construct_mapping(node, deep)


_Yaml.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Yaml.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("true|True|TRUE|false|False|FALSE"), list("tTfF"))
_SPOKEN = {"yes": True, "on": True, "no": False, "off": False}


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping in a YAML file. Numbers such as 1e-5, which YAML 1.1 takes for text, are read by the field's own type.

    Rewards that it names are found beside it from now on.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError("recipe", str(path), expected="an existing YAML file", then="See recipes/ for examples.")
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _Yaml)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError("recipe", str(path), expected="valid YAML in UTF-8", then=" ".join(str(error).split())) from error
    if not isinstance(values, dict):
        raise ConfigError("recipe", str(path), expected="a mapping of fields to values", then="See recipes/ for examples.")
    importable_from(path.parent)
    return values


def read_flags(flags: Sequence[str]) -> dict[str, Any]:
    """`--field value`, `--field=value`; several values make a list, none means true; values are read as YAML."""
    values: dict[str, Any] = {}
    name = None
    words: dict[str, list[str]] = {}
    for flag in flags:
        if flag.startswith("--"):
            name, equals, rest = flag[2:].partition("=")
            name = name.replace("-", "_")
            words[name] = [rest] if equals else []
        elif name is None:
            raise ConfigError("argument", flag, expected="--field value", then="Put two dashes before the field's name.")
        else:
            words[name].append(flag)
    for name, given in words.items():
        parsed = [_flag_value(w) for w in given]
        values[name] = True if not parsed else parsed[0] if len(parsed) == 1 else parsed
    return values


def _flag_value(word: str) -> Any:
    try:
        return yaml.load(word, _Yaml) if word.strip() else word
    except yaml.YAMLError as error:
        if word[0] in "{[":
            raise ConfigError("flag value", word, expected="a YAML mapping or list", then=str(error)) from error
        return word  # text that happens not to be YAML, such as a regular expression


def merged_with(values: Mapping[str, Any], flags: Sequence[str]) -> dict[str, Any]:
    """Flags win; a data set named by flag stands in for the recipe's own, whichever kind either is."""
    given = read_flags(flags)
    sources = ("dataset_path", "dataset_name", "task")
    named = any(given.get(s) is not None for s in sources)
    return {**values, **({s: None for s in sources if s not in given} if named else {}), **given}


def resolve(values: Mapping[str, Any], flags: Sequence[str] = (), config_class: type = GuidedGRPOConfig) -> Recipe:
    """Recipe values and flags, checked and typed.

    Raises:
        ConfigError: a field that nobody knows (with the nearest right one), or a value its owner refuses.
    """
    given = merged_with(values, flags)
    named = given.get("preset")
    merged = {**(preset(named) if named and issubclass(config_class, GuidedGRPOConfig) else {}), **given}
    merged.setdefault("model_name_or_path", "builtin")
    owners = (ModelConfig, DataConfig, config_class, HeldOutConfig)
    known = {f.name: f for owner in owners for f in dataclasses.fields(owner) if f.init}
    hints = {name: hint for owner in owners for name, hint in typing.get_type_hints(owner).items()}
    if merged.get("eval_suite"):
        merged = {**{name: value for name, value in DEFAULTS.items() if name in known}, **merged}
    for name, value in merged.items():
        if name not in known:
            raise ConfigError(
                "recipe field",
                name,
                expected="a field of the model, the data or the training configuration",
                then=f"A recipe is flat: write the fields of {name!r} at its top level."
                if isinstance(value, Mapping) and not _misspelt_mapping(str(name), hints)
                else nearest(str(name), list(known)),
            )
    typed = {name: typed_value(name, value, hints[name]) for name, value in merged.items()}
    check_numbers(typed)
    check_packages({"deepspeed": typed.get("deepspeed")})  # the others are asked for when a run begins
    with library_words("values of the recipe"):
        try:
            # Not HfArgumentParser: it rewrites the types of the classes' fields, and the next recipe would be read differently.
            model, data, training, held_out = (
                owner(**{f.name: typed[f.name] for f in dataclasses.fields(owner) if f.name in typed}) for owner in owners
            )
        except (ValueError, TypeError, OSError) as error:
            refused = _refused(str(error), given)
            raise ConfigError(
                *(refused or ("recipe", *filter(None, [named]))),
                expected="values that fit together",
                then=" ".join(str(error).split())[:400],
            ) from error
    if (data.task is None) == (data.dataset_name is None and data.dataset_path is None):
        raise ConfigError(
            "data",
            data.task or data.dataset_name,
            expected="exactly one of task, dataset_name and dataset_path",
            then="Set one of them.",
        )
    _check_curriculum(data, training, typed)
    return Recipe(model, data, training, held_out)


def _refused(said: str, given: Mapping[str, Any]) -> tuple[str, Any] | None:
    """The field whose value, or else whose name, an error speaks of; None where it is none of the given ones, or several."""
    for speaks in (lambda name, value: isinstance(value, str) and said.startswith(f"{value} "), lambda name, value: name in said):
        found = [(name, value) for name, value in given.items() if speaks(name, value)]
        if len(found) == 1:
            return found[0]
    return None


def _misspelt_mapping(name: str, hints: Mapping[str, Any]) -> bool:
    """Whether a field that takes a mapping has nearly this name: then it is a mistyped field, not a section."""
    mappings = [known for known, hint in hints.items() if any(dict in (kind, typing.get_origin(kind)) for kind in _kinds(hint))]
    return bool(difflib.get_close_matches(name, mappings, n=1, cutoff=0.6))


def _check_curriculum(data: DataConfig, training: Any, given: Mapping[str, Any]) -> None:
    """A curriculum decides TRL's shuffling. Saying two things about it is an error."""
    check_curriculum(data.curriculum or "mixed", data.curriculum_by)
    if data.curriculum_by == "pass_rate" and data.curriculum == "easy_to_hard" and not data.curriculum_file:
        raise ConfigError(
            "curriculum_file",
            None,
            expected="the pass rates that curriculum_by: pass_rate needs",
            then="Write one with g2rpo data difficulty.",
        )
    if data.curriculum is None or not isinstance(training, GuidedGRPOConfig):
        return
    shuffled = data.curriculum == "mixed"
    if given.get("shuffle_dataset", shuffled) != shuffled:
        raise ConfigError(
            "shuffle_dataset",
            given["shuffle_dataset"],
            expected=f"{str(shuffled).lower()} with curriculum: {data.curriculum}",
            then="Leave it out: the curriculum sets it.",
        )
    training.shuffle_dataset = shuffled


def typed_value(name: str, value: Any, hint: Any) -> Any:
    """A value as its field wants it: numbers that YAML left as text (1e-5), one value where a list is meant.

    Raises:
        ConfigError: no reading of the value fits the field's type.
    """
    kinds = _kinds(hint)
    if Any in kinds or (value is None and _optional(hint)):
        return value
    if value is None:
        raise ConfigError(name, None, expected=_told(kinds), then="Leave the field out for its default.")
    if kinds == [bool] and isinstance(value, str) and value.lower() in _SPOKEN:
        return _SPOKEN[value.lower()]
    lists = [k for k in kinds if typing.get_origin(k) is list or k is list]
    plain = tuple(typing.get_origin(k) or k for k in kinds if isinstance(typing.get_origin(k) or k, type))
    if lists and not isinstance(value, list) and not (isinstance(value, plain) and not isinstance(value, bool)):
        value = [value]
    if isinstance(value, list) and lists:
        [item] = typing.get_args(lists[0]) or (Any,)
        return [typed_value(name, v, item) for v in value]
    if isinstance(value, str) and str not in kinds and {int, float} & set(kinds):
        try:
            value = float(value) if float in kinds else int(value)
        except ValueError:
            raise ConfigError(name, value, expected="a number", then="Write it like 1.0e-5 or 16.") from None
    if float in kinds and isinstance(value, str):  # a field that is a number or a word
        with contextlib.suppress(ValueError):
            value = float(value)
    if float in kinds and isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, bool) and bool not in kinds and name != "scale_rewards":
        raise ConfigError(name, value, expected=f"{_told(kinds)}", then="Set one, or leave the field out.")
    if (
        plain
        and not isinstance(value, plain)
        and not any(isinstance(k, type) and issubclass(k, Enum) for k in kinds)
        and name != "scale_rewards"
    ):
        raise ConfigError(name, value, expected=_told(kinds), then="See g2rpo fields.")
    return value


def _optional(hint: Any) -> bool:
    return type(None) in typing.get_args(hint)


def _kinds(hint: Any) -> list[Any]:
    """The members of a union, None left out; any other hint as the only member."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return [k for arg in typing.get_args(hint) for k in _kinds(arg) if k is not type(None)]
    return [hint]


def _told(kinds: list[Any]) -> str:
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text", dict: "a mapping", list: "a list"}
    return " or ".join(dict.fromkeys(names.get(typing.get_origin(k) or k, str(k)) for k in kinds))
