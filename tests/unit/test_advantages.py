"""Group-relative advantages against a plain loop and against values worked out by hand."""

import math
import statistics

import pytest
import torch

from g2rpo.method.advantages import EPS, group_advantages

NAN = float("nan")


def plain_loop(rewards, guided, group_size, grouping, scale):
    """The same definition, one row at a time, on Python floats."""
    scored_all = [r for r in rewards if not math.isnan(r)]
    batch_std = statistics.stdev(scored_all) if len(scored_all) > 1 else 0.0
    result = []
    for i, reward in enumerate(rewards):
        first = i - i % group_size
        peers = [
            rewards[j]
            for j in range(first, first + group_size)
            if not math.isnan(rewards[j]) and (grouping == "joint" or guided[j] == guided[i])
        ]
        if math.isnan(reward):
            result.append(0.0)
            continue
        centred = reward - statistics.fmean(peers)
        if scale == "group":
            centred /= (statistics.stdev(peers) if len(peers) > 1 else 0.0) + EPS
        elif scale == "batch":
            centred /= batch_std + EPS
        result.append(centred)
    return result


def test_unguided_baseline_golden_values():
    # guided 1, 1, unguided 1, 0: baseline 1/2, not 3/4; std (n - 1) of 1, 1, 1, 0 is 1/2; 0.5 / 0.5001
    got = advantages([1.0, 1.0, 1.0, 0.0], [True, True, False, False], 4, "unguided_baseline")
    assert got == pytest.approx([0.9998, 0.9998, 0.9998, -0.9998], abs=1e-4)


def test_without_an_unguided_row_the_group_is_its_own_baseline():
    for rewards in ([1.0, 0.0, 0.0, 1.0], [1.0, 0.0, NAN, NAN]):
        guided = [True, True, False, False] if math.isnan(rewards[2]) else [True] * 4
        assert advantages(rewards, guided, 4, "unguided_baseline") == advantages(rewards, guided, 4, "joint")


def test_leave_one_out_golden_values():
    # the others of the first: 0, 0, 1; of the second: 1, 0, 1
    got = advantages([1.0, 0.0, 0.0, 1.0], [True, False, False, False], 4, "leave_one_out", "none")
    assert got == pytest.approx([2 / 3, -2 / 3, -2 / 3, 2 / 3])
    assert advantages([1.0, NAN], [False, False], 2, "leave_one_out") == [0, 0]


def advantages(rewards, guided, group_size, *rest):
    return group_advantages(torch.tensor(rewards), torch.tensor(guided), group_size, *rest).tolist()


def test_joint_golden_values():
    # mean 1/2; std (n - 1) of 1,0,0,1 is sqrt(1/3) = 0.57735; 0.5 / 0.57745 = 0.86588
    assert advantages([1.0, 0.0, 0.0, 1.0], [True, True, False, False], 4) == pytest.approx(
        [0.86588, -0.86588, -0.86588, 0.86588], abs=1e-4
    )


def test_stratified_golden_values():
    # guided 1, 1, 0: mean 2/3, std sqrt(1/3); (1/3) / 0.57745 = 0.57725, (-2/3) / 0.57745 = -1.15450. Unguided all 0: zero.
    got = advantages([1.0, 1.0, 0.0, 0.0, 0.0, 0.0], [True] * 3 + [False] * 3, 6, "stratified")
    assert got == pytest.approx([0.57725, 0.57725, -1.15450, 0, 0, 0], abs=1e-4)


def test_guided_successes_do_not_push_unguided_failures_down_when_stratified():
    rewards, guided = [1.0, 1.0, 0.0, 0.0], [True, True, False, False]
    assert advantages(rewards, guided, 4, "joint")[2] < -0.8
    assert advantages(rewards, guided, 4, "stratified") == [0, 0, 0, 0]


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
@pytest.mark.parametrize("grouping", ["joint", "stratified"])
def test_the_same_as_a_plain_loop(grouping, scale):
    generator = torch.Generator().manual_seed(0)
    for group_size in (2, 3, 4, 7):
        rewards = torch.rand(3 * group_size, generator=generator).round(decimals=1)
        rewards[torch.rand(3 * group_size, generator=generator) < 0.2] = NAN
        guided = torch.rand(3 * group_size, generator=generator) < 0.5
        got = group_advantages(rewards, guided, group_size, grouping, scale)
        wanted = plain_loop(rewards.tolist(), guided.tolist(), group_size, grouping, scale)
        assert got.tolist() == pytest.approx(wanted, abs=2e-4)


def test_a_row_that_was_not_scored_counts_nowhere():
    assert advantages([NAN, 1.0, 0.0, NAN], [True] * 4, 4, "joint", "none") == [0, 0.5, -0.5, 0]
    assert advantages([NAN] * 4, [True] * 4, 4) == [0, 0, 0, 0]


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_a_stratum_of_one_has_no_baseline(scale):
    assert advantages([5.0, 1.0, 0.0, 0.0], [True, False, False, False], 4, "stratified", scale)[0] == 0
    assert advantages([5.0, NAN, 0.0, 1.0], [True, True, False, False], 4, "stratified", scale)[:2] == [0, 0]


def test_batch_scale_uses_one_spread_for_all_groups():
    # all rewards 1,0,3,0: mean of groups 0.5 and 1.5; std of all four sqrt(2) = 1.41421
    got = advantages([1.0, 0.0, 3.0, 0.0], [False] * 4, 2, "joint", "batch")
    assert got == pytest.approx([0.35353, -0.35353, 1.06059, -1.06059], abs=1e-4)


def test_batch_scale_of_a_single_scored_row_is_zero():
    assert advantages([1.0, NAN], [False, False], 2, "joint", "batch") == [0, 0]


def test_none_only_centres():
    assert advantages([1.0, 0.0, 0.0, 0.0], [False] * 4, 4, "joint", "none") == [0.75, -0.25, -0.25, -0.25]


def test_dtype_and_input_stay_as_they_were():
    rewards = torch.tensor([1.0, NAN, 0.0, 1.0])
    got = group_advantages(rewards, torch.zeros(4, dtype=torch.bool), 4)
    assert got.dtype == rewards.dtype
    assert rewards.isnan().tolist() == [False, True, False, False]


def test_no_rows_no_advantages():
    assert group_advantages(torch.zeros(0), torch.zeros(0, dtype=torch.bool), 4).tolist() == []
