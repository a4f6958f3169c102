"""95 % intervals of a mean of scores in [0, 1], one score per problem; problems are the sample."""

import math
from collections.abc import Sequence

import numpy as np

Z_95 = 1.959964
DRAWS = 10_000
"""Bootstrap draws: the ends of an interval then move by less than a tenth of its width from one seed to another."""


def wilson_interval(successes: float, n: int, z: float = Z_95) -> tuple[float, float]:
    """Wilson score interval of a proportion (Wilson 1927); right also near 0 and 1, where +-1.96 se is not."""
    if n == 0:
        return 0.0, 1.0
    p = successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    # At p = 0 and p = 1 an end is p itself; rounding must not push it to the other side.
    return max(0.0, min(p, centre - half)), min(1.0, max(p, centre + half))


def bootstrap_interval(values: Sequence[float], *, draws: int = DRAWS, seed: int = 0) -> tuple[float, float]:
    """Percentile bootstrap of the mean (Efron 1979): values are drawn with replacement, all of one problem's samples together.

    Args:
        values: One number per problem, such as its share of right samples.
        seed: The draws' own; the same values give the same interval.
    """
    table = np.asarray(values, dtype=float)
    if not len(table):
        return 0.0, 1.0
    # Few distinct values (0, 1/4, ...): how often each is drawn is multinomial, whatever the number of problems.
    levels, counts = np.unique(table, return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(len(table), counts / len(table), size=draws)
    low, high = np.quantile(drawn @ levels / len(table), [0.025, 0.975])
    return float(low), float(high)


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """The interval to report for a mean of scores in [0, 1].

    Wilson where every score is 0 or 1, or where all are equal (a bootstrap of equal values has no width); otherwise the
    bootstrap, since scores such as 3/8 vary less than coin flips, and Wilson would be too wide.
    """
    binary = all(value in (0, 1) for value in values)
    if binary or len(set(values)) == 1:
        return wilson_interval(math.fsum(values), len(values))
    return bootstrap_interval(values)
