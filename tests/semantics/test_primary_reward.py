"""Which reward drives the controller: by name, by its kind, never by accident."""

import math

import numpy as np
import pytest

from g2rpo.errors import ConfigError, RunError
from tests.semantics.conftest import accuracy_reward, format_reward, table


def test_a_controller_driven_by_an_unknown_reward(build):
    with pytest.raises(
        ConfigError,
        match=r"guidance_reward is 'acuracy'. Expected the name of one reward of this run \(accuracy_reward\).*accuracy_reward",
    ):
        build(table(), guidance_reward="acuracy")


@pytest.mark.parametrize("index", ["1", "-1", "7"])
def test_a_controller_driven_by_a_reward_that_is_not_there(build, index):
    with pytest.raises(ConfigError, match=f"guidance_reward is '{index}'. Expected an index below 1"):
        build(table(), guidance_reward=index)


@pytest.mark.parametrize("wanted", ["accuracy_reward", "accuracy", "1", 1])
def test_the_primary_reward_goes_by_name_short_name_or_index(build, wanted):
    assert build(table(), [format_reward, accuracy_reward], guidance_reward=wanted).primary_reward == 1


def test_the_primary_reward_goes_by_the_name_that_a_recipe_gives_it(build):
    from rlvr_graders.registry import get_reward

    rewards = [get_reward(name) for name in ("format", "exact", "accuracy")]
    for index, name in enumerate(("format", "exact", "accuracy")):
        assert build(table(), rewards, guidance_reward=name).primary_reward == index
    own = get_reward("rlvr_graders.exact:exact_match_reward")
    assert build(table(), [own, accuracy_reward], guidance_reward="rlvr_graders.exact:exact_match_reward").primary_reward == 0


def test_the_primary_reward_goes_by_the_name_that_a_script_imports(build):
    from rlvr_graders.code import CodeReward
    from rlvr_graders.math import MathReward, math_accuracy

    def short(completions, **columns):
        return [0.0 for _ in completions]

    for reward, name in (
        (math_accuracy, "math_accuracy"),
        (MathReward(), "MathReward"),
        (CodeReward(), "CodeReward"),
        (short, "short"),
    ):
        assert build(table(), [format_reward, reward], guidance_reward=name).primary_reward == 1


def test_two_rewards_that_could_drive_must_be_told_apart(build):
    with pytest.raises(ConfigError, match=r"2 of the rewards \(format_reward, accuracy_reward\) could. Set guidance_reward"):
        build(table(), [format_reward, accuracy_reward])


def test_format_rewards_do_not_drive_by_accident(build):
    from rlvr_graders.format import tag_count, think_answer_format, think_answer_format_strict
    from rlvr_graders.shaping import reasoning_steps, repetition_penalty
    from trl.rewards import get_soft_overlong_punishment, think_format_reward

    formats = [
        think_answer_format,
        think_answer_format_strict,
        tag_count,
        reasoning_steps,
        repetition_penalty(),
        think_format_reward,
        get_soft_overlong_punishment(10, 5),
    ]
    for func in formats:
        assert build(table(), [func, accuracy_reward]).primary_reward == 1
        assert build(table(), [accuracy_reward, func]).primary_reward == 0


def test_format_rewards_alone_drive_only_when_named(build):
    from rlvr_graders.format import think_answer_format

    with pytest.raises(ConfigError, match=r"0 of the rewards \(format_reward\) could"):
        build(table(), [think_answer_format])
    assert build(table(), [think_answer_format], guidance_reward="format").primary_reward == 0


def test_a_format_reward_named_like_accuracy_still_does_not_drive(build):
    def accuracy_of_format(completions, **columns):
        return [1.0] * len(completions)

    accuracy_of_format.drives_guidance = False
    assert build(table(), [accuracy_of_format, accuracy_reward]).primary_reward == 1


def test_an_unguided_run_needs_no_driver(build):
    assert build(table(), [format_reward, accuracy_reward], guidance_controller="none").planner is None


def test_an_infinite_reward_stops_the_run_with_its_name(build):
    def broken_reward(completions, **columns):
        return [float("inf")] * len(completions)

    with pytest.raises(RunError, match=r"reward 'broken_reward' of problem '.+' is inf. Expected finite numbers, or None"):
        build(table(), broken_reward).train()


def nan_for_some(completions, **columns):
    return [0.5, *[math.nan] * (len(completions) - 1)]


async def nan_as_numpy(completions, **columns):
    return np.full(len(completions), np.nan, dtype=np.float32)


def none_for_some(completions, **columns):
    return [None, *[0.5] * (len(completions) - 1)]


@pytest.mark.parametrize("reward", [nan_for_some, nan_as_numpy, none_for_some])
def test_a_reward_that_returns_nan_is_told_once_and_none_is_not(build, caplog, reward):
    trainer = build(table(), [accuracy_reward, reward], guidance_reward="accuracy", max_steps=2, report_to="none")
    before = list(trainer.reward_funcs)
    trainer.train()
    told = [r.getMessage() for r in caplog.records if "is NaN for" in r.getMessage()]
    assert len(told) == (reward is not none_for_some)
    for line in told:
        assert line.startswith(f"reward {reward.__name__!r} is NaN for {8 - (reward is nan_for_some)} of 8 rollouts")
        assert "of problem 'question" in line
    assert trainer.reward_funcs == before


# --- a reward that raises, or gives something else than numbers


def wants_a_column(completions, solution):
    return [1.0 for _ in completions]


def looks_for_a_column(completions, **columns):
    return [columns["solution"] for _ in completions]


def one_for_all(completions, **columns):
    return [1.0]


def words(completions, **columns):
    return ["yes" for _ in completions]


async def raises_later(completions, **columns):
    raise RuntimeError("no judge")


@pytest.mark.parametrize("reward", [wants_a_column, looks_for_a_column, one_for_all, words, raises_later])
def test_a_reward_that_cannot_be_used_is_named(build, reward):
    trainer = build(table(), [accuracy_reward, reward], guidance_reward="accuracy", max_steps=1)
    with pytest.raises(RunError) as error:
        trainer.train()
    said = str(error.value)
    assert said.startswith(f"reward {reward.__name__!r} is ")
    assert "the columns trace, answer: give it" in said
    assert (f"It comes from {__file__}, line " in said) == (reward in (looks_for_a_column, raises_later))
    assert "site-packages" not in said
