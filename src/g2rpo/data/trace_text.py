r"""Traces as data sets hold them, made into what our completions wrap: the reasoning alone."""

import re

_CALCULATOR = re.compile(r"<<[^<>]*>>")


def clean_trace(text: str) -> str:
    """The reasoning inside a think block, or the text itself; without the tags, which the completion style adds.

    `<think>a b</think> so 4` becomes `a b`. An unclosed block is taken to its end.
    """
    text = text.strip()
    if "</think>" in text:
        text = text[: text.index("</think>")]
    return text.removeprefix("<think>").strip()


def strip_calculator_marks(text: str) -> str:
    """GSM8K's `<<48/2=24>>` annotations removed."""
    return _CALCULATOR.sub("", text)


def boxed(text: str) -> str | None:
    r"""What the last `\boxed{…}` holds; None for none, an empty one or one that is never closed."""
    start = text.rfind("\\boxed{")
    depth = 0
    for place in range(start + len("\\boxed"), len(text)) if start >= 0 else ():
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return text[start + len("\\boxed{") : place].strip() or None
    return None
