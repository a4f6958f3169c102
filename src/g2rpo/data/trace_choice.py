"""Several traces of one problem, and which to take."""

import dataclasses
from collections.abc import Callable, Sequence

from g2rpo.data.problem import Problem
from g2rpo.errors import ConfigError, nearest

PICKS = ("shortest", "first", "likeliest")
"""Fewest characters; the first that the data set gives; the one a model finds most likely."""
Score = Callable[[Problem, Sequence[str]], Sequence[float]]
"""Of several traces of a problem, how good each is; the highest is taken."""


def traces_of(problem: Problem) -> tuple[str, ...]:
    """All usable traces, the taken one alone where a data set has no others."""
    return problem.traces or ((problem.trace,) if problem.trace else ())


def pick_traces(problems: Sequence[Problem], pick: str = "shortest", score: Score | None = None) -> list[Problem]:
    """The problems, each with one of its traces taken as `trace`.

    Args:
        problems: With `traces`, where a data set has several.
        pick: One of `PICKS`.
        score: For `likeliest`; `g2rpo.evaluation.likelihood` makes one from a model.

    Raises:
        ConfigError: an unknown pick, or `likeliest` without a score.
    """
    check_pick(pick)
    if pick == "likeliest" and score is None:
        raise ConfigError(
            "trace to take",
            pick,
            expected="a model that says how likely a trace is",
            then="Run g2rpo data traces --pick likeliest --model MODEL, and train on the file that it writes.",
        )
    return [_picked(problem, pick, score) for problem in problems]


def check_pick(pick: str) -> None:
    """Raises `ConfigError` when nobody knows this pick."""
    if pick not in PICKS:
        raise ConfigError("trace to take", pick, expected=f"one of {', '.join(PICKS)}", then=nearest(pick, PICKS))


def _picked(problem: Problem, pick: str, score: Score | None) -> Problem:
    if len(problem.traces) < 2:
        return problem
    if pick == "likeliest" and score is not None:
        scores = score(problem, problem.traces)
        best = problem.traces[max(range(len(scores)), key=lambda i: scores[i])]
    else:
        best = problem.traces[0] if pick == "first" else min(problem.traces, key=len)
    return dataclasses.replace(problem, trace=best)
