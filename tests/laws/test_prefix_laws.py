"""A prefix is a beginning of the trace, never longer than it, and never shows the answer. Members do not depend on chance."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from g2rpo.method.controller import UNITS, Ask
from g2rpo.method.controllers import get_controller
from g2rpo.method.guided_share import guided_count
from g2rpo.method.leak_guard import LEAK_GUARDS, leak_start
from g2rpo.method.planner import Planner
from g2rpo.method.prefix import encode_plain, tokenize_trace

LAWS = settings(deadline=None, max_examples=50, derandomize=True)

words = st.sampled_from(
    ["so", "we", "add", "then", "therefore", "=", "+", "-", "x", "(", ")", ":", "\\frac", "{", "}", "é", "∑", "🙂"]
)
numbers = (
    st.integers(0, 120).map(str)
    | st.integers(0, 9999).map(lambda i: f"{i / 100:.2f}")
    | st.integers(1000, 99999).map("{:,}".format)
)
gaps = st.sampled_from([" ", " ", " ", "\n", "\n\n", ". ", "; "])
controls = st.sampled_from(["<|im_end|>", "<|endoftext|>", "<|im_start|>assistant\n"])
pieces = st.one_of(words, numbers, numbers, controls)


@st.composite
def traces(draw):
    text = "".join(p + draw(gaps) for p in draw(st.lists(pieces, min_size=1, max_size=25))).strip()
    return text or "x"


answers = (
    st.integers(0, 120).map(str) | st.integers(-20, -1).map(str) | st.sampled_from(["2.5", "1,250", "x", "so we", "\\frac{1}{2}"])
)


def standalone_number(text, answer):
    """Whether a number equal to the answer stands in the text, read as a person reads it: maximal runs of digits and points."""
    value = float(answer.replace(",", ""))
    found = re.findall(r"(?<![\d.,])\d+(?:,\d{3})*(?:\.\d+)?(?![\d])", text)
    return any(float(n.replace(",", "")) == abs(value) for n in found) and (
        value >= 0 or re.search(r"[-−]\s?" + answer[1:], text)
    )


@LAWS
@given(trace=traces(), answer=answers, before=st.sampled_from(["", "<think>\n"]), guard=st.sampled_from(LEAK_GUARDS))
def test_a_prefix_is_a_beginning_of_the_trace(tokenizer, trace, answer, before, guard):
    tokens = tokenize_trace(tokenizer, before, trace, answer, guard)
    ids, _ = encode_plain(tokenizer, before + trace)
    assert list(tokens.ids) == ids[: len(tokens.ids)]
    assert all(0 < end <= len(tokens.ids) for end in tokens.step_ends)
    assert list(tokens.step_ends) == sorted(set(tokens.step_ends))
    shown = len(tokenizer.decode(tokens.ids, errors="ignore"))
    assert shown <= len(before) + leak_start(trace, answer, guard)


@LAWS
@given(trace=traces(), answer=st.integers(0, 120).map(str), share=st.floats(0, 1))
def test_no_strict_prefix_shows_the_answer_as_a_number_of_its_own(tokenizer, trace, answer, share):
    tokens = tokenize_trace(tokenizer, "<think>\n", trace, answer, "strict")
    shown = tokenizer.decode(tokens.ids[: tokens.length(share, "fraction")])
    assert not standalone_number(shown, answer)


@LAWS
@given(trace=traces(), answer=answers, guard=st.sampled_from(LEAK_GUARDS))
def test_a_stricter_guard_never_shows_more(trace, answer, guard):
    strict, conclusion, off = (leak_start(trace, answer, g) for g in ("strict", "conclusion", "off"))
    assert 0 <= strict <= conclusion <= off == len(trace)


@LAWS
@given(trace=traces(), amount=st.floats(-5, 200, allow_nan=False), unit=st.sampled_from(UNITS))
def test_a_length_is_whole_and_inside_the_trace(tokenizer, trace, amount, unit):
    tokens = tokenize_trace(tokenizer, "", trace, None)
    length = tokens.length(amount, unit)
    assert isinstance(length, int)
    assert 0 <= length <= len(tokens.ids)
    assert length <= tokens.length(amount + 1, unit)


@LAWS
@given(trace=traces())
def test_no_trace_encodes_to_a_control_token(tokenizer, trace):
    ids, _ = encode_plain(tokenizer, trace)
    assert not set(ids) & set(tokenizer.all_special_ids)
    assert tokenizer.decode(ids) == trace


@LAWS
@given(alpha=st.floats(0, 1), group_size=st.integers(2, 64))
def test_as_many_members_are_guided_as_the_rounding_says(alpha, group_size):
    if 0 < alpha < 0.5 / group_size:
        return
    count = guided_count(alpha, group_size)
    assert abs(count - alpha * group_size) <= 0.5 + 1e-6


def make_planner(tokenizer, **changes):
    fields = {
        "controller": get_controller("fixed", length=0.5),
        "tokenizer": tokenizer,
        "alpha": 0.5,
        "group_size": 4,
        "unit": "fraction",
        "style_name": "think_answer",
        "leak_guard": "strict",
        "trace_column": "trace",
        "answer_column": "answer",
        "budget": 64,
        "seed": 0,
    }
    return Planner(**{**fields, **changes})


@settings(LAWS, max_examples=40)
@given(
    alpha=st.sampled_from([0, 0.25, 1 / 3, 0.5, 0.75, 1]),
    group_size=st.integers(2, 9),
    budget=st.integers(1, 40),
    step=st.integers(0, 99),
    seed=st.integers(0, 5),
    controller=st.sampled_from(["fixed", "paper", "linear", "profile", "none"]),
)
def test_guided_members_depend_on_member_alpha_and_group_size_only(tokenizer, alpha, group_size, budget, step, seed, controller):
    rule = get_controller(controller)
    planner = make_planner(
        tokenizer, controller=rule, alpha=alpha, group_size=group_size, budget=budget, seed=seed, unit=rule.unit
    )
    row = {"prompt": "q", "trace": "37+15=52\n52-12=40\n40+8=48", "answer": "48", "key": "k"}
    starts = [planner.guided_prompt(row, [1, 2], m, rule.initial(), step, 100) for m in range(group_size)]
    for member, start in enumerate(starts):
        assert start.prompt_ids == (1, 2)
        assert start.rollout_index == member
        assert len(start.guidance_ids) < budget  # one token is always left to sample
        if not (member < guided_count(alpha, group_size)):
            assert not start.guided
    assert len({s.guidance_ids for s in starts if (s.rollout_index < guided_count(alpha, group_size))}) <= 1


@settings(LAWS, max_examples=40)
@given(
    budget=st.integers(1, 40),
    step=st.integers(0, 99),
    controller=st.sampled_from(["fixed", "paper", "linear", "profile", "uniform"]),
)
def test_a_prefix_cut_at_steps_ends_where_one_does(tokenizer, budget, step, controller):
    rule = get_controller(controller)
    planner = make_planner(tokenizer, controller=rule, budget=budget, unit=rule.unit, cut="step")
    row = {"prompt": "q", "trace": "37+15=52\n52-12=40\n40+8=48", "answer": "48", "key": "k"}
    start = planner.guided_prompt(row, [1, 2], 0, rule.initial(), step, 100)
    assert len(start.guidance_ids) in (0, *planner.trace(row).step_ends)
    assert len(start.guidance_ids) < budget


def test_a_trace_without_a_whole_step_is_none_where_only_whole_steps_are_shown(tokenizer):
    row = {"prompt": "q", "trace": "40+8=48", "answer": "48", "key": "k"}
    assert make_planner(tokenizer).trace(row).ids
    assert not make_planner(tokenizer, cut="step").trace(row).ids
    assert not make_planner(tokenizer, unit="steps").trace(row).ids


@pytest.mark.parametrize("order", [range(6), reversed(range(6)), [3, 1, 5, 0, 2, 4]])
def test_plans_do_not_depend_on_who_was_planned_before(tokenizer, order):
    planner = make_planner(tokenizer, controller=get_controller("profile"))
    row = {"prompt": "q", "trace": "37+15=52\n52-12=40\n40+8=48", "answer": "48"}
    state = planner.controller.initial()
    plans = {i: planner.guided_prompt({**row, "key": f"k{i}"}, [1], 0, state, i % 2, 10).guidance_ids for i in order}
    fresh = make_planner(tokenizer, controller=get_controller("profile"))
    assert plans == {i: fresh.guided_prompt({**row, "key": f"k{i}"}, [1], 0, state, i % 2, 10).guidance_ids for i in range(6)}


def test_the_profile_draw_of_an_ask_is_stable():
    rule = get_controller("profile")
    assert rule.plan(rule.initial(), Ask(3, 10, "k", 0, 7)) == rule.plan(rule.initial(), Ask(3, 99, "k", 5, 7))
