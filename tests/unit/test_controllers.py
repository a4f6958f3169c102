"""Every built-in rule against values worked out by hand, and every state through JSON and back."""

import dataclasses
import json

import pytest

from g2rpo.errors import ConfigError, RunError
from g2rpo.guidance.controller import Ask, mean_success, state_from_json, state_to_json
from g2rpo.guidance.controllers import CONTROLLERS, get_controller
from g2rpo.guidance.controllers.paper import PaperState
from g2rpo.guidance.controllers.profile import ProfileState
from g2rpo.guidance.controllers.released import ReleasedState
from g2rpo.types import Outcome


def outcome(success, fraction=0.0, member=0, key="a"):
    tokens = round(100 * fraction)
    return Outcome(key, member, tokens > 0, tokens, fraction, 10, success, success)


def batch(mean):
    """Four rollouts with that mean driving reward."""
    return [outcome(mean)] * 4


def ask(step=0, total=100, key="a", member=0, seed=0):
    return Ask(step, total, key, member, seed)


def lengths(controller, rewards):
    """The length planned before each step and after the last."""
    state, planned = controller.initial(), []
    for reward in rewards:
        planned.append(controller.plan(state, ask()))
        state = controller.update(state, batch(reward))
    return [*planned, controller.plan(state, ask())]


# --- the paper's rule


def test_paper_follows_the_formula():
    # T = 2, l_0 = 100, rewards 0.2, 0.4, 0.1, 0.5:
    #   after step 0 nothing to compare with: 100
    #   after step 1, m = 1:  100 * 0.2 / 0.4 = 50
    #   after step 2, m = 2:   50 * ((0.4 + 0.2) / 2) / 0.1 = 150
    #   after step 3, m = 2:  150 * ((0.1 + 0.4) / 2) / 0.5 = 75
    got = lengths(get_controller("paper", initial_length=100), [0.2, 0.4, 0.1, 0.5])
    assert got == pytest.approx([100, 100, 50, 150, 75])


def test_paper_looks_back_as_far_as_its_window():
    # T = 3, rewards 0.1, 0.2, 0.3, 0.4: 100, then 100*0.1/0.2 = 50, 50*0.15/0.3 = 25, 25*0.2/0.4 = 12.5
    got = lengths(get_controller("paper", initial_length=100, window=3), [0.1, 0.2, 0.3, 0.4])
    assert got == pytest.approx([100, 100, 50, 25, 12.5])


def test_paper_is_clipped_on_both_sides():
    # 100 * 0.1 / 0.9 = 11.1 -> 40;  then 40 * 0.5 / 0.1 = 200 -> 150
    rule = get_controller("paper", initial_length=100, min_length=40, max_length=150)
    assert lengths(rule, [0.1, 0.9, 0.1]) == pytest.approx([100, 100, 40, 150])


def test_paper_keeps_its_length_where_the_formula_divides_by_zero():
    # 0.4, 0, 0.1: unchanged at 0; then 100 * ((0 + 0.4) / 2) / 0.1 = 200
    assert lengths(get_controller("paper", initial_length=100), [0.4, 0.0, 0.1]) == pytest.approx([100, 100, 100, 200])


def test_paper_ignores_a_step_in_which_nothing_was_scored():
    rule = get_controller("paper", initial_length=100)
    state = rule.update(rule.initial(), batch(0.5))
    assert rule.update(state, [outcome(None)] * 4) == state == PaperState(100.0, (0.5,))


def test_the_driving_mean_counts_scored_rollouts_only_guided_or_not():
    assert mean_success([outcome(1.0, 0.5), outcome(0.0), outcome(None), outcome(0.5)]) == pytest.approx(0.5)
    assert mean_success([outcome(None)]) is None
    assert mean_success([]) is None


# --- the released rule


def test_released_moves_at_every_third_step_on_windows_that_do_not_overlap():
    # l_0 = 3072. Window 1: mean(0.2, 0.4) = 0.3, third reward 0.5: 3072 * 0.6 = 1843.2 -> 1843
    #             Window 2: mean(0.1, 0.1) = 0.1, third reward 0.3: 1843 / 3 = 614.33 -> 614
    got = lengths(get_controller("released"), [0.2, 0.4, 0.5, 0.1, 0.1, 0.3])
    assert got == [3072, 3072, 3072, 1843, 1843, 1843, 614]
    assert all(isinstance(length, int) for length in got)


def test_released_is_clipped_and_keeps_still_at_zero():
    # 3072 * 0.5 / 0.1 -> 3072 (cap); zeros: unchanged; 3072 * 0.0005 / 1 = 1.5 -> 1
    rewards = [0.5, 0.5, 0.1, 0.0, 0.0, 0.4, 0.4, 0.4, 0.0, 0.0005, 0.0005, 1.0]
    assert lengths(get_controller("released"), rewards)[3::3] == [3072, 3072, 3072, 1]


def test_released_never_leaves_one_for_a_ratio_below_two():
    rule = get_controller("released", initial_length=1)
    assert lengths(rule, [0.9, 0.9, 0.5])[-1] == 1  # int(1.8)
    assert lengths(rule, [0.8, 0.8, 0.4])[-1] == 2  # int(2.0)


# --- schedules, t = generation steps done, T = 100


@pytest.mark.parametrize(("step", "length"), [(0, 200), (1, 198), (50, 100), (99, 2), (100, 0), (150, 0)])
def test_linear(step, length):
    rule = get_controller("linear", length=200)  # 200 (1 - t / 100)
    assert rule.plan(rule.initial(), ask(step)) == pytest.approx(length)


@pytest.mark.parametrize(("step", "length"), [(0, 200), (75, 100), (96, 40), (100, 0), (150, 0)])
def test_concave(step, length):
    rule = get_controller("concave", length=200, beta=0.5)  # 200 sqrt(1 - t / 100): sqrt(.25) = .5, sqrt(.04) = .2
    assert rule.plan(rule.initial(), ask(step)) == pytest.approx(length)


def test_concave_with_exponent_one_is_linear():
    linear, concave = get_controller("linear", length=7), get_controller("concave", length=7, beta=1.0)
    for step in range(0, 101, 7):
        assert concave.plan(concave.initial(), ask(step)) == pytest.approx(linear.plan(linear.initial(), ask(step)))


@pytest.mark.parametrize(("step", "length"), [(0, 200), (9, 200), (10, 100), (19, 100), (20, 50), (35, 25)])
def test_stepwise(step, length):
    rule = get_controller("stepwise", length=200, gamma=0.5, every=10)  # 200 / 2^floor(t / 10)
    assert rule.plan(rule.initial(), ask(step)) == pytest.approx(length)


def test_fixed_and_none():
    assert get_controller("fixed", length=64).plan(get_controller("fixed").initial(), ask(99)) == 64
    assert get_controller("none").plan(get_controller("none").initial(), ask()) == 0


@pytest.mark.parametrize("name", ["none", "fixed", "linear", "concave", "stepwise"])
def test_schedules_do_not_listen_to_rewards(name):
    rule = get_controller(name)
    assert rule.update(rule.initial(), batch(0.3)) == rule.initial()


@pytest.mark.parametrize("name", ["linear", "concave"])
def test_a_schedule_over_the_run_needs_to_know_its_length(name):
    rule = get_controller(name)
    with pytest.raises(ConfigError, match="total steps is 0"):
        rule.plan(rule.initial(), ask(0, total=0))


# --- profile


@pytest.mark.parametrize(
    ("fraction", "bin_"),
    [(0, 0), (1e-6, 1), (0.125, 1), (0.126, 2), (0.25, 2), (0.5, 4), (0.875, 7), (0.9, 8), (1.0, 8)],
)
def test_profile_bins_are_closed_above(fraction, bin_):
    assert get_controller("profile", bins=8).bin_of(fraction) == bin_


def test_profile_counts_forget():
    # memory 0.5, bins (0, 1/2], (1/2, 1]. Step 1: bin 0 gets 1 success and 1 failure, bin 2 half a success.
    # Step 2: halved, then bin 1 gets a failure; unscored rollouts count nowhere, scores are cut to [0, 1].
    rule = get_controller("profile", bins=2, memory=0.5)
    state = rule.update(rule.initial(), [outcome(1.0), outcome(0.0), outcome(0.5, 0.9)])
    assert state == ProfileState((1.0, 0.0, 0.5), (1.0, 0.0, 0.5))
    state = rule.update(state, [outcome(0.0, 0.5), outcome(None, 0.5), outcome(7.0, 1.0)])
    assert state == ProfileState((0.5, 0.0, 1.25), (0.5, 1.0, 0.25))


def test_profile_plans_inside_the_bin_with_the_most_signal():
    # Beta(501, 501) lies at 1/2 (signal 1/4), the others at nearly 0 or nearly 1 (signal below 0.01).
    rule = get_controller("profile", bins=4)
    state = ProfileState((0.0, 0.0, 500.0, 999.0, 999.0), (999.0, 999.0, 500.0, 0.0, 0.0))
    for step in range(50):
        assert 0.25 < rule.plan(state, ask(step)) <= 0.5


def test_profile_gives_one_length_to_the_whole_group_and_others_to_other_groups_and_steps():
    rule = get_controller("profile")
    state = rule.initial()
    assert len({rule.plan(state, ask(3, member=m)) for m in range(8)}) == 1
    assert len({rule.plan(state, ask(3, key=k)) for k in "abcdefgh"}) > 4
    assert len({rule.plan(state, ask(s)) for s in range(8)}) > 4
    assert len({rule.plan(state, ask(3, seed=s)) for s in range(8)}) > 4


# --- all of them


@pytest.mark.parametrize("name", CONTROLLERS)
def test_state_survives_json(name):
    rule = get_controller(name)
    state = rule.initial()
    for _ in range(4):
        again = state_from_json(rule, json.loads(json.dumps(state_to_json(state))))
        assert again == state
        assert type(again) is type(state)
        state = rule.update(state, [outcome(0.25, 0.5), outcome(1.0), outcome(None)])


@pytest.mark.parametrize("name", CONTROLLERS)
def test_states_and_rules_are_frozen(name):
    rule = get_controller(name)
    for value in (rule, rule.initial()):
        assert dataclasses.is_dataclass(value)
        hash(value)
        for field in dataclasses.fields(value):
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(value, field.name, 0)


def test_state_of_another_controller_is_refused():
    saved = state_to_json(get_controller("paper").update(get_controller("paper").initial(), batch(0.5)))
    with pytest.raises(RunError, match=r"saved state of the controller Profile is \['length', 'rewards'\]"):
        state_from_json(get_controller("profile"), saved)


def test_released_state_is_whole_numbers():
    assert state_from_json(get_controller("released"), {"length": 7, "rewards": [0.5]}) == ReleasedState(7, (0.5,))


@pytest.mark.parametrize(
    ("name", "hyperparameters", "message"),
    [
        ("papre", {}, "guidance_controller is 'papre'.*Did you mean 'paper'"),
        ("paper", {"windw": 3}, "guidance_controller_kwargs of 'paper' is 'windw'.*Did you mean 'window'"),
        ("paper", {"window": 0}, "window is 0. Expected at least 1"),
        ("paper", {"min_length": 9, "max_length": 3}, "min_length is 9"),
        ("paper", {"initial_length": 4096}, "initial_length is 4096"),
        ("released", {"min_length": 0}, "initial_length is 3072. Expected 1 <= min_length"),
        ("fixed", {"length": 0}, "length is 0"),
        ("linear", {"length": -1}, "length is -1"),
        ("concave", {"beta": 0}, "beta is 0"),
        ("stepwise", {"gamma": 1.5}, "gamma is 1.5"),
        ("stepwise", {"every": 0}, "every is 0"),
        ("profile", {"bins": 0}, "bins is 0"),
        ("profile", {"memory": 0}, "memory is 0"),
    ],
)
def test_wrong_hyperparameters_are_named(name, hyperparameters, message):
    with pytest.raises(ConfigError, match=message):
        get_controller(name, **hyperparameters)


@pytest.mark.parametrize(
    ("name", "hyperparameters"), [("paper", {"window": "2"}), ("paper", {"window": 1.5}), ("profile", {"bins": 2.5})]
)
def test_hyperparameters_of_a_wrong_type_are_named(name, hyperparameters):
    with pytest.raises(ConfigError):
        get_controller(name, **hyperparameters)
