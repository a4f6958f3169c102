"""Procedural problems with true traces and a difficulty to turn: seeded, without duplicates, train and test disjoint.

Each family is one file with a function `problem(rng, steps) -> Problem`. Which split a problem belongs to is a property of
its text, so no train problem can ever appear in a test set, whatever seeds and sizes are asked for.
"""

import random
from collections.abc import Callable

from g2rpo.data.problem import Problem
from g2rpo.data.tasks import chains, programs, word_problems
from g2rpo.errors import ConfigError, nearest
from g2rpo.seeds import rng as seeded_rng
from g2rpo.seeds import seed_of

FAMILIES: dict[str, Callable[[random.Random, int], Problem]] = {"chains": chains.problem, "word_problems": word_problems.problem}
"""Families with a number for an answer: what the built-in model has seen."""

PROGRAMS: dict[str, Callable[[random.Random, int], Problem]] = {"programs": programs.problem}
"""Families with a program for an answer, graded by tests."""

TEST_SHARE = 8
"""One problem in this many belongs to the test split."""


def split_of(problem: Problem) -> str:
    """`train` or `test`, decided by the problem's key alone."""
    return "test" if seed_of("split", problem.key) % TEST_SHARE == 0 else "train"


def make(family: str, split: str, n: int, *, steps: int | tuple[int, int], seed: int = 0) -> list[Problem]:
    """Draws `n` different problems of one family and split.

    Args:
        family: A name in `FAMILIES` or `PROGRAMS`.
        split: `train` or `test`.
        n: How many; an error if the family cannot give that many different ones.
        steps: Number of reasoning steps, or an inclusive range from which each problem's number is drawn.
        seed: The same arguments give the same list; a longer list starts with the shorter one.
    """
    families = FAMILIES | PROGRAMS
    if family not in families:
        raise ConfigError("task family", family, expected="a known family", then=nearest(family, list(families)))
    if split not in ("train", "test"):
        raise ConfigError("split", split, expected="'train' or 'test'", then="Name one of the two.")
    low, high = (steps, steps) if isinstance(steps, int) else steps
    if not 1 <= low <= high:
        raise ConfigError("steps", steps, expected="1 <= low <= high", then="Give a positive number of steps.")
    draw = seeded_rng("task", family, split, low, high, seed)
    problems: dict[str, Problem] = {}
    for _ in range(100 * n + 1000):
        if len(problems) == n:
            break
        problem = families[family](draw, draw.randint(low, high))
        if split_of(problem) == split:
            problems.setdefault(problem.key, problem)
    else:
        raise ConfigError(
            "n",
            n,
            expected=f"at most about {len(problems)} different problems of {family} with {steps} steps",
            then="Ask for fewer problems or for more steps.",
        )
    return list(problems.values())
