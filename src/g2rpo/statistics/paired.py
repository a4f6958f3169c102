"""Two models on the same problems: what may be said about their difference."""

from collections.abc import Sequence
from math import comb

import numpy as np

from g2rpo.statistics.intervals import DRAWS, bootstrap_interval


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
