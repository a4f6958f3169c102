"""Types and ranges of fields: what is wrong with a value by itself is found before a library sees it."""

import contextlib
import math
import re
import types
import typing
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

from g2rpo.errors import ConfigError

Rule = tuple[Callable[[float], bool], str]
_FINITE: Rule = (math.isfinite, "finite numbers")
_AT_LEAST_0: Rule = (lambda x: 0 <= x < math.inf, "a finite number, 0 or more")
_ABOVE_0: Rule = (lambda x: 0 < x < math.inf, "a finite number above 0")
_COUNT: Rule = (lambda x: x >= 1, "1 or more")
_SHARE: Rule = (lambda x: 0 <= x <= 1, "a number from 0 to 1")
_BELOW_1: Rule = (lambda x: 0 <= x < 1, "a number from 0 to below 1")
_BY_RULE: tuple[tuple[Rule, str], ...] = (
    (_AT_LEAST_0, "learning_rate weight_decay warmup_steps beta max_grad_norm epsilon epsilon_high"),
    (_ABOVE_0, "temperature repetition_penalty adam_epsilon num_train_epochs"),
    (_COUNT, "max_completion_length per_device_train_batch_size per_device_eval_batch_size gradient_accumulation_steps"),
    (_COUNT, "steps_per_generation generation_batch_size num_iterations num_generations_eval max_length"),
    (_COUNT, "dataset_limit task_size max_sampled_tokens dynamic_sampling_rounds eval_limit eval_max_tokens"),
    (_BELOW_1, "adam_beta1 adam_beta2"),
    (_SHARE, "min_p"),
    ((lambda x: x >= 0, "0 (none) or more"), "few_shot rollouts_every"),
    ((lambda x: 0 < x <= 1, "a number above 0, at most 1"), "top_p"),
    ((lambda x: x >= 0, "0 (all tokens) or more"), "top_k"),
    ((lambda x: x >= 1 or x == -1, "1 or more, or -1 (num_train_epochs decides)"), "max_steps"),
    (_FINITE, "reward_weights"),
)
NUMBERS = {name: rule for rule, names in _BY_RULE for name in names.split()}
"""What numbers of ours, TRL's and Transformers' must be: they find out hours later, or in the words of a sampler, or never."""


def check_numbers(values: Mapping[str, Any]) -> None:
    """Judges every number by itself, those of lists too, before a library sees it.

    Raises:
        ConfigError: names the first that is not a number at all (nan), or out of its range.
    """
    for name, value in values.items():
        numbers = [v for v in (value if isinstance(value, list) else [value]) if isinstance(v, int | float)]
        right, expected = NUMBERS.get(name, (lambda x: not math.isnan(x), "a number"))
        if not all(right(number) for number in numbers if not isinstance(number, bool)):
            raise ConfigError(name, value, expected=expected, then="Change it, or leave the field out for its default.")


_WORDS = re.compile(r"[\w.:/-]+(?:,\s*[\w.:/-]+)+")
_SPOKEN = {"yes": True, "on": True, "no": False, "off": False}


def typed_value(name: str, value: Any, hint: Any) -> Any:
    """A value as its field wants it: numbers that YAML left as text (1e-5), one value or `a,b` where a list is meant.

    Raises:
        ConfigError: no reading of the value fits the field's type.
    """
    kinds = kinds_of(hint)
    if Any in kinds or (value is None and _optional(hint)):
        return value
    if value is None:
        raise ConfigError(name, None, expected=_told(kinds), then="Leave the field out for its default.")
    if kinds == [bool] and isinstance(value, str) and value.lower() in _SPOKEN:
        return _SPOKEN[value.lower()]
    lists = [k for k in kinds if typing.get_origin(k) is list or k is list]
    plain = tuple(typing.get_origin(k) or k for k in kinds if isinstance(typing.get_origin(k) or k, type))
    if lists and isinstance(value, str) and _WORDS.fullmatch(value):
        value = re.split(r",\s*", value)
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


def kinds_of(hint: Any) -> list[Any]:
    """The members of a union, None left out; any other hint as the only member."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return [k for arg in typing.get_args(hint) for k in kinds_of(arg) if k is not type(None)]
    return [hint]


def _told(kinds: list[Any]) -> str:
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text", dict: "a mapping", list: "a list"}
    return " or ".join(dict.fromkeys(names.get(typing.get_origin(k) or k, str(k)) for k in kinds))
