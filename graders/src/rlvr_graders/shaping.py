"""Rewards for how an answer is written: length, repetition, visible steps. Each names the paper it comes from.

`overlong` and `repetition_penalty` are TRL's implementations and need the package `trl`; the others do not. None of them
measures whether an answer is right, so each carries `drives_guidance = False`.
"""

import importlib
import math
import re
from collections.abc import Callable
from typing import Any

from rlvr_graders.errors import ConfigError
from rlvr_graders.extract import completion_text

_STEP = re.compile(
    r"^[ \t]*(?:step[ \t]+\d+\b|\d+[.)][ \t]|[-*•][ \t]|\*\*step\b)"
    r"|^[ \t]*(?:first|second|third|next|then|finally)(?:ly)?,",
    re.IGNORECASE | re.MULTILINE,
)


def reasoning_steps(completions: list[Any], target: int = 3, **columns: Any) -> list[float]:
    """min(1, steps / target): "Step 2", "1.", bullets and "First," at the start of a line count as steps.

    Source: the reasoning-steps reward of Hugging Face's Open R1 (github.com/huggingface/open-r1), with our own pattern.
    """
    return [min(1.0, len(_STEP.findall(completion_text(c))) / target) for c in completions]


reasoning_steps.__name__ = "reasoning_steps_reward"
reasoning_steps.drives_guidance = False  # type: ignore[attr-defined]


def cosine_value(
    correct: bool,
    length: int,
    max_length: int,
    wrong: tuple[float, float] = (-1.0, -0.5),
    right: tuple[float, float] = (0.5, 1.0),
) -> float:
    r"""Length-dependent value of a graded completion, arXiv 2502.03373, appendix C.1.

    $R(y) = b + \tfrac12 (a - b) (1 + \cos(\pi \min(|y|, L) / L))$, going from $a$ at length 0 to $b$ at length $L$.
    A right answer goes from right[1] down to right[0], a wrong one from wrong[0] up to wrong[1].

    Args:
        correct: Whether the answer is right.
        length: Completion length in tokens.
        max_length: L in tokens.
        wrong: Value of a wrong answer when shortest, when longest.
        right: Value of a right answer when longest, when shortest.
    """
    start, end = (right[1], right[0]) if correct else wrong
    return end + 0.5 * (start - end) * (1 + math.cos(math.pi * min(length / max_length, 1.0)))


class CosineLength:
    """Our math grade, scaled by length through `cosine_value`; None where the grade is None."""

    __name__ = "cosine_length_reward"
    drives_guidance = False

    def __init__(
        self,
        max_length: int,
        wrong: tuple[float, float] = (-1.0, -0.5),
        right: tuple[float, float] = (0.5, 1.0),
        deadline_s: float = 5.0,
    ) -> None:
        if max_length < 1:
            raise ValueError(f"max_length is {max_length}, expected at least 1 token")
        from rlvr_graders.math import MathReward

        self.max_length = max_length
        self.wrong, self.right = (wrong[0], wrong[1]), (right[0], right[1])  # tuples, also where a recipe has lists
        self._accuracy = MathReward(deadline_s=deadline_s)
        self.warm_up = self._accuracy.warm_up

    def __call__(
        self, completions: list[Any], answer: list[str], completion_ids: list[list[int]], **columns: Any
    ) -> list[float | None]:
        """One value per completion, between wrong[0] and right[1]."""
        scores = self._accuracy(completions, answer)
        return [
            None if score is None else cosine_value(bool(score), len(ids), self.max_length, self.wrong, self.right)
            for score, ids in zip(scores, completion_ids, strict=True)
        ]


cosine_length = CosineLength


def repetition_penalty(ngram_size: int = 3, max_penalty: float = -1.0) -> Any:
    """max_penalty × share of repeated token n-grams (arXiv 2502.03373, appendix C.2): TRL's implementation.

    Args:
        ngram_size: Tokens per n-gram.
        max_penalty: Value of a completion that only repeats itself; not positive.

    Raises:
        ConfigError: TRL is not installed.
    """
    factory = _from_trl("get_repetition_penalty_reward", "repetition_penalty")
    return _shaping(factory(ngram_size=ngram_size, max_penalty=max_penalty))


def soft_overlong(max_completion_len: int, soft_punish_cache: int) -> Any:
    """0 up to max - cache tokens, then falling linearly to -1 at max (DAPO, arXiv 2503.14476, eq. 13): TRL's
    implementation.

    Args:
        max_completion_len: Longest completion in tokens.
        soft_punish_cache: Length in tokens of the slope before it.

    Raises:
        ConfigError: TRL is not installed.
    """
    factory = _from_trl("get_soft_overlong_punishment", "overlong")
    return _shaping(factory(max_completion_len, soft_punish_cache))


def _from_trl(name: str, reward: str) -> Callable[..., Any]:
    try:
        return getattr(importlib.import_module("trl.rewards"), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"The reward {reward!r}, which TRL implements, cannot be loaded ({error})",
            expected="an installed trl, 1.16 or later",
            then="Run `pip install 'rlvr-graders[trl]'`, or leave the reward out.",
        ) from error


def _shaping(reward: Any) -> Any:
    reward.drives_guidance = False
    return reward
