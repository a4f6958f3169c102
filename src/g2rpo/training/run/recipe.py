"""A recipe: one flat YAML file of TRL's and our fields, plus flags that win over it. Resolved before anything is loaded."""

import dataclasses
import difflib
import re
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from rlvr_graders.registry import importable_from
from trl import ModelConfig

from g2rpo.data.curriculum import check_curriculum
from g2rpo.errors import ConfigError, nearest
from g2rpo.training.config import GuidedGRPOConfig
from g2rpo.training.field_values import check_numbers, kinds_of, typed_value
from g2rpo.training.held_out_evaluation import DEFAULTS, HeldOutConfig
from g2rpo.training.presets import preset
from g2rpo.training.run.data_config import DataConfig
from g2rpo.training.run.libraries import check_packages, library_words


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


_FORMER = {
    "warmup_ratio": "Write it as warmup_steps: below 1 it is the share of the run's steps.",
    "max_prompt_length": "Leave it out: TRL cuts no prompts any more, and prompts that do not fit are refused before training.",
    "max_seq_length": "It is called max_length (SFT), and max_completion_length where a model samples.",
    "torch_dtype": "It is called dtype.",
    "evaluation_strategy": "It is called eval_strategy.",
    "no_cuda": "It is called use_cpu.",
    "lora_target": "It is called lora_target_modules.",
}
"""Fields that older recipes have, and what became of them."""


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
                else _FORMER.get(str(name)) or nearest(str(name), list(known)),
            )
    typed = {name: typed_value(name, value, hints[name]) for name, value in merged.items()}
    check_numbers(typed)
    _check_lora(typed)
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


def _check_lora(given: Mapping[str, Any]) -> None:
    """TRL passes over `lora_*` without `use_peft`, and trains every weight."""
    fields = [name for name in given if name.startswith("lora_")]
    if fields and "use_peft" not in given:
        raise ConfigError(
            "use_peft",
            None,
            expected=f"true where {fields[0]} is set; without it all weights are trained",
            then="Set use_peft: true for LoRA, or use_peft: false to keep the fields and train all weights.",
        )


def _refused(said: str, given: Mapping[str, Any]) -> tuple[str, Any] | None:
    """The field whose value, or else whose name, an error speaks of; None where it is none of the given ones, or several."""
    for speaks in (lambda name, value: isinstance(value, str) and said.startswith(f"{value} "), lambda name, value: name in said):
        found = [(name, value) for name, value in given.items() if speaks(name, value)]
        if len(found) == 1:
            return found[0]
    return None


def _misspelt_mapping(name: str, hints: Mapping[str, Any]) -> bool:
    """Whether a field that takes a mapping has nearly this name: then it is a mistyped field, not a section."""
    mappings = [known for known, hint in hints.items() if any(dict in (kind, typing.get_origin(kind)) for kind in kinds_of(hint))]
    return bool(difflib.get_close_matches(name, mappings, n=1, cutoff=0.6))


def _check_curriculum(data: DataConfig, training: Any, given: Mapping[str, Any]) -> None:
    """A curriculum decides TRL's shuffling. Saying two things about it is an error."""
    check_curriculum(data.curriculum or "mixed", data.curriculum_by)
    by_rate = data.curriculum_by == "pass_rate" and data.curriculum == "easy_to_hard"
    if (by_rate or data.dataset_pass_rate is not None) and not data.curriculum_file:
        raise ConfigError(
            "curriculum_file",
            None,
            expected=f"the pass rates that {'curriculum_by: pass_rate' if by_rate else 'dataset_pass_rate'} needs",
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
