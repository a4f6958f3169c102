"""Seeds taken together: values worked out by hand; and the two questions of reliability."""

import numpy as np
import pytest

from g2rpo.lab.compare.reliability import held_best, took_off
from g2rpo.lab.compare.seed_statistics import interquartile_mean, iqm_interval, probability_of_improvement, spent_to_reach


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ([0.3], 0.3),
        ([0.0, 1.0], 0.5),
        ([0.0, 0.2, 0.4, 1.0], 0.3),  # the middle two
        ([0.0, 0.1, 0.2, 0.3, 1.0], (0.1 * 0.75 + 0.2 + 0.3 * 0.75) / 2.5),  # quarters of 1.25 values cut at either end
        ([0, 0, 5, 5, 5, 5, 100, 100], 5.0),
    ],
)
def test_interquartile_mean_by_hand(values, wanted):
    assert interquartile_mean(values) == pytest.approx(wanted)
    assert interquartile_mean(values[::-1]) == pytest.approx(wanted)


def test_its_interval_needs_two_seeds_and_holds_the_mean():
    assert iqm_interval([[0.4], [0.6]])[1] is None
    value, (low, high) = iqm_interval([[0.1, 0.5, 0.4, 0.3, 0.35], [0.5, 0.6, 0.55, 0.7, 0.4]])
    assert low < value < high
    assert iqm_interval([[0.2, 0.2, 0.2]]) == (pytest.approx(0.2), (pytest.approx(0.2), pytest.approx(0.2)))


def test_its_interval_covers():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(60):
        _, (low, high) = iqm_interval([list(rng.normal(0.5, 0.1, 20))], draws=400)
        hits += low <= 0.5 <= high
    assert hits >= 51  # 95 % of 60 is 57; 51 is 3 standard errors below


def test_probability_of_improvement_by_hand():
    assert probability_of_improvement([[3, 1]], [[2, 2]])[0] == 0.5
    assert probability_of_improvement([[3, 2]], [[2, 1]])[0] == 7 / 8  # 3>2, 3>1, 2=2, 2>1
    value, (low, high) = probability_of_improvement([[3, 4, 5]], [[0, 1, 2]])
    assert (value, low, high) == (1.0, 1.0, 1.0)
    assert probability_of_improvement([[1], [0]], [[0], [1]]) == (0.5, None)


def test_spent_to_reach_is_the_first_evaluation_at_or_above():
    curve = [(0, 0.0), (10, 0.3), (20, 0.1), (30, 0.5)]
    assert [spent_to_reach(curve, t) for t in (0.0, 0.1, 0.3, 0.4, 0.6)] == [0, 10, 10, 30, None]


@pytest.mark.parametrize(
    ("curve", "final", "left"),
    [
        ([0.01, 0.02, 0.02], 0.02, False),
        ([0.01, 0.02, 0.05], 0.02, False),  # 4 points above the base
        ([0.01, 0.07, 0.02], 0.02, False),  # 6 points on 128 problems are within three standard errors
        ([0.01, 0.30, 0.02], 0.02, True),  # fell back later, but it left
        ([0.01, 0.02, 0.03], 0.10, True),  # the final evaluation has 512 problems
    ],
)
def test_leaving_the_ground(curve, final, left):
    assert took_off(0.01, 512, curve, 128, final, 512) == left


@pytest.mark.parametrize(
    ("curve", "final", "held"),
    [
        ([0.1, 0.5, 0.6], 0.6, True),
        ([0.1, 0.5, 0.6], 0.5, True),
        ([0.1, 0.6, 0.5], 0.3, False),
        ([0.1, 0.6, 0.3], 0.02, False),
        ([], 0.2, True),
    ],
)
def test_holding_the_best(curve, final, held):
    assert held_best(curve, 128, final) == held
