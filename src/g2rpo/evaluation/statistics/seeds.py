"""Several training seeds: means and differences with intervals over problems and seeds together."""

from collections.abc import Sequence

import numpy as np

from g2rpo.evaluation.statistics.intervals import wilson_interval


def accuracy_interval(
    scores_by_seed: Sequence[Sequence[float]], draws: int = 4000, seed: int = 0
) -> tuple[float, tuple[float, float]]:
    """Mean accuracy and its 95 % interval.

    One seed: the Wilson interval over problems, which says nothing about other seeds. Several seeds: a two-level bootstrap,
    seeds drawn with replacement and problems drawn with replacement within them (the same problems for all seeds of a draw).
    """
    table = np.asarray(scores_by_seed, dtype=float)
    mean = float(table.mean())
    if len(table) == 1:
        return mean, wilson_interval(float(table.sum()), table.shape[1])
    rng = np.random.default_rng(seed)
    seeds = rng.integers(len(table), size=(draws, len(table)))
    problems = rng.integers(table.shape[1], size=(draws, table.shape[1]))
    means = np.array([table[s][:, p].mean() for s, p in zip(seeds, problems, strict=True)])
    low, high = np.quantile(means, [0.025, 0.975])
    return mean, (float(low), float(high))


def difference_interval(
    ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]], draws: int = 4000, seed: int = 0
) -> tuple[float, tuple[float, float]]:
    """Mean difference in accuracy on the same problems, paired by problem, and its 95 % bootstrap interval over problems and
    seeds; with one seed each, over problems alone.
    """
    a, b = np.asarray(ours, dtype=float), np.asarray(theirs, dtype=float)
    rng = np.random.default_rng(seed)
    means = np.empty(draws)
    for d in range(draws):
        problems = rng.integers(a.shape[1], size=a.shape[1])
        rows_a, rows_b = rng.integers(len(a), size=len(a)), rng.integers(len(b), size=len(b))
        means[d] = a[rows_a][:, problems].mean() - b[rows_b][:, problems].mean()
    low, high = np.quantile(means, [0.025, 0.975])
    return float(a.mean() - b.mean()), (float(low), float(high))
