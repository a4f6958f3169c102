"""Traces with a wrong step, in another style, for some problems only, or from another problem."""

import dataclasses
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g2rpo.data.completion import STYLES, full_completion
from g2rpo.data.load import to_rows
from g2rpo.data.problem import Problem
from g2rpo.data.tasks import make, programs
from g2rpo.data.tasks.notations import altered
from g2rpo.data.trace_assignment import come_round, keep_traces
from g2rpo.errors import ConfigError
from g2rpo.training.run.recipe import resolve

FAMILIES = ("chains", "word_problems", "programs")


@pytest.fixture(scope="module", params=FAMILIES)
def problems(request):
    return make(request.param, "train", 300, steps=(3, 6))


def test_nothing_changes_unasked(problems):
    assert [altered(p) for p in problems] == problems


def test_a_share_of_the_traces_goes_wrong_and_the_same_ones_at_every_share(problems):
    wrong = {
        share: {p.key for p in problems if altered(p, noise=share).trace_answer is not None} for share in (0.0, 0.3, 0.6, 1.0)
    }
    assert wrong[0.0] == set()
    assert wrong[0.3] < wrong[0.6] < wrong[1.0] == {p.key for p in problems}
    assert 0.2 < len(wrong[0.3]) / len(problems) < 0.4
    for p in problems:
        assert altered(p, noise=1.0) == altered(p, noise=1.0)


def test_everything_but_the_trace_stays(problems):
    for p in problems:
        changed = altered(p, noise=1.0)
        assert dataclasses.replace(changed, trace=p.trace, trace_answer=None) == p
        assert changed.trace != p.trace


def test_arithmetic_has_one_wrong_step_and_ends_in_a_wrong_answer():
    for family in ("chains", "word_problems"):
        for p in make(family, "train", 300, steps=(2, 6)):
            changed = altered(p, noise=1.0)
            steps = [re.fullmatch(r"(\d+)([-+*])(\d+)=(\d+)", line).groups() for line in changed.trace.split("\n")]
            wrong = 0
            for before, sign, operand, after in steps:
                right = {"+": int(before) + int(operand), "-": int(before) - int(operand), "*": int(before) * int(operand)}[sign]
                wrong += (right % 100 if family == "chains" else right) != int(after)
            assert wrong == 1
            assert all(one[3] == other[0] for one, other in pairwise(steps))
            assert changed.trace_answer == steps[-1][3] != p.answer


def test_programs_take_one_operation_for_another_and_fail_their_tests():
    for p in make("programs", "train", 200, steps=(3, 6)):
        assert programs.trace(programs.row_of(p), programs.example_of(p)) == p.trace
        assert programs.solution(programs.row_of(p)) == p.tests["solution"]
        assert programs.passes(programs.row_of(p), p.tests)
        changed = altered(p, noise=1.0)
        right, wrong = p.tests["solution"].split("\n"), changed.trace_answer.split("\n")
        assert sum(a != b for a, b in zip(right, wrong, strict=True)) == 1
        scope: dict = {}
        exec(changed.trace_answer, scope)
        assert any(scope["f"](*case["args"]) != case["expected"] for case in p.tests["cases"])


def test_imitation_learns_what_the_trace_arrives_at_and_rewards_never_see_it():
    for family in FAMILIES:
        p = altered(make(family, "train", 1, steps=3)[0], noise=1.0)
        assert p.trace_answer in full_completion(p, STYLES["think_answer"])
        row = to_rows([p])[0]
        assert "trace_answer" not in row
        assert row.get("answer") == p.answer


@pytest.mark.parametrize("style", ["own", "prose", "terse"])
def test_a_style_says_the_same_in_as_many_lines(problems, style):
    for p in problems:
        changed = altered(p, style=style)
        own, other = p.trace.split("\n"), changed.trace.split("\n")
        assert len(own) == len(other)
        for line, told in zip(own, other, strict=True):
            result = re.split(r"=|-> ", line)[-1]
            assert told.endswith(result)
        assert (changed.trace == p.trace) == (style == "own")


@pytest.mark.parametrize("steps", [1, 2, 3, 9])
def test_steps_are_left_out_in_the_middle_or_at_the_end(steps):
    for p in make("chains", "train", 40, steps=(steps, steps)):
        own = p.trace.split("\n")
        skips, stops = (altered(p, style=style).trace.split("\n") for style in ("skips", "stops"))
        assert len(skips) == steps - steps // 2
        assert skips[-1] == own[-1]
        assert sorted(skips, key=own.index) == skips  # what is left stays in order
        assert stops == own[: max(1, steps - max(1, round(steps / 3)))]
        assert altered(p, style="skips") == altered(p, style="skips")


def test_what_is_left_out_is_not_always_the_same():
    problems = make("chains", "train", 40, steps=(9, 9))
    assert len({tuple(map(p.trace.split("\n").index, altered(p, style="skips").trace.split("\n"))) for p in problems}) > 20


def test_few_traces_are_among_the_more(problems):
    some = {n: {p.key for p in keep_traces(problems, n) if p.trace} for n in (1, 16, 128)}
    assert [len(keys) for keys in some.values()] == [1, 16, 128]
    assert some[1] < some[16] < some[128]
    kept = keep_traces(problems, 16)
    assert [(p.key, p.answer, p.tests) for p in kept] == [(p.key, p.answer, p.tests) for p in problems]


@given(having=st.integers(1, 8), lacking=st.integers(1, 30), share=st.floats(0.01, 1))
def test_problems_with_a_trace_come_round(having, lacking, share):
    problems = [Problem(key=str(i), prompt="q", answer="1", trace="t" if i < having else None) for i in range(having + lacking)]
    places = come_round(problems, share)
    assert len(places) == len(problems)
    if having >= share * len(problems):
        assert places == problems
        return
    for n in range(1, len(places) + 1):  # evenly: at every length the share is met to within one place
        assert -1 < sum(p.trace is not None for p in places[:n]) - share * n <= 1e-6
    used = [int(p.key) for p in places if p.trace]
    assert used == [i % having for i in range(len(used))]


def test_recipes_reach_them():
    base = {"task": "chains", "task_steps": [4], "task_size": 40, "output_dir": "unused", "use_cpu": True, "bf16": False}
    plain = resolve(base).data.problems()
    noisy = resolve({**base, "trace_noise": 1, "trace_style": "prose", "trace_limit": 5}).data.problems()
    assert [p.answer for p in noisy] == [p.answer for p in plain]
    assert sum(p.trace is not None for p in noisy) == 5
    assert all("gives" in p.trace or "leaves" in p.trace for p in noisy if p.trace)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("trace_noise", 1.5, "share in"),
        ("trace_style", "pros", "'prose'"),
        ("trace_limit", 41, "1 to 40"),
        ("trace_limit", 0, "1 to 40"),
    ],
)
def test_mistakes_are_told(field, value, words):
    base = {"task": "chains", "task_steps": [4], "task_size": 40, "output_dir": "unused", "use_cpu": True, "bf16": False}
    with pytest.raises(ConfigError, match=words):
        resolve({**base, field: value}).data.problems()


@pytest.mark.parametrize(("share", "words"), [(0.0, "above 0"), (1.2, "above 0"), (0.5, "None has one")])
def test_mistaken_shares_are_told(share, words):
    base = {"task": "chains", "task_steps": [4], "task_size": 40, "output_dir": "unused", "use_cpu": True, "bf16": False}
    data = resolve({**base, "trace_share": share}).data
    with pytest.raises(ConfigError, match=words):
        data.in_curriculum([dataclasses.replace(p, trace=None) for p in data.problems()], 0)


def test_only_a_task_has_traces_to_rewrite(tmp_path):
    file = tmp_path / "train.jsonl"
    file.write_text('{"prompt": "q", "answer": "1", "trace": "t"}\n')
    recipe = resolve({"dataset_path": str(file), "trace_noise": 0.3, "output_dir": "unused", "use_cpu": True, "bf16": False})
    with pytest.raises(ConfigError, match="trace_noise"):
        recipe.data.problems()
