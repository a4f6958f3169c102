"""What several training seeds say together: means, differences, and aggregates over tasks (Agarwal et al. 2021, arXiv
2108.13264), each with an interval over problems and seeds."""

import math
from collections.abc import Sequence

import numpy as np

from g2rpo.evaluation.statistics import wilson_interval

DRAWS = 4000
Interval = tuple[float, float]


def interquartile_mean(values: Sequence[float]) -> float:
    """Mean of the middle half; the outer quarters count with the share of theirs that lies inside.

    Less moved by one lucky seed than the mean, less wasteful than the median. Below four values it is a weighted mean, too.
    """
    ordered = np.sort(np.asarray(values, dtype=float))
    n = len(ordered)
    # Value i covers the stretch [i, i + 1] of [0, n]; the middle half is [n/4, 3n/4].
    weights = np.clip(np.minimum(np.arange(1, n + 1), 0.75 * n) - np.maximum(np.arange(n), 0.25 * n), 0, None)
    return float(weights @ ordered / weights.sum())


def iqm_interval(values_by_task: Sequence[Sequence[float]], draws: int = DRAWS, seed: int = 0) -> tuple[float, Interval | None]:
    """Interquartile mean over all seeds of all tasks and its 95 % bootstrap interval, seeds drawn within each task.

    Args:
        values_by_task: A row of per-seed accuracies per task.

    Returns:
        The mean, and None for the interval where no task has two seeds: one seed says nothing about others.
    """
    estimate = interquartile_mean([v for row in values_by_task for v in row])
    if all(len(row) < 2 for row in values_by_task):
        return estimate, None
    rng = np.random.default_rng(seed)
    rows = [np.asarray(row, dtype=float) for row in values_by_task]
    drawn = [interquartile_mean(np.concatenate([rng.choice(row, len(row)) for row in rows])) for _ in range(draws)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return estimate, (float(low), float(high))


def probability_of_improvement(
    ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]], draws: int = DRAWS, seed: int = 0
) -> tuple[float, Interval | None]:
    """P(X > Y) + P(X = Y) / 2 for a run X of ours and a run Y of theirs on the same task, mean over tasks (Mann and Whitney
    1947), with its 95 % bootstrap interval over seeds; None for the interval where no task has two seeds on both sides.
    """

    def estimate(x: np.ndarray, y: np.ndarray) -> float:
        return float(np.mean((x[:, None] > y[None, :]) + 0.5 * (x[:, None] == y[None, :])))

    pairs = [(np.asarray(x, dtype=float), np.asarray(y, dtype=float)) for x, y in zip(ours, theirs, strict=True)]
    value = math.fsum(estimate(x, y) for x, y in pairs) / len(pairs)
    if all(min(len(x), len(y)) < 2 for x, y in pairs):
        return value, None
    rng = np.random.default_rng(seed)
    drawn = [np.mean([estimate(rng.choice(x, len(x)), rng.choice(y, len(y))) for x, y in pairs]) for _ in range(draws)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return value, (float(low), float(high))


def spent_to_reach(curve: Sequence[tuple[float, float]], threshold: float) -> float | None:
    """The budget spent at the first evaluation with at least this accuracy; None when none had.

    Args:
        curve: (spent, accuracy) in the order of the run. The result is as coarse as the evaluations are apart.
    """
    return next((spent for spent, accuracy in curve if accuracy >= threshold), None)


def accuracy_interval(
    scores_by_seed: Sequence[Sequence[float]], draws: int = DRAWS, seed: int = 0
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
    ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]], draws: int = DRAWS, seed: int = 0
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
