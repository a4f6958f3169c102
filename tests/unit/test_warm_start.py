"""When to imitate: doubted by four groups without a success, begun where the longest prefixes fail too, ended when success no
longer rises."""

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
    state = RULE.after_rollouts(WarmStartState(), groups(True, *[False] * 7), 2)
    assert not state.doubt
    assert RULE.after_rollouts(state, groups(False), 2).doubt  # 2 / 11


@pytest.mark.parametrize(("failed", "doubt"), [(3, False), (4, True)])
def test_the_fourth_group_without_a_success_raises_a_doubt(failed, doubt):
    state = WarmStartState()
    for _ in range(failed):
        assert not state.doubt
        state = RULE.after_rollouts(state, groups(False), 2)
    assert state.doubt == doubt
    assert not RULE.imitates(state)


@pytest.mark.parametrize(("look", "begins"), [((False, False, True), True), ((False, True), False)])
def test_a_doubt_is_settled_by_the_longest_prefixes(look, begins):
    state = RULE.after_rollouts(RULE.after_rollouts(WarmStartState(), groups(*[False] * 4), 2), groups(*look), 2)
    assert RULE.imitates(state) == begins
    assert RULE.reveals(WarmStartState(doubt=True)) == 1
    assert not state.doubt
    assert begins or state == WarmStartState(succeeded=1, failed=1)


@pytest.mark.parametrize(
    ("looks", "stretches"),
    [
        (((0, 4), (1, 4), (2, 4), (2, 4)), [2, 4, 8, 8]),  # ended by a look that shows no more than the one before
        (((2, 4), (1, 4)), [2, 4]),
        (((0, 4), (0, 4), (0, 4), (0, 4)), [2, 4, 8, 8]),  # nothing to lose
    ],
)
def test_it_goes_on_while_success_without_guidance_rises(looks, stretches):
    state, found = RULE.after_rollouts(WarmStartState(doubt=True), groups(False), 2), []
    for right, of in looks:
        steps = 0
        while RULE.imitates(state):
            state, steps = RULE.after_imitation(state), steps + 1
        found.append(steps)
        assert RULE.reveals(state) == 0
        state = RULE.after_rollouts(state, groups(*[i < right for i in range(of)]), 2)
    assert found == stretches
    ended = looks[-1][0] > 0
    assert RULE.imitates(state) == (not ended)
    assert not ended or state == WarmStartState(looks[-1][0], looks[-1][1] - looks[-1][0])


def test_rollouts_that_nobody_scored_say_nothing():
    assert RULE.after_rollouts(WarmStartState(), groups(*[None] * 20), 2) == WarmStartState()


def test_the_state_survives_a_checkpoint():
    state = WarmStartState(1, 2, True, 3, 4, 0.5)
    assert WarmStartState(**dataclasses.asdict(state)) == state
