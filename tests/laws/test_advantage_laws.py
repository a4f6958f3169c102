"""Laws of group-relative advantages, for any rewards, groups and shares of guided rows."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from g2rpo.method.advantages import GROUPINGS, group_advantages

LAWS = settings(deadline=None, max_examples=40, derandomize=True)

SCALES = ("group", "batch", "none")
OWN_MEAN = tuple(g for g in GROUPINGS if g != "unguided_baseline")
"""Groupings whose rows are compared with their own cell's mean, give or take a factor."""


@st.composite
def batches(draw, missing=True):
    """(rewards, guided, group size): whole groups, rewards on a grid, some not scored."""
    group_size = draw(st.integers(2, 9))
    n = group_size * draw(st.integers(1, 4))
    value = st.integers(-4, 8).map(lambda i: i / 4)
    rewards = draw(st.lists(st.one_of(st.just(float("nan")), value, value, value) if missing else value, min_size=n, max_size=n))
    guided = draw(st.lists(st.booleans(), min_size=n, max_size=n))
    return torch.tensor(rewards, dtype=torch.float64), torch.tensor(guided), group_size


def cells(guided, group_size, grouping):
    group = torch.arange(len(guided)) // group_size
    return 2 * group + guided.long() if grouping == "stratified" else group


@LAWS
@given(batches(), st.sampled_from(OWN_MEAN), st.sampled_from(SCALES))
def test_advantages_sum_to_zero_among_rows_that_share_a_baseline(batch, grouping, scale):
    rewards, guided, group_size = batch
    advantages = group_advantages(rewards, guided, group_size, grouping, scale)
    cell = cells(guided, group_size, grouping)
    for c in cell.unique():
        assert abs(advantages[cell == c].sum().item()) < 1e-6


@LAWS
@given(batches(), st.sampled_from(GROUPINGS), st.sampled_from(SCALES), st.randoms(use_true_random=False))
def test_members_of_a_group_may_be_reordered(batch, grouping, scale, random):
    rewards, guided, group_size = batch
    order = []
    for first in range(0, len(rewards), group_size):
        members = list(range(first, first + group_size))
        random.shuffle(members)
        order += members
    expected = group_advantages(rewards, guided, group_size, grouping, scale)[order]
    torch.testing.assert_close(group_advantages(rewards[order], guided[order], group_size, grouping, scale), expected)


@LAWS
@given(batches(), st.sampled_from(GROUPINGS), st.sampled_from(("group", "none")))
def test_groups_do_not_see_each_other(batch, grouping, scale):
    rewards, guided, group_size = batch
    whole = group_advantages(rewards, guided, group_size, grouping, scale)
    alone = [
        group_advantages(rewards[i : i + group_size], guided[i : i + group_size], group_size, grouping, scale)
        for i in range(0, len(rewards), group_size)
    ]
    torch.testing.assert_close(whole, torch.cat(alone))


@LAWS
@given(st.floats(-1e3, 1e3), st.integers(2, 9), st.integers(1, 3), st.sampled_from(GROUPINGS), st.sampled_from(SCALES))
def test_equal_rewards_teach_nothing(reward, group_size, groups, grouping, scale):
    rewards = torch.full((group_size * groups,), reward, dtype=torch.float32)
    guided = torch.arange(len(rewards)) % group_size < group_size // 2
    assert group_advantages(rewards, guided, group_size, grouping, scale).abs().max() == 0


@LAWS
@given(batches(), st.sampled_from(GROUPINGS), st.sampled_from(SCALES), st.integers(-8, 8))
def test_a_constant_added_to_all_rewards_changes_nothing(batch, grouping, scale, constant):
    rewards, guided, group_size = batch
    torch.testing.assert_close(
        group_advantages(rewards + constant, guided, group_size, grouping, scale),
        group_advantages(rewards, guided, group_size, grouping, scale),
    )


@LAWS
@given(batches(), st.sampled_from(GROUPINGS), st.sampled_from(SCALES))
def test_advantages_are_finite_and_zero_where_nothing_was_scored(batch, grouping, scale):
    rewards, guided, group_size = batch
    advantages = group_advantages(rewards, guided, group_size, grouping, scale)
    assert torch.isfinite(advantages).all()
    assert (advantages[rewards.isnan()] == 0).all()


@LAWS
@given(batches(missing=False), st.sampled_from(SCALES))
def test_stratified_with_rows_of_one_kind_is_joint(batch, scale):
    rewards, _, group_size = batch
    joint = group_advantages(rewards, torch.zeros(len(rewards), dtype=torch.bool), group_size, "joint", scale)
    for kind in (torch.zeros(len(rewards), dtype=torch.bool), torch.ones(len(rewards), dtype=torch.bool)):
        torch.testing.assert_close(group_advantages(rewards, kind, group_size, "stratified", scale), joint)


@LAWS
@given(batches(missing=False), st.sampled_from(OWN_MEAN))
def test_better_than_the_baseline_is_positive_and_worse_is_negative(batch, grouping):
    rewards, guided, group_size = batch
    advantages = group_advantages(rewards, guided, group_size, grouping)
    cell = cells(guided, group_size, grouping)
    for c in cell.unique():
        rows = cell == c
        gap = rewards[rows] - rewards[rows].mean()
        assert (advantages[rows].sign() == torch.where(gap.abs() < 1e-9, 0.0, gap.sign())).all()


@LAWS
@given(batches(), st.sampled_from(SCALES))
def test_against_the_unguided_baseline_unguided_rows_sum_to_zero_and_do_not_feel_the_guided_ones_sign(batch, scale):
    rewards, guided, group_size = batch
    advantages = group_advantages(rewards, guided, group_size, "unguided_baseline", scale)
    for first in range(0, len(rewards), group_size):
        rows = slice(first, first + group_size)
        alone = ~guided[rows] & ~rewards[rows].isnan()
        if alone.any():
            assert abs(advantages[rows][alone].sum().item()) < 1e-6
            gap = rewards[rows] - rewards[rows][alone].mean()
            scored = ~rewards[rows].isnan() & (gap.abs() > 1e-9)
            assert (advantages[rows][scored].sign() == gap[scored].sign()).all()


@LAWS
@given(batches(missing=False))
def test_leave_one_out_compares_with_the_others(batch):
    rewards, guided, group_size = batch
    got = group_advantages(rewards, guided, group_size, "leave_one_out", "none")
    for i, reward in enumerate(rewards):
        first = i - i % group_size
        others = [rewards[j] for j in range(first, first + group_size) if j != i]
        assert abs(got[i] - (reward - sum(others) / len(others))) < 1e-9
