"""One file per source: what its columns mean. A source is recognised by its columns, whatever name or path it came from."""

from collections.abc import Callable, Mapping
from typing import Any

from g2rpo.data.sources import generic, gsm8k, openr1, s1k
from g2rpo.types import Problem

SOURCES = (openr1, s1k, gsm8k)
"""Tried in this order; `generic` takes what has, or is mapped to, `prompt`, `answer` and `trace`."""


def reader(columns: list[str], mapping: Mapping[str, str] | None) -> Callable[[dict[str, Any]], Problem]:
    """The function that turns a row into a problem; its docstring says which columns it reads.

    Args:
        columns: Column names of the data set.
        mapping: `{"prompt": ..., "answer": ..., "trace": ...}` to name the columns by hand; wins over recognition.

    Raises:
        DataError: no source fits.
    """
    if mapping:
        return generic.mapped(columns, mapping)
    for source in SOURCES:
        if source.matches(columns):
            return source.problem
    return generic.mapped(columns, {})
