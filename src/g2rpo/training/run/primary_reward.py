"""Which reward drives the controller, whether the rewards can grade the data, and what is said of one that raises or returns
NaN."""

import logging
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Real
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from trl.trainer.utils import is_async_callable

from g2rpo.errors import ConfigError, DataError, RunError, nearest, rows_from_1
from g2rpo.training.config import GuidedGRPOConfig

logger = logging.getLogger(__name__)


def reward_name(func: Any) -> str:
    """The name TRL logs a reward under."""
    if isinstance(func, str):
        return func.split("/")[-1]
    return getattr(func, "__name__", None) or getattr(getattr(func, "func", None), "__name__", type(func).__name__)


def _names(func: Any) -> set[str | None]:
    """What a reward may be called: as TRL logs it, as a recipe names it, and as a script imports it."""
    logged = reward_name(func)
    imported = getattr(func, "__qualname__", type(func).__qualname__)
    return {logged, logged.removesuffix("_reward"), imported, getattr(func, "recipe_name", None)}


def drives(func: Any) -> bool:
    """Whether a reward may drive a controller unasked: format and shaping rewards say no through `drives_guidance`."""
    from_trl = getattr(func, "__module__", "") in ("trl.rewards.format_rewards", "trl.rewards.other_rewards")
    return getattr(func, "drives_guidance", not from_trl)


def primary_reward(args: GuidedGRPOConfig, funcs: Sequence[Any]) -> int:
    """Index of the primary reward: the controller listens to it, and it counts as success.

    Raises:
        ConfigError: a name or index that no reward has, or no single candidate when none is named.
    """
    names = [reward_name(f) for f in funcs]
    wanted = args.guidance_reward
    if wanted is not None:
        if str(wanted).lstrip("-").isdigit():
            if not 0 <= int(wanted) < len(names):
                raise ConfigError(
                    "guidance_reward", wanted, expected=f"an index below {len(names)}", then=f"Rewards: {', '.join(names)}."
                )
            return int(wanted)
        matches = [i for i, f in enumerate(funcs) if wanted in _names(f)]
        if len(matches) != 1:
            raise ConfigError(
                "guidance_reward",
                wanted,
                expected=f"the name of one reward of this run ({', '.join(names)})",
                then=nearest(str(wanted), sorted({n for f in funcs for n in _names(f) if n})),
            )
        return matches[0]
    candidates = [i for i, f in enumerate(funcs) if drives(f)]
    if len(candidates) == 1 or (candidates and not args.guided):
        return candidates[0]
    if not args.guided:
        return 0
    raise ConfigError(
        "guidance_reward",
        None,
        expected=f"the reward that drives the controller: {len(candidates)} of the rewards ({', '.join(names)}) could",
        then="Set guidance_reward to one of the names.",
    )


def check_gold(dataset: Dataset, funcs: Sequence[Any]) -> None:
    """Asks every reward that can tell (a function `check_row(row) -> None` of its own) whether it can grade each row.

    Raises:
        DataError: how many rows it cannot, and why for the first. A gold answer nobody can parse would pay everyone nothing.
    """
    for func in funcs:
        check_row = getattr(func, "check_row", None)
        if check_row is None:
            continue
        bad: list[tuple[int, DataError]] = []
        for number, row in enumerate(dataset):
            try:
                check_row(row)
            except DataError as error:
                bad.append((number, error))
        if bad:
            number, error = bad[0]
            more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
            key = str(dataset[number].get("key") or "")[:60]
            raise DataError(
                f"{rows_from_1([number])}{more}{key and f', {key!r},'} for the reward {reward_name(func)}: {error.what}",
                error.value,
                expected=error.expected,
                then="Mend or drop these rows before training.",
            ) from error


@contextmanager
def nan_told(trainer: Any, told: set[str]) -> Iterator[None]:
    """While TRL calls the rewards of a trainer: one that returns NaN is told, once. TRL reads it as None, "not scored".

    Args:
        trainer: A `GRPOTrainer`.
        told: Names of those that were told before.
    """

    def look(name: str, values: Any, columns: Mapping[str, Any]) -> Any:
        lists = isinstance(values, list | tuple | np.ndarray | torch.Tensor)
        bad = [i for i, value in enumerate(values) if _is_nan(value)] if lists and name not in told else []
        if bad:
            told.add(name)
            key = columns["key"][bad[0]] if "key" in columns else None
            logger.warning(
                f"reward {name!r} is NaN for {len(bad)} of {len(values)} rollouts, the first of them of problem "
                f"{_told(key, columns['prompts'][bad[0]])}. "
                "Expected a number, or None for a rollout it cannot score; NaN counts as None. Mend the function (a division by "
                "zero?), or return None. This is told once."
            )
        return values

    def watched(func: Any, name: str) -> Any:
        if isinstance(func, torch.nn.Module):
            return func
        if is_async_callable(func):

            async def call(**columns: Any) -> Any:
                return look(name, await func(**columns), columns)

            return call
        return lambda **columns: look(name, func(**columns), columns)

    funcs = trainer.reward_funcs
    trainer.reward_funcs = [watched(func, name) for func, name in zip(funcs, trainer.reward_func_names, strict=True)]
    try:
        yield
    finally:
        trainer.reward_funcs = funcs


def infinite_reward(
    rewards_NF: torch.Tensor, names: Sequence[str], rows: Sequence[Mapping[str, Any]], first: int
) -> RunError | None:
    """What to say of rewards that are infinite; None where all are finite or NaN.

    Args:
        rewards_NF: Of all processes.
        names: Of the reward functions.
        rows: Of the training set, one per rollout of this process.
        first: The place of the first of them among the rollouts of all processes.
    """
    places = torch.isinf(rewards_NF).nonzero().tolist()
    if not places:
        return None
    rollout, func = places[0]
    here = rows[rollout - first] if first <= rollout < first + len(rows) else None
    problem = "" if here is None else f" of problem {_told(here.get('key'), here['prompt'])}"
    return RunError(
        f"reward {names[func]!r}{problem}",
        rewards_NF[rollout, func].item(),
        expected="finite numbers, or None for a rollout it cannot score",
        then="Mend the reward function; one infinite reward makes every advantage of its group NaN.",
    )


def _told(key: Any, prompt: Any) -> str:
    """A problem by the beginning of its key, or else of what it asks."""
    return repr(str(key or (prompt if isinstance(prompt, str) else prompt[-1]["content"]))[:60])


def _is_nan(value: Any) -> bool:
    return isinstance(value, Real | torch.Tensor) and bool(value != value)


def reward_fault(error: Exception, row: Mapping[str, Any]) -> RunError:
    """What to say where TRL could not get its numbers from a reward: which reward, where, and what it is called with.

    Args:
        error: As it left TRL's `_calculate_rewards`, whose variables have the reward's name.
        row: Of the training set: its columns reach the reward.
    """
    frames = [(frame, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    names = [f.f_locals.get("reward_func_name") or f.f_locals.get("func_name") for f, _ in frames]
    name = next((repr(name) for name in reversed(names) if name), "function")
    frame, line = frames[-1]
    in_trl = str(frame.f_globals.get("__name__")).startswith(
        ("trl.", __name__)
    )  # it returned, but not what is wanted, or was not entered
    columns = ", ".join(column for column in row if column not in ("prompt", "completion", "completion_ids"))
    return RunError(
        f"reward {name}",
        f"{type(error).__name__}: {error}",
        expected="one number or None per completion",
        then=("" if in_trl else f"It comes from {frame.f_code.co_filename}, line {line}. ")
        + f"A reward is called with prompts, completions, completion_ids and the columns {columns}: give it the arguments that "
        "it uses, and **columns for the rest.",
    )
