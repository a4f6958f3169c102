"""Traces as data sets hold them, made into what our completions wrap: the reasoning alone."""

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
