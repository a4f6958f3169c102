"""The statistics of one step, each worked out by hand on two groups of four."""

import math

import pytest

from g2rpo.method.rollout import Outcome
from g2rpo.method.transfer_metrics import transfer_metrics


def row(member, fraction, success, advantage=0.0, sampled=10, reward="success"):
    tokens = round(20 * fraction)
    reward = success if reward == "success" else reward
    return Outcome("k", member, tokens > 0, tokens, fraction, sampled, success, reward, advantage)


STEP = [
    row(0, 0.2, 1.0, 1.0, 5),
    row(1, 0.6, 0.0, -1.0, 6),
    row(2, 0.0, 1.0, 0.5, 7),
    row(3, 0.0, 0.0, -0.5, 8),
    row(0, 0.25, 0.0),
    row(1, 1.0, 0.0),
    row(2, 0.0, 0.0),
    row(3, 0.0, None),
]


def test_by_hand():
    m = transfer_metrics(STEP, 4)
    assert m["success/all"] == pytest.approx(2 / 7)
    assert m["success/guided"] == pytest.approx(1 / 4)
    assert m["success/unguided"] == pytest.approx(1 / 3)
    assert m["success/gap"] == pytest.approx(1 / 4 - 1 / 3)
    assert m["success/fraction_0-0.25"] == pytest.approx(1 / 2)
    assert "success/fraction_0.25-0.5" not in m  # nobody there: left out, not 0
    assert m["success/fraction_0.5-0.75"] == 0
    assert m["success/fraction_0.75-1"] == 0
    assert (m["groups/solve_none"], m["groups/solve_all"], m["groups/zero_std"]) == (0.5, 0, 0.5)
    assert m["advantage/guided_mass"] == pytest.approx(2 / 3)
    assert m["advantage/std"] == pytest.approx(math.sqrt((1 + 1 + 0.25 + 0.25) / 8))
    assert [m[f"advantage/{n}"] for n in ("guided_positive", "guided_negative", "unguided_positive", "unguided_negative")] == [
        1 / 8
    ] * 4
    assert (m["guided_share"], m["not_scored"]) == (0.5, 1 / 8)
    assert (m["tokens/sampled"], m["tokens/guidance"]) == (66.0, 4 + 12 + 5 + 20)
    assert m["length/tokens"] == pytest.approx(41 / 4)
    assert m["length/fraction"] == pytest.approx((0.2 + 0.6 + 0.25 + 1.0) / 4)


def test_without_guided_rows_nothing_is_said_about_them():
    m = transfer_metrics([row(i, 0.0, 1.0) for i in range(4)], 4)
    assert not {"success/guided", "success/gap", "length/tokens", "length/fraction"} & set(m)
    assert (m["guided_share"], m["groups/solve_all"], m["advantage/guided_mass"]) == (0, 1, 0)


def test_nothing_scored_leaves_the_rates_out():
    m = transfer_metrics([row(i, 0.5 * (i < 2), None) for i in range(4)], 4)
    assert not any(name.startswith("success/") for name in m)
    assert m["not_scored"] == 1


def test_float_noise_is_not_a_difference():
    rewards = [0.1 + 0.2, 0.3, 0.3, 0.3]
    assert transfer_metrics([row(i, 0.0, 0.0, reward=r) for i, r in enumerate(rewards)], 4)["groups/zero_std"] == 1


def test_no_outcomes():
    assert transfer_metrics([], 4) == {"tokens/sampled": 0.0, "tokens/guidance": 0.0}


def test_solve_all_looks_at_scored_rollouts_only():
    assert transfer_metrics([row(0, 0.0, 1.0), row(1, 0.0, None)], 2)["groups/solve_all"] == 1
