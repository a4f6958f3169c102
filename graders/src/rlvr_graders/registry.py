"""Names of rewards, as recipes write them, to callables in TRL's reward signature."""

import contextlib
import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from rlvr_graders.errors import ConfigError, nearest

Reward = Callable[..., list[float | None]]

_FACTORIES = {  # called with the keyword arguments of the recipe; the module is imported on first use
    "accuracy": "rlvr_graders.math:MathReward",
    "code": "rlvr_graders.code:CodeReward",
    "cosine": "rlvr_graders.shaping:cosine_length",
    "overlong": "rlvr_graders.shaping:soft_overlong",
    "repetition_penalty": "rlvr_graders.shaping:repetition_penalty",
}
_FUNCTIONS = {
    "exact": "rlvr_graders.exact:exact_match_reward",
    "format": "rlvr_graders.format:think_answer_format",
    "format_strict": "rlvr_graders.format:think_answer_format_strict",
    "reasoning_steps": "rlvr_graders.shaping:reasoning_steps",
    "tag_count": "rlvr_graders.format:tag_count",
}
NAMES = tuple(sorted(_FACTORIES | _FUNCTIONS))
"""Every name that `get_reward` knows by itself."""


def get_reward(name: str, **kwargs: Any) -> Reward:
    """The reward of that name.

    Args:
        name: One of `NAMES`, or `package.module:function` or `folder/file.py:function` for a reward of your own (see
            `importable_from`). With keyword arguments, or when the attribute is a class, your own is called to make the reward;
            otherwise it is the reward.
        kwargs: Settings of the reward, for those that have any.

    Returns:
        The reward, with the name in its attribute `recipe_name`, so that other fields of a recipe can speak of it.

    Raises:
        ConfigError: Unknown name, module or attribute, or settings that the reward does not take.
    """
    reward = _find(name, kwargs)
    with contextlib.suppress(AttributeError):  # a callable of one's own may take no attributes
        reward.recipe_name = name  # type: ignore[attr-defined]
    return reward


def importable_from(*folders: str | Path) -> None:
    """Modules in these folders, and in the working folder, can be named as rewards: here, and in processes started from here.

    What is installed comes first: a file `math.py` of yours hides no module.
    """
    for folder in (os.getcwd(), *map(os.path.abspath, folders)):
        if folder not in sys.path:
            sys.path.append(folder)
        inherited = os.environ.get("PYTHONPATH", "")
        if folder not in inherited.split(os.pathsep):
            os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (inherited, folder)))


def _find(name: str, kwargs: dict[str, Any]) -> Reward:
    if name in _FUNCTIONS:
        if kwargs:
            raise ConfigError(f"Settings of reward {name!r}", kwargs, expected="none", then="Remove them.")
        function: Reward = _load(_FUNCTIONS[name], name)
        return function
    if name in _FACTORIES:
        return _made(_load(_FACTORIES[name], name), name, kwargs)
    if ":" in name:
        found = _load(name, name)
        return _made(found, name, kwargs) if kwargs or isinstance(found, type) else found
    raise ConfigError("reward", name, expected="a known reward or package.module:function", then=nearest(name, NAMES))


def _made(factory: Callable[..., Reward], name: str, kwargs: dict[str, Any]) -> Reward:
    _check_settings(factory, name, kwargs)
    try:
        return factory(**kwargs)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"Settings of reward {name!r}", kwargs, expected=f"what it takes ({error})", then="See docs/rewards.md."
        ) from error


def _check_settings(factory: Callable[..., Reward], name: str, kwargs: dict[str, Any]) -> None:
    """Names the setting that the reward does not have, or that it needs: Python's own words are about an `__init__`."""
    try:
        settings = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):
        return  # written in C: it says itself what it does not take
    known = [p.name for p in settings if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]
    unknown = [k for k in kwargs if k not in known]
    if unknown and not any(p.kind is p.VAR_KEYWORD for p in settings):
        raise ConfigError(
            f"setting of reward {name!r}",
            unknown[0],
            expected="one of its settings",
            then=nearest(str(unknown[0]), known) if known else "It has none: remove it.",
        )
    needed = [p.name for p in settings if p.name in known and p.default is p.empty and p.name not in kwargs]
    if needed:
        raise ConfigError(
            f"setting {needed[0]!r} of reward {name!r}",
            expected="it in reward_kwargs: the reward has no default for it",
            then=f"Write reward_kwargs: {{{name}: {{{needed[0]}: ...}}}}.",
        )


def _load(path: str, name: str) -> Any:
    module, _, attribute = path.rpartition(":")
    try:
        found = getattr(_from_file(module) if module.endswith(".py") else importlib.import_module(module), attribute)
    except Exception as error:  # whatever the module raises while it is imported
        told = error if isinstance(error, ImportError | AttributeError) else f"{type(error).__name__}: {error}"
        raise ConfigError(
            "reward",
            name,
            expected=f"something importable ({told})",
            then="Check the spelling of module and function; a file of yours is found beside the recipe, in the working folder, "
            "or by its path (./my_rewards.py:function).",
        ) from error
    if not callable(found):
        raise ConfigError("reward", name, expected="a callable", then="Name a function or a class.")
    return found


def _from_file(file: str) -> ModuleType:
    """The module in a file, given by its path from the working folder or from any folder of Python's search path."""
    found = next((path for folder in ("", *sys.path) if (path := Path(folder, file).resolve()).is_file()), None)
    if found is None:
        raise ImportError(f"there is no file {file}")
    known = next((m for m in list(sys.modules.values()) if getattr(m, "__file__", None) == str(found)), None)
    if known is not None:
        return known
    name = found.stem if found.stem not in sys.modules and found.stem.isidentifier() else f"_reward_{abs(hash(str(found))):x}"
    spec = importlib.util.spec_from_file_location(name, found)
    module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    sys.modules[name] = module  # as an import would: what it defines can be pickled
    try:
        spec.loader.exec_module(module)  # type: ignore[union-attr]
    except BaseException:
        del sys.modules[name]
        raise
    return module
