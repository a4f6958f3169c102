"""Every built-in rule against values worked out by hand, and every state through JSON and back."""

import dataclasses
import json
import math
import time

import pytest

from g2rpo.errors import ConfigError, RunError
from g2rpo.lab.simulate.learner import Still
from g2rpo.lab.simulate.simulation import Scenario
from g2rpo.lab.simulate.simulation import simulate as run
from g2rpo.method.controller import Ask, Table, mean_success, state_from_json, state_to_json, state_to_log
from g2rpo.method.controllers import CONTROLLERS, get_controller
from g2rpo.method.controllers.paper import PaperState
from g2rpo.method.controllers.profile import ProfileState
from g2rpo.method.controllers.released import ReleasedState
from g2rpo.method.rollout import Outcome


def outcome(success, fraction=0.0, rollout_index=0, key="a"):
    tokens = round(100 * fraction)
    return Outcome(key, rollout_index, tokens > 0, tokens, fraction, 10, success, success)


def batch(mean):
    """Four rollouts with that mean primary reward."""
    return [outcome(mean)] * 4


def ask(step=0, total=100, key="a", rollout_index=0, seed=0):
    return Ask(step, total, key, rollout_index, seed)


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


@pytest.mark.parametrize("name", ["none", "fixed", "linear", "concave", "stepwise", "uniform", "cosine_binomial", "window"])
def test_schedules_do_not_listen_to_rewards(name):
    rule = get_controller(name)
    assert rule.update(rule.initial(), batch(0.3)) == rule.initial()


@pytest.mark.parametrize("name", ["linear", "concave", "cosine_binomial", "window"])
def test_a_schedule_over_the_run_needs_to_know_its_length(name):
    rule = get_controller(name)
    with pytest.raises(ConfigError, match="total steps is 0"):
        rule.plan(rule.initial(), ask(0, total=0))


# --- profile


@pytest.mark.parametrize(
    ("fraction", "bin_"), [(0, 0), (1e-6, 1), (0.125, 1), (0.126, 2), (0.25, 2), (0.5, 4), (0.875, 7), (0.9, 8), (1.0, 8)]
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
    assert len({rule.plan(state, ask(3, rollout_index=m)) for m in range(8)}) == 1
    assert len({rule.plan(state, ask(3, key=k)) for k in "abcdefgh"}) > 4
    assert len({rule.plan(state, ask(s)) for s in range(8)}) > 4
    assert len({rule.plan(state, ask(3, seed=s)) for s in range(8)}) > 4


# --- peers


def test_uniform_is_one_draw_per_group_over_its_range():
    rule = get_controller("uniform", low=0.2, high=0.6)
    assert len({rule.plan(rule.initial(), ask(3, rollout_index=m)) for m in range(8)}) == 1
    drawn = [rule.plan(rule.initial(), ask(step)) for step in range(400)]
    assert 0.2 <= min(drawn) < 0.22
    assert 0.58 < max(drawn) <= 0.6


@pytest.mark.parametrize(
    ("step", "share"),
    # T_hint = 60; (1 + cos(pi (t + 1) / 60)) / 2 is 1/2 at t = 29, 0 at t = 59; 0.05 + 0.9 * that
    [(29, 0.5), (59, 0.05), (19, 0.05 + 0.9 * 0.75), (60, 0.0), (99, 0.0)],
)
def test_cosine_binomial_share(step, share):
    assert get_controller("cosine_binomial").share(step, 100) == pytest.approx(share)


def test_cosine_binomial_draws_whole_segments_with_the_shares_mean():
    rule = get_controller("cosine_binomial", segments=4)
    drawn = [rule.plan(rule.initial(), ask(29, key=str(k))) for k in range(600)]
    assert set(drawn) == {0, 0.25, 0.5, 0.75, 1.0}
    assert sum(drawn) / 600 == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize(("step", "shortest"), [(0, 0.95), (50, 0.5), (100, 0.05), (200, 0.05)])
def test_window_opens_downwards(step, shortest):
    rule = get_controller("window")
    assert rule.shortest(step, 100) == pytest.approx(shortest)
    drawn = [rule.plan(rule.initial(), ask(step, rollout_index=m)) for m in range(200)]
    assert shortest - 1e-9 <= min(drawn) <= max(drawn) <= 0.95
    assert len(set(drawn)) == (1 if step == 0 else 200)


def test_binary_search_by_hand():
    rule = get_controller("binary_search")
    state = rule.update(rule.initial(), [outcome(1.0, 0.6), outcome(0.0, 0.6), outcome(0.0)])  # 1/2 of the guided: enough
    assert state.intervals == {"a": (0.0, 0.6)}
    state = rule.update(state, [outcome(0.0, 0.2), outcome(1.0, 0.5, key="b"), outcome(None, 0.5, key="c")])
    assert state.intervals == {"a": (0.2, 1.0), "b": (0.0, 0.5)}
    assert 0.2 <= rule.plan(state, ask()) <= 1
    state = rule.update(state, [outcome(0.0)])  # a prefix of no token, and no success: from the beginning
    assert state.intervals["a"] == (0.0, 1.0)


def test_binary_search_may_share_one_interval():
    rule = get_controller("binary_search", shared=True)
    state = rule.update(rule.initial(), [outcome(1.0, 0.6, key="x")])
    assert all(rule.plan(state, ask(key=k, step=s)) <= 0.6 for k in "abc" for s in range(20))


def test_ladder_by_hand():
    rule = get_controller("ladder", levels=[0.0, 0.5, 0.75], succeed=0.5)
    assert rule.plan(rule.initial(), ask()) == 0
    state = rule.update(rule.initial(), [outcome(0.0), outcome(0.0), outcome(0.25, key="b"), outcome(1.0, key="c")])
    assert state.rungs == {"a": (1.0,), "b": (0.0,), "c": (0.0,)}
    assert rule.plan(state, ask()) == 0.5
    state = rule.update(state, [outcome(0.0, 0.5), outcome(1.0)])  # only the rows at its rung count
    assert rule.plan(state, ask()) == 0.75
    state = rule.update(state, [outcome(0.0, 0.75)])
    assert rule.plan(state, ask()) == 0.75  # no rung above
    state = rule.update(state, [outcome(1.0, 0.75), outcome(0.0, 0.75)])
    assert rule.plan(state, ask()) == 0.5


def test_target_accuracy_without_data_gives_its_first_guess_and_follows_what_it_sees():
    rule = get_controller("target_accuracy")
    assert rule.plan(rule.initial(), ask()) == pytest.approx(0.5)
    state = rule.initial()
    for _ in range(10):  # "hard" fails at 0.5, "easy" succeeds there
        state = rule.update(state, [outcome(0.0, 0.5, key="hard")] * 4 + [outcome(1.0, 0.5, key="easy")] * 4)
    hard, easy, new = (rule.plan(state, ask(key=k)) for k in ("hard", "easy", "new"))
    assert easy < 0.4 < 0.6 < hard
    assert easy < new < hard
    assert len(state.visits["hard"]) == 3 * rule.memory


def test_the_logistic_fit_maximises_the_posterior():
    from g2rpo.method.controllers.target_accuracy import FIRST_GUESS, SPREAD, fit

    visits = ((0.2, 0.25, 8.0), (0.5, 0.5, 8.0), (0.9, 1.0, 4.0))

    def log_posterior(w0, w1):
        value = -(((w0 - FIRST_GUESS[0]) / SPREAD[0]) ** 2 + ((w1 - FIRST_GUESS[1]) / SPREAD[1]) ** 2) / 2
        for h, success, n in visits:
            a = 1 / (1 + math.exp(-(w0 + w1 * h)))
            value += n * (success * math.log(a) + (1 - success) * math.log(1 - a))
        return value

    w0, w1 = fit(visits, FIRST_GUESS)
    best = log_posterior(w0, w1)
    assert all(log_posterior(w0 + d0, w1 + d1) < best for d0 in (-0.05, 0, 0.05) for d1 in (-0.05, 0, 0.05) if d0 or d1)


def test_adaptive_profile_guides_all_or_none_by_need():
    rule = get_controller("adaptive_profile", bins=2)
    lost = ProfileState((0.0, 500.0, 0.0), (999.0, 500.0, 999.0))  # never alone, one half with a short prefix
    able = ProfileState((600.0, 500.0, 0.0), (400.0, 500.0, 999.0))

    def plans(state, guidable=6):
        return [rule.plan(state, Ask(0, 9, "a", m, 0, 8, guidable)) for m in range(guidable)]

    assert all(0 < x <= 0.5 for x in plans(lost))
    assert len(set(plans(lost))) == 1
    assert plans(able) == [0] * 6


def test_micro_groups_by_hand():
    rule = get_controller("micro_groups")
    assert rule.micro_groups(8) == (4, 2, 1, 1)

    def plan(index, so_far):
        return rule.plan(rule.initial(), Ask(0, 9, "a", index, 0, 8, 8, so_far))

    assert [plan(i, None) for i in range(8)] == [0] * 8  # nothing graded yet
    assert [plan(i, 0.0) for i in range(8)] == [0, 0, 0, 0, 0.25, 0.25, 0.5, 1]
    assert [plan(4, 1 / 4), plan(4, 2 / 4)] == [0.25, 0]
    assert [plan(6, 3 / 6), plan(6, 4 / 6)] == [0.5, 0]
    assert [plan(7, 6 / 7), plan(7, 7 / 7)] == [1, 0]


def test_the_simulator_samples_micro_groups_in_turn():
    seen = []
    run(
        get_controller("micro_groups"),
        Scenario("law", "", lambda: Still(lambda fraction: float(fraction >= 0.5))),
        steps=1,
        groups=1,
        ratio=1.0,
        watch=lambda step, state, outcomes: seen.extend(outcomes),
    )
    assert [o.fraction for o in seen] == [0, 0, 0, 0, 0.25, 0.25, 0.5, 1]  # 0 of 4, 0 of 6, 1 of 7


# --- memory of single problems


@pytest.mark.parametrize(("name", "table"), [("binary_search", "intervals"), ("ladder", "rungs"), ("target_accuracy", "visits")])
def test_a_hundred_thousand_problems_fit_into_a_checkpoint(name, table):
    rule, problems = get_controller(name), 100_000
    once = rule.update(rule.initial(), [outcome(1.0, 0.5), outcome(1.0)])
    [row] = getattr(once, table).values()
    state = dataclasses.replace(once, **{table: Table({f"problem-{i:06d}": row for i in range(problems)})})
    began = time.process_time()
    state = rule.update(state, [outcome(0.0, 0.5, key="problem-000007")])
    assert time.process_time() - began < 0.5  # some milliseconds: a copy, not a rebuild
    text = json.dumps(state_to_json(state))
    assert len(text) < 80 * problems  # bytes, roughly
    assert state_from_json(rule, json.loads(text)) == state
    assert len(json.dumps(state_to_log(state))) < 3000


def test_a_table_is_a_value():
    table = Table({"a": (1.0,)})
    more = table.with_rows({"b": (2.0,)})
    assert dict(table) == {"a": (1.0,)}
    assert more == Table({"a": (1.0,), "b": (2.0,)})
    assert hash(more) == hash(Table({"b": (2.0,), "a": (1.0,)}))
    assert "2 problems" in repr(more)


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
        ("uniform", {"low": 0.8, "high": 0.2}, "low is 0.8"),
        ("cosine_binomial", {"until": 0}, "until is 0"),
        ("cosine_binomial", {"segments": 0}, "segments is 0"),
        ("window", {"low": -0.1}, "low is -0.1"),
        ("binary_search", {"threshold": 0}, "threshold is 0"),
        ("target_accuracy", {"target": 1}, "target is 1"),
        ("target_accuracy", {"memory": 0}, "memory is 0"),
        ("ladder", {"levels": [0.5]}, "levels is"),
        ("ladder", {"levels": [0.5, 0.2]}, "levels is"),
        ("ladder", {"fail": 0.6}, "fail is 0.6"),
        ("adaptive_profile", {"bins": 0}, "bins is 0"),
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
