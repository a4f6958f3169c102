"""Which reward drives the controller, whether the rewards can grade the data, and what is said of one that raises."""

import traceback
from collections.abc import Mapping, Sequence
from typing import Any

from datasets import Dataset

from g2rpo.errors import ConfigError, DataError, RunError, nearest, rows_from_1
from g2rpo.training.config import GuidedGRPOConfig


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
    in_trl = str(frame.f_globals.get("__name__")).startswith("trl.")  # it returned, but not what is wanted, or was not entered
    columns = ", ".join(column for column in row if column not in ("prompt", "completion", "completion_ids"))
    return RunError(
        f"reward {name}",
        f"{type(error).__name__}: {error}",
        expected="one number or None per completion",
        then=("" if in_trl else f"It comes from {frame.f_code.co_filename}, line {line}. ")
        + f"A reward is called with prompts, completions, completion_ids and the columns {columns}: give it the arguments that "
        "it uses, and **columns for the rest.",
    )
