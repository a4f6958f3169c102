r"""Rewards for form: what they pay for, and that no controller may listen to them."""

import importlib.util
import math
import sys

import pytest
from rlvr_graders.errors import ConfigError
from rlvr_graders.exact import exact_match_reward, normalise_text
from rlvr_graders.format import tag_count, think_answer_format, think_answer_format_strict
from rlvr_graders.registry import NAMES, get_reward
from rlvr_graders.shaping import cosine_value, reasoning_steps

GOOD = "<think>\nwork\n</think>\n<answer>5</answer>"
NEEDS = {"cosine": {"max_length": 10}, "overlong": {"max_completion_len": 100, "soft_punish_cache": 20}}
FROM_TRL = ("overlong", "repetition_penalty")
HAS_TRL = importlib.util.find_spec("trl") is not None
NEEDS_TRL = pytest.mark.skipif(not HAS_TRL, reason="TRL is not installed")


@pytest.mark.parametrize(
    ("text", "tolerant", "strict"),
    [
        (GOOD, 1, 1),
        ("<think>\nwork\n</think>\n<answer>\n5\n</answer>", 1, 1),
        ("  <think>work</think>\n\n<answer> 5 </answer>\n", 1, 0),
        ("work\n</think>\n<answer>5</answer>", 1, 0),
        (GOOD + " and more", 0, 0),
        ("Sure! " + GOOD, 0, 0),
        (GOOD + GOOD, 0, 0),
        ("<think></think><answer>5</answer>", 0, 0),
        ("<think>a</think><answer></answer>", 0, 0),
        ("<answer>5</answer><think>a</think>", 0, 0),
        ("<think>a</think> then <answer>5</answer>", 0, 0),
        ("<think>a<answer>5</answer>", 0, 0),
        ("<think>\na\n</think>\n<answer>5</answer></answer>", 0, 0),
        ("", 0, 0),
    ],
)
def test_think_answer_format(text, tolerant, strict):
    conversation = [[{"role": "assistant", "content": text}]]
    assert think_answer_format([text], answer=["5"]) == think_answer_format(conversation) == [float(tolerant)]
    assert think_answer_format_strict([text]) == think_answer_format_strict(conversation) == [float(strict)]


def test_tag_count_pays_each_tag_once():
    assert tag_count([GOOD, "<think>", "<think><think></think>", "none"]) == [1.0, 0.25, 0.25, 0.0]


def test_exact_match_keeps_what_means_something():
    golds = ["Paris", "3.0", "new york", "yes"]
    said = ["<answer>paris.</answer>", "<answer>3</answer>", "\\boxed{\\text{New  York}}", "yes"]
    assert exact_match_reward(said, golds) == [1.0, 0.0, 1.0, 0.0]
    assert normalise_text("**A  b.**") == "a b"


def test_cosine_value_is_the_papers_schedule():
    # Right: from 1 at no length down to 0.5 at L; wrong: from -1 up to -0.5. Halfway the cosine is 0.
    assert cosine_value(True, 0, 100) == 1.0
    assert cosine_value(True, 50, 100) == pytest.approx(0.75)
    assert cosine_value(True, 100, 100) == cosine_value(True, 500, 100) == 0.5
    assert cosine_value(False, 0, 100) == -1.0
    assert cosine_value(False, 100, 100) == -0.5
    assert cosine_value(True, 25, 100) == pytest.approx(0.5 + 0.25 * (1 + math.cos(math.pi / 4)))


def test_cosine_agrees_with_trls_on_the_same_grades():
    theirs = pytest.importorskip("trl.rewards").get_cosine_scaled_reward(40)
    ours = get_reward("cosine", max_length=40)
    completions = [[{"role": "assistant", "content": "$\\boxed{5}$"}]] * 3 + [[{"content": "$\\boxed{6}$"}]] * 3
    ids = [[0] * n for n in (1, 20, 60)] * 2
    assert ours(completions, ["$5$"] * 6, ids) == pytest.approx(theirs(completions, ["$5$"] * 6, ids))


def test_cosine_leaves_unscored_what_the_grader_did_not_score():
    assert get_reward("cosine", max_length=9)(["\\boxed{1}"], ["\\frac{"], [[1]]) == [None]


@NEEDS_TRL
def test_trls_own_rewards_stand_behind_our_names():
    assert get_reward("overlong", max_completion_len=100, soft_punish_cache=20)(completion_ids=[[1] * 90]) == [-0.5]
    penalty = get_reward("repetition_penalty", ngram_size=2)
    assert penalty(completion_ids=[[1, 2, 3, 4], [5] * 5]) == [0.0, -0.75]


@pytest.mark.parametrize("name", FROM_TRL)
def test_without_trl_its_rewards_say_what_to_install(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "trl.rewards", None)  # how Python marks a module that cannot be imported
    with pytest.raises(ConfigError, match=rf"'{name}', which TRL implements.*pip install 'rlvr-graders\[trl\]'"):
        get_reward(name, **NEEDS.get(name, {}))


def test_reasoning_steps_counts_lines_that_open_a_step():
    texts = ["Step 1: a\nStep 2: b\nStep 3: c", "1. a\n2. b", "- a", "First, a\nthen b", "in step 3 of 1. b", "5.5"]
    assert reasoning_steps(texts) == pytest.approx([1.0, 2 / 3, 1 / 3, 1 / 3, 0.0, 0.0])


def test_every_name_gives_a_reward_with_a_name_and_a_role():
    listening = set()
    for name in NAMES:
        if name == "code" or (name in FROM_TRL and not HAS_TRL):
            continue  # `code` opens a sandbox
        reward = get_reward(name, **NEEDS.get(name, {}))
        assert reward.__name__.isidentifier()
        if reward.drives_guidance:
            listening.add(name)
    assert listening == {"accuracy", "exact"}
    names = {name: get_reward(name).__name__ for name in ("accuracy", "exact", "format")}
    assert names == {"accuracy": "accuracy_reward", "exact": "exact_match_reward", "format": "format_reward"}


def test_a_reward_of_ones_own():
    assert get_reward("rlvr_graders.format:tag_count") is tag_count
    assert get_reward("rlvr_graders.math:MathReward", deadline_s=1.0).deadline_s == 1.0


@pytest.mark.parametrize(
    ("name", "kwargs", "message"),
    [
        ("acuracy", {}, "'accuracy'"),
        ("format", {"x": 1}, "Remove them"),
        ("cosine", {}, "max_length"),
        ("cosine", {"max_length": 0}, "at least 1"),
        ("accuracy", {"speed": 9}, "speed"),
        ("accuracy", {"deadline_s": 0}, "positive"),
        ("no.such.module:f", {}, "importable"),
        ("rlvr_graders.format:nothing", {}, "importable"),
        ("rlvr_graders.format:_TAGS", {}, "callable"),
    ],
)
def test_a_mistake_is_told(name, kwargs, message):
    with pytest.raises(ConfigError, match=message):
        get_reward(name, **kwargs)
