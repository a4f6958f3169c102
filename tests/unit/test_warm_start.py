"""When to imitate: begun by seven groups without a success, ended by a look at which half of the groups have one."""

import dataclasses

import pytest

from g2rpo.method.rollout import Outcome
from g2rpo.method.warm_start import WarmStart, WarmStartState

RULE = WarmStart(first=2, longest=8)


def groups(*succeeded):
    """Outcomes of groups of two; None for a group that was not scored."""
    return [
        Outcome(f"k{g}", i, i == 0, 3, 0.5, 4, success=None if ok is None else float(ok and i == 0), reward=0.0)
        for g, ok in enumerate(succeeded)
        for i in range(2)
    ]


def test_one_success_in_a_guided_rollout_puts_it_off():
    state = RULE.after_rollouts(WarmStartState(), groups(True, *[False] * 12), 2)
    assert not RULE.imitates(state)
    assert RULE.imitates(RULE.after_rollouts(state, groups(*[False] * 2), 2))  # 2 / 17


@pytest.mark.parametrize(("failed", "begins"), [(6, False), (7, True)])
def test_it_begins_with_the_seventh_group_without_a_success(failed, begins):
    state = WarmStartState()
    for _ in range(failed):
        assert not RULE.imitates(state)
        state = RULE.after_rollouts(state, groups(False), 2)
    assert RULE.imitates(state) == begins


def test_it_looks_after_stretches_that_double_and_ends_when_half_the_groups_have_a_success():
    state, stretches = RULE.after_rollouts(WarmStartState(), groups(*[False] * 8), 2), []
    for look in (groups(False, False), groups(False, False, True), groups(False, False), groups(True, False)):
        steps = 0
        while RULE.imitates(state):
            state, steps = RULE.after_imitation(state), steps + 1
        stretches.append(steps)
        state = RULE.after_rollouts(state, look, 2)
    assert stretches == [2, 4, 8, 8]
    assert state == WarmStartState(succeeded=1, failed=1)


def test_rollouts_that_nobody_scored_say_nothing():
    assert RULE.after_rollouts(WarmStartState(), groups(*[None] * 20), 2) == WarmStartState()


def test_the_state_survives_a_checkpoint():
    state = WarmStartState(1, 2, 3, 4)
    assert WarmStartState(**dataclasses.asdict(state)) == state
