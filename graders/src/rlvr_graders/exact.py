"""Reward for answers that are plain text: equal after a normalisation that keeps every meaningful character."""

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from rlvr_graders.errors import DataError
from rlvr_graders.extract import completion_text, extract_answer
from rlvr_graders.markup import unmarked

_SPACE = re.compile(r"\s+")
_WRAPPED = re.compile(r"\\(?:text|textbf|mathrm|mbox)\s*\{([^{}]*)\}")


def normalise_text(text: str) -> str:
    """Case, spaces, Unicode composition, mark-up, `\\text{}` and a final full stop do not matter; the rest does."""
    text = unicodedata.normalize("NFC", _WRAPPED.sub(r"\1", unmarked(text)))
    return _SPACE.sub(" ", text).strip().strip("$").removesuffix(".").strip().casefold()


def exact_match_reward(completions: list[Any], answer: list[str], **columns: Any) -> list[float]:
    r"""1 where the stated final answer is the gold text after `normalise_text`, else 0; TRL's reward signature.

    Args:
        completions: Strings or message lists.
        answer: Gold texts, one per completion.
        columns: The other columns of the batch; unused.

    Returns:
        One score in {0, 1} per completion; a completion that states no answer gets 0.
    """
    scores = []
    for completion, gold in zip(completions, answer, strict=True):
        stated = extract_answer(completion_text(completion))
        scores.append(float(stated is not None and normalise_text(stated.text) == normalise_text(str(gold))))
    return scores


def _check_row(row: Mapping[str, Any]) -> None:
    if row.get("answer") is None or not str(row["answer"]).strip():
        raise DataError("answer", row.get("answer"), expected="a gold answer", then="Drop the row or fill its answer.")


exact_match_reward.drives_guidance = True  # type: ignore[attr-defined]
exact_match_reward.check_row = _check_row  # type: ignore[attr-defined]
