"""When to imitate: doubted by four groups without a success, begun where the longest prefixes fail too, ended when success no
longer rises, given up where there is none."""

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


def in_doubt():
    return RULE.after_rollouts(WarmStartState(), groups(*[False] * 4), 2)


@pytest.mark.parametrize(("arrived", "begins"), [(5, True), (6, False)])
def test_a_doubt_is_settled_by_24_rollouts_from_the_longest_prefixes(arrived, begins):
    state = in_doubt()
    assert RULE.reveals(state) == 1
    state = RULE.after_rollouts(state, groups(*[i < arrived for i in range(14)]), 2)  # one guided rollout per group
    assert state.doubt
    assert not RULE.imitates(state)
    state = RULE.after_rollouts(state, groups(*[False] * 10), 2)
    assert RULE.imitates(state) == begins
    assert begins or state == WarmStartState(succeeded=0, failed=10)


def test_demonstrations_that_are_not_worth_it_end_the_question():
    state = RULE.after_rollouts(in_doubt(), groups(*[False] * 24), 2, lambda: False)
    assert not RULE.imitates(state)
    assert not RULE.after_rollouts(state, groups(*[False] * 9), 2).doubt


def looked(*looks):
    """The state after stretches of imitation, each looked at with (groups with a success, of so many), and the stretches."""
    state, found = RULE.after_rollouts(in_doubt(), groups(*[False] * 24), 2), []
    for right, of in looks:
        steps = 0
        while RULE.imitates(state):
            state, steps = RULE.after_imitation(state), steps + 1
        found.append(steps)
        assert RULE.reveals(state) == 0
        state = RULE.after_rollouts(state, groups(*[i < right for i in range(of)]), 2)
    return state, found


@pytest.mark.parametrize(
    ("looks", "goes_on"),
    [
        (((0, 4), (1, 4), (2, 4), (2, 4)), True),  # one look without a new best may be chance
        (((0, 4), (1, 4), (2, 4), (2, 4), (3, 4)), True),
        (((0, 4), (1, 4), (2, 4), (2, 4), (1, 4)), False),
        (((2, 4), (1, 4), (0, 4)), False),
        (((0, 4), (0, 4), (0, 4)), True),
    ],
)
def test_it_goes_on_while_success_without_guidance_rises(looks, goes_on):
    state, stretches = looked(*looks)
    assert stretches == [2, 4, 8, 8, 8][: len(looks)]
    assert RULE.imitates(state) == goes_on
    assert goes_on or state == WarmStartState(looks[-1][0], looks[-1][1] - looks[-1][0])


def test_imitation_that_brings_nothing_is_given_up_for_good():
    state, _ = looked(*[(0, 4)] * 4)
    assert not RULE.imitates(state)
    for _ in range(5):
        state = RULE.after_rollouts(state, groups(*[False] * 8), 2)
        assert not state.doubt


def test_rollouts_that_nobody_scored_say_nothing():
    for state in (WarmStartState(), in_doubt(), WarmStartState(interval=4, looks=1)):
        assert RULE.after_rollouts(state, groups(*[None] * 20), 2) == state


def test_the_state_survives_a_checkpoint():
    state = WarmStartState(1, 2, True, 24, 3, 3, 4, 5, 1, 0.5, True)
    assert WarmStartState(**dataclasses.asdict(state)) == state
