"""The procedural tasks: seeded, disjoint, true, and silent about the answer until the last step."""

import re

import pytest

from g2rpo.data.completion import STYLES, Style, full_completion, style
from g2rpo.data.problem import Problem
from g2rpo.data.tasks import FAMILIES, make, split_of
from g2rpo.errors import ConfigError
from g2rpo.method.leak_guard import leak_start

STEP = re.compile(r"(\d+)([-+*])(\d+)=(\d+)")


@pytest.fixture(params=sorted(FAMILIES))
def family(request):
    return request.param


def numbers(text):
    return re.findall(r"\d+", text)


def test_the_same_seed_gives_the_same_problems_and_another_one_others(family):
    assert make(family, "train", 20, steps=4, seed=1) == make(family, "train", 20, steps=4, seed=1)
    assert make(family, "train", 20, steps=4, seed=1) != make(family, "train", 20, steps=4, seed=2)


def test_a_longer_list_starts_with_the_shorter_one(family):
    assert make(family, "train", 30, steps=(1, 5))[:10] == make(family, "train", 10, steps=(1, 5))


def test_train_and_test_share_no_problem_whatever_the_seeds(family):
    train = {p.prompt[0]["content"] for s in range(5) for p in make(family, "train", 200, steps=(1, 3), seed=s)}
    test = {p.prompt[0]["content"] for s in range(5) for p in make(family, "test", 100, steps=(1, 3), seed=s)}
    assert not train & test


def test_no_problem_stands_twice(family):
    problems = make(family, "train", 300, steps=2)
    assert len({p.key for p in problems}) == 300
    assert all(split_of(p) == "train" for p in problems)


def test_every_step_is_true_and_follows_from_the_last(family):
    for problem in make(family, "train", 200, steps=(1, 9)):
        previous = None
        for line in problem.trace.split("\n"):
            left, sign, right, result = STEP.fullmatch(line).groups()
            value = {"+": int(left) + int(right), "-": int(left) - int(right), "*": int(left) * int(right)}[sign]
            assert value % 100 == int(result)
            assert previous in (None, left)
            previous = result
        assert previous == problem.answer


def test_the_question_tells_the_operations_of_the_trace(family):
    for problem in make(family, "train", 100, steps=(1, 6)):
        steps = [STEP.fullmatch(line).groups() for line in problem.trace.split("\n")]
        told = numbers(problem.prompt[0]["content"].replace("modulo 100", ""))
        assert told == [steps[0][0], *(s[2] for s in steps if s[1] != "*")]


def test_as_many_steps_as_asked_for(family):
    for steps in (1, 4, 9):
        for problem in make(family, "train", 20, steps=steps):
            assert problem.trace.count("\n") + 1 == steps == problem.difficulty
    assert {p.difficulty for p in make(family, "train", 60, steps=(2, 4))} == {2, 3, 4}


def test_the_answer_stands_nowhere_before_the_last_result(family):
    for problem in make(family, "train", 200, steps=(1, 9)):
        head, _, last = problem.trace.rpartition("\n")
        before = f"{problem.prompt[0]['content']} {head} {last.partition('=')[0]}"
        assert problem.answer not in numbers(before)


def test_so_the_strict_guard_shows_everything_but_the_last_result(family):
    for problem in make(family, "train", 100, steps=(1, 6)):
        assert leak_start(problem.trace, problem.answer) == len(problem.trace) - len(problem.answer)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("chain", "train", 1, 2), "task family is 'chain'.*Did you mean 'chains'"),
        (("chains", "valid", 1, 2), "split is 'valid'. Expected 'train' or 'test'"),
        (("chains", "train", 1, 0), "steps is 0. Expected 1 <= low <= high"),
        (("chains", "train", 1, (3, 2)), r"steps is \(3, 2\)"),
        (("chains", "train", 10**5, 1), "n is 100000. Expected at most about .* different problems of chains"),
    ],
    ids=["family", "split", "no steps", "wrong order", "too many"],
)
def test_wrong_arguments_are_named(arguments, message, monkeypatch):
    family, split, n, steps = arguments
    if n > 1000:  # the family is exhausted long before
        n = 10**5
        import g2rpo.data.tasks as tasks

        monkeypatch.setattr(tasks, "range", lambda _: range(20_000), raising=False)
    with pytest.raises(ConfigError, match=message):
        make(family, split, n, steps=steps)


# --- how a completion is written around a trace

PROBLEM = Problem("k", "q", "4", "2+2=4")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("think_answer", "<think>\n2+2=4\n</think>\n<answer>4</answer>"),
        ("think_boxed", "<think>\n2+2=4\n</think>\n\\boxed{4}"),
        ("boxed", "2+2=4\nThe answer is \\boxed{4}."),
        ("gsm8k", "2+2=4\n#### 4"),
    ],
)
def test_completion_styles(name, text):
    assert full_completion(PROBLEM, style(name)) == text


@pytest.mark.parametrize(
    ("tail", "before"),
    [("assistant\n", "<think>\n"), ("<think>\n", ""), ("<think>", "\n"), ("<think>\n\n", "\n"), ("<think> ", "\n")],
)
def test_what_the_prompt_has_opened_is_not_opened_again(tail, before):
    opened = STYLES["think_answer"].opened_by("...<|Assistant|>" + tail)
    if tail in ("<think>\n\n", "<think> "):
        assert "<think>" not in opened.before_trace
    else:
        assert opened == Style(before, "\n</think>\n<answer>", "</answer>")


def test_styles_without_a_tag_do_not_care():
    assert STYLES["boxed"].opened_by("<think>\n") == STYLES["boxed"]


def test_an_unknown_style_names_the_nearest():
    with pytest.raises(ConfigError, match=r"completion_style is 'boxd'.*Did you mean 'boxed'"):
        style("boxd")
