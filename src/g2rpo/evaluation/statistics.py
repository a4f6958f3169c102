"""Scores to numbers: 95 % intervals of a mean, paired differences, pass@k, majority voting.

A score is in [0, 1], one per problem; problems are the sample.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from g2rpo.errors import ConfigError

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


def mcnemar_exact(only_a: int, only_b: int) -> float:
    """Two-sided exact McNemar test (McNemar 1947, with the binomial distribution): are the discordant problems split evenly?

    Args:
        only_a: Problems that only the first model solved.
        only_b: Problems that only the second solved.

    Returns:
        p = min(1, 2 P[X <= min(a, b)]),  X ~ Binomial(a + b, 1/2); 1 where no problem is discordant.
    """
    n, fewer = only_a + only_b, min(only_a, only_b)
    tail = sum(math.comb(n, i) for i in range(fewer + 1))
    return min(1.0, 2 * tail / float(2**n))


def paired_bootstrap(a: Sequence[float], b: Sequence[float], *, draws: int = DRAWS, seed: int = 0) -> tuple[float, float]:
    """95 % percentile bootstrap interval of mean(b - a), problems drawn with replacement, both scores of one together."""
    return bootstrap_interval(np.asarray(b, dtype=float) - np.asarray(a, dtype=float), draws=draws, seed=seed)


def paired_adjusted(a: Sequence[float], b: Sequence[float], z: float = Z_95) -> tuple[float, float]:
    """Adjusted Wald interval of mean(b - a) for paired scores of 0 or 1 (Bonett and Price 2012): two problems are added, one that
    only the first model solved and one that only the second did. It has a width also where the models agree on every problem.
    """
    d = np.concatenate([np.asarray(b, dtype=float) - np.asarray(a, dtype=float), [-1.0, 1.0]])
    half = z * math.sqrt(d.var() / len(d))
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


def pass_at_k(right: int, n: int, k: int) -> float:
    """Unbiased estimate of pass@k for one problem:  1 - C(n - c, k) / C(n, k)  (Chen et al. 2021, arXiv 2107.03374, eq. 1).

    Taking the first k samples is unbiased too, but noisier; `1 - (1 - c/n)^k` is biased low.

    Args:
        right: Right samples c, 0 <= c <= n.
        n: Samples.
        k: At most n.

    Raises:
        ConfigError: k is not in 1 .. n, or c not in 0 .. n.
    """
    if not (1 <= k <= n and 0 <= right <= n):
        raise ConfigError(
            "pass@k",
            {"k": k, "samples": n, "right": right},
            expected="1 <= k <= samples and 0 <= right <= samples",
            then="Draw at least k samples per problem.",
        )
    return 1.0 - math.comb(n - right, k) / math.comb(n, k)


@dataclass
class _Group:
    answer: str
    score: float
    size: int = 1
    spellings: set[str] = field(default_factory=set)


def majority_score(answers: Sequence[str | None], scores: Sequence[float], k: int, equal: Callable[[str, str], bool]) -> float:
    """maj@k of one problem (Wang et al. 2022, arXiv 2203.11171): the chance that the answer of most of k samples is right.

    The n samples are cut into floor(n / k) blocks of k in their order, and the blocks averaged: unbiased, since samples
    are drawn independently. A tie is broken by a fair draw, of which the expectation is taken. Samples that state no
    answer do not vote; without any vote the block counts 0.

    Args:
        answers: What each sample states, or None.
        scores: 1 or 0 for each.
        equal: Whether two answers are the same; asked only of answers with the same score, since right is never wrong.
    """
    blocks = [range(start, start + k) for start in range(0, len(answers) - k + 1, k)]
    return math.fsum(_vote([answers[i] for i in block], [scores[i] for i in block], equal) for block in blocks) / len(blocks)


def _vote(answers: Sequence[str | None], scores: Sequence[float], equal: Callable[[str, str], bool]) -> float:
    groups: list[_Group] = []
    for answer, score in zip(answers, scores, strict=True):
        if answer is None:
            continue
        for group in groups:
            if group.score == score and (answer in group.spellings or equal(group.answer, answer)):
                group.size += 1
                group.spellings.add(answer)
                break
        else:
            groups.append(_Group(answer, score, spellings={answer}))
    if not groups:
        return 0.0
    most = max(group.size for group in groups)
    winners = [group.score for group in groups if group.size == most]
    return math.fsum(winners) / len(winners)
