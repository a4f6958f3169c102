"""One file per source: what its columns mean. A source is named by whoever knows it, or recognised by its columns."""

from collections.abc import Callable, Mapping
from typing import Any

from g2rpo.data.problem import Problem
from g2rpo.data.sources import (
    aime,
    amc,
    code_cot,
    deepmath,
    evalplus,
    generic,
    gpqa,
    gsm8k,
    humaneval,
    livecodebench,
    math,
    math_curriculum,
    mbpp,
    minerva,
    openr1,
    s1k,
    verifiable_coding,
)
from g2rpo.errors import ConfigError, nearest

RECOGNISED: tuple[Any, ...] = (
    math_curriculum,
    math,
    openr1,
    s1k,
    deepmath,
    gpqa,
    aime,
    evalplus,
    humaneval,
    mbpp,
    livecodebench,
    code_cot,
    verifiable_coding,
    gsm8k,
)
"""Tried in this order; `generic` takes what has, or is mapped to, `prompt`, `answer` and `trace`."""
SOURCES: dict[str, Any] = {m.__name__.rpartition(".")[2]: m for m in (*RECOGNISED, amc, minerva)}
"""By name. Columns alone do not tell AMC and Minerva from GSM8K: they have to be named."""


def reader(
    columns: list[str], mapping: Mapping[str, str] | None, source: str | None = None
) -> Callable[[dict[str, Any]], Problem]:
    """The function that turns a row into a problem; its module's docstring says which columns it reads.

    Args:
        columns: Column names of the data set.
        mapping: `{"prompt": ..., "answer": ..., "trace": ...}` to name the columns by hand; wins over everything.
        source: A name in `SOURCES`; without it, the columns decide.

    Raises:
        ConfigError: an unknown source.
        DataError: no source fits.
    """
    if mapping:
        return generic.mapped(columns, mapping)
    read: Callable[[dict[str, Any]], Problem]
    if source is not None:
        if source not in SOURCES:
            raise ConfigError("dataset_source", source, expected="a known source", then=nearest(source, list(SOURCES)))
        read = SOURCES[source].problem
        return read
    for module in RECOGNISED:
        if module.matches(columns):
            read = module.problem
            return read
    return generic.mapped(columns, {})
