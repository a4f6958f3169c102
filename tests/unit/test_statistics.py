"""Estimates against values worked out by hand, and intervals against their promise: 95 of 100 hold the truth."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from g2rpo.errors import ConfigError
from g2rpo.evaluation.statistics import (
    bootstrap_interval,
    mcnemar_exact,
    mean_interval,
    paired_adjusted,
    paired_bootstrap,
    paired_interval,
    pass_at_k,
    wilson_interval,
)


@pytest.mark.parametrize(
    ("right", "n", "k", "wanted"),
    [
        (0, 10, 5, 0.0),
        (10, 10, 1, 1.0),
        (3, 10, 1, 0.3),
        (1, 4, 2, 0.5),  # 1 - C(3,2)/C(4,2) = 1 - 3/6
        (2, 5, 3, 0.9),  # 1 - C(3,3)/C(5,3) = 1 - 1/10
        (3, 5, 3, 1.0),  # fewer wrong samples than k
        (4, 16, 8, 1 - 495 / 12870),  # C(12,8) = 495, C(16,8) = 12870
    ],
)
def test_pass_at_k_by_hand(right, n, k, wanted):
    assert pass_at_k(right, n, k) == pytest.approx(wanted, abs=1e-15)


@given(st.integers(1, 7).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_pass_at_k_is_the_share_of_k_subsets_with_a_right_sample(case):
    n, right, k = case
    subsets = list(combinations([True] * right + [False] * (n - right), k))
    assert pass_at_k(right, n, k) == pytest.approx(sum(map(any, subsets)) / len(subsets))


@pytest.mark.parametrize(("right", "n", "k"), [(1, 4, 5), (5, 4, 1), (1, 4, 0), (-1, 4, 1)])
def test_pass_at_k_refuses_what_cannot_be(right, n, k):
    with pytest.raises(ConfigError, match="at least k samples"):
        pass_at_k(right, n, k)


def test_wilson_by_hand():
    # 8 of 10 with z = 1.96: (0.8 + 0.19208) / 1.38416 -+ 1.96 / 1.38416 * sqrt(0.016 + 0.0096040)
    low, high = wilson_interval(8, 10, z=1.96)
    assert (low, high) == (pytest.approx(0.49016, abs=1e-4), pytest.approx(0.94332, abs=1e-4))
    assert wilson_interval(0, 20)[0] == 0.0
    assert wilson_interval(0, 0) == (0.0, 1.0)
    assert all(wilson_interval(n, n)[1] == 1.0 and wilson_interval(0, n)[0] == 0.0 for n in range(1, 2000))


@pytest.mark.parametrize("p", [0.05, 0.3, 0.9])
def test_coverage_of_single_samples(p):
    """One sample per problem, 200 problems: Wilson's interval holds p in 95 of 100 sets, within Monte Carlo error."""
    successes = np.random.default_rng(0).binomial(200, p, size=4000)
    held = np.mean([low <= p <= high for low, high in (wilson_interval(s, 200) for s in successes)])
    assert 0.93 <= held <= 0.97


def test_coverage_of_several_samples_per_problem():
    """Problems of unequal difficulty, eight samples each: problems are what is drawn, so samples of one are no new evidence."""
    rng = np.random.default_rng(1)
    difficulty = rng.beta(0.6, 0.9, size=(600, 150))
    values = rng.binomial(8, difficulty) / 8
    truth = 0.6 / 1.5
    intervals = [bootstrap_interval(v, draws=1000) for v in values]
    assert 0.925 <= np.mean([low <= truth <= high for low, high in intervals]) <= 0.97
    # Samples taken for problems would promise far too much.
    naive = [wilson_interval(8 * v.sum(), 8 * len(v)) for v in values]
    assert np.mean([low <= truth <= high for low, high in naive]) < 0.75


def test_the_reported_interval():
    assert mean_interval([1, 0, 1, 1]) == wilson_interval(3, 4)
    assert mean_interval([0.5] * 10) == wilson_interval(5, 10)
    values = [0.25, 0.5, 0.75, 1.0] * 20
    assert mean_interval(values) == bootstrap_interval(values)
    assert mean_interval([]) == (0.0, 1.0)


def test_mcnemar_by_hand():
    assert mcnemar_exact(0, 0) == 1.0
    assert mcnemar_exact(5, 5) == 1.0
    assert mcnemar_exact(0, 5) == pytest.approx(2 / 32)  # one outcome of 2^5 on each side
    assert mcnemar_exact(1, 9) == mcnemar_exact(9, 1) == pytest.approx(2 * (1 + 10) / 1024)
    assert mcnemar_exact(400, 500) == pytest.approx(0.00096, abs=2e-4)


def test_mcnemar_keeps_its_level():
    split = np.random.default_rng(2).binomial(40, 0.5, size=5000)
    assert np.mean([mcnemar_exact(s, 40 - s) < 0.05 for s in split]) <= 0.055


def test_paired_bootstrap_uses_the_pairing():
    rng = np.random.default_rng(3)
    a = (rng.random(400) < 0.5).astype(float)
    b = a.copy()
    b[:20] = 1.0  # b solves all that a solves, and a few more
    low, high = paired_bootstrap(a, b)
    assert 0 < low < (b - a).mean() < high < 0.06
    assert paired_bootstrap(a, a) == (0.0, 0.0)


def test_models_that_agree_are_not_proven_the_same():
    # No problem told them apart: two added ones do, (1 + 1) / 14 of 14, so z * sqrt(2 / 14 / 14).
    low, high = paired_interval([0.0] * 12, [0.0] * 12)
    assert (low, high) == (pytest.approx(-0.198, abs=1e-3), pytest.approx(0.198, abs=1e-3))
    assert paired_interval([0.25] * 12, [0.25] * 12) == (low, high)
    assert paired_interval([0.0] * 1200, [0.0] * 1200)[1] < 0.0025
    assert paired_interval([0.0] * 2, [1.0] * 2)[1] == 1.0
    shares = [0.25, 0.5, 0.75, 1.0] * 20, [0.5, 0.25, 1.0, 1.0] * 20
    assert paired_interval(*shares) == paired_bootstrap(*shares)


@pytest.mark.parametrize(("only_a", "only_b"), [(0.02, 0.0), (0.1, 0.05), (0.3, 0.1)])
def test_coverage_of_the_adjusted_interval(only_a, only_b):
    """Fifty problems, few of which tell the models apart: held at least as often as promised, within Monte Carlo error."""
    rng, held = np.random.default_rng(4), []
    for _ in range(2000):
        kind = rng.random(50)
        a, b = kind < only_a, (kind >= only_a) & (kind < only_a + only_b)
        low, high = paired_adjusted(a, b)
        held.append(low <= only_b - only_a <= high)
    assert np.mean(held) >= 0.935
