"""Two models on the same problems: what may be said about their difference."""

from collections.abc import Sequence
from math import comb, sqrt

import numpy as np

from g2rpo.evaluation.statistics.intervals import DRAWS, Z_95, bootstrap_interval


def mcnemar_exact(only_a: int, only_b: int) -> float:
    """Two-sided exact McNemar test (McNemar 1947, with the binomial distribution): are the discordant problems split evenly?

    Args:
        only_a: Problems that only the first model solved.
        only_b: Problems that only the second solved.

    Returns:
        p = min(1, 2 P[X <= min(a, b)]),  X ~ Binomial(a + b, 1/2); 1 where no problem is discordant.
    """
    n, fewer = only_a + only_b, min(only_a, only_b)
    tail = sum(comb(n, i) for i in range(fewer + 1))
    return min(1.0, 2 * tail / 2**n)


def paired_bootstrap(a: Sequence[float], b: Sequence[float], *, draws: int = DRAWS, seed: int = 0) -> tuple[float, float]:
    """95 % percentile bootstrap interval of mean(b - a), problems drawn with replacement, both scores of one together."""
    return bootstrap_interval(np.asarray(b, dtype=float) - np.asarray(a, dtype=float), draws=draws, seed=seed)


def paired_adjusted(a: Sequence[float], b: Sequence[float], z: float = Z_95) -> tuple[float, float]:
    """Adjusted Wald interval of mean(b - a) for paired scores of 0 or 1 (Bonett and Price 2012): two problems are added, one that
    only the first model solved and one that only the second did. It has a width also where the models agree on every problem.
    """
    d = np.concatenate([np.asarray(b, dtype=float) - np.asarray(a, dtype=float), [-1.0, 1.0]])
    half = z * sqrt(d.var() / len(d))
    return max(-1.0, float(d.mean()) - half), min(1.0, float(d.mean()) + half)


def paired_interval(a: Sequence[float], b: Sequence[float]) -> tuple[float, float]:
    """The interval to report for mean(b - a) of scores in [0, 1].

    Adjusted Wald where every score is 0 or 1, or where all differences are equal (a bootstrap of equal values has no width, and
    would promise that two models are the same); otherwise the bootstrap, since shares vary less than coin flips.
    """
    binary = all(value in (0, 1) for value in (*a, *b))
    if binary or len({y - x for x, y in zip(a, b, strict=True)}) < 2:
        return paired_adjusted(a, b)
    return paired_bootstrap(a, b)
