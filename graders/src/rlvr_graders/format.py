"""Rewards for the shape of a completion, never for what it says: think block first, then the answer block.

All of them carry `drives_guidance = False`: a controller that listens to a format reward would take tidy nonsense for
skill and withdraw its hints.
"""

import re
from typing import Any

from rlvr_graders.extract import completion_text

_TAGS = ("<think>", "</think>", "<answer>", "</answer>")
_STRICT = re.compile(r"<think>\n.+?\n</think>\n<answer>\n?.+?\n?</answer>", re.DOTALL)


def _once_in_order(text: str) -> bool:
    places = [text.find(tag) for tag in _TAGS]
    return all(text.count(tag) == 1 for tag in _TAGS) and places == sorted(places)


def _restore_opening(text: str) -> str:
    # Chat templates may end the prompt with `<think>`; then the completion starts inside the block.
    return text if "<think>" in text else "<think>" + text


def think_answer_format(completions: list[Any], **columns: Any) -> list[float]:
    """1 for `<think>…</think> <answer>…</answer>` with each tag once, both blocks filled, any white space around;
    else 0.

    The opening `<think>` may be missing, for it may stand at the end of the prompt. Text before, between or after the
    blocks costs the reward.
    """
    return [float(_is_think_answer(completion_text(c))) for c in completions]


def _is_think_answer(text: str) -> bool:
    text = _restore_opening(text.strip())
    if not _once_in_order(text):
        return False
    before, rest = text.split("<think>")
    thought, rest = rest.split("</think>")
    between, rest = rest.split("<answer>")
    answer, after = rest.split("</answer>")
    return bool(thought.strip() and answer.strip()) and not (before.strip() or between.strip() or after.strip())


def think_answer_format_strict(completions: list[Any], **columns: Any) -> list[float]:
    r"""1 for exactly `<think>\n…\n</think>\n<answer>…</answer>` and nothing else, white space included; else 0.

    The layout of the DeepSeek-R1 prompt (arXiv 2501.12948, table 1), with a line break around each block; one inside
    the answer tags is allowed. Here the opening tag must be part of the completion.
    """
    return [float(_once_in_order(text) and _STRICT.fullmatch(text) is not None) for text in map(completion_text, completions)]


def tag_count(completions: list[Any], **columns: Any) -> list[float]:
    """A quarter for each of the four think/answer tags that occurs exactly once; in [0, 1].

    A denser signal than the whole format for models that have never seen the tags. Repeating a tag earns nothing.
    """
    return [sum(completion_text(c).count(tag) == 1 for tag in _TAGS) / 4 for c in completions]


think_answer_format.__name__ = "format_reward"
think_answer_format_strict.__name__ = "format_strict_reward"
tag_count.__name__ = "tag_count_reward"
for _reward in (think_answer_format, think_answer_format_strict, tag_count):
    _reward.drives_guidance = False  # type: ignore[attr-defined]
