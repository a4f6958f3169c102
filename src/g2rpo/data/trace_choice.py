"""Several traces of one problem, and which to take."""

import dataclasses
from collections.abc import Sequence

from g2rpo.data.problem import Problem
from g2rpo.errors import one_of

PICKS = ("shortest", "first")
"""Fewest characters; the first that the data set gives."""


def traces_of(problem: Problem) -> tuple[str, ...]:
    """All usable traces, the taken one alone where a data set has no others."""
    return problem.traces or ((problem.trace,) if problem.trace else ())


def pick_traces(problems: Sequence[Problem], pick: str = "shortest") -> list[Problem]:
    """The problems, each with one of its traces taken as `trace`.

    Args:
        problems: With `traces`, where a data set has several.
        pick: One of `PICKS`.

    Raises:
        ConfigError: an unknown pick.
    """
    one_of("trace to take", pick, PICKS)

    def picked(problem: Problem) -> Problem:
        if len(problem.traces) < 2:
            return problem
        return dataclasses.replace(problem, trace=problem.traces[0] if pick == "first" else min(problem.traces, key=len))

    return list(map(picked, problems))
