"""The task `programs`: seeded, disjoint, true in every line, and silent about the program."""

import random
import re

import pytest
from rlvr_graders.code.extract import extract_code
from rlvr_graders.code.tests import parse_tests

from g2rpo.data.completion import STYLES, full_completion
from g2rpo.data.load import to_rows
from g2rpo.data.problem import Problem
from g2rpo.data.tasks import make, programs, split_of
from g2rpo.errors import DataError
from g2rpo.method.leak_guard import leak_start


@pytest.fixture(scope="module")
def problems():
    return make("programs", "train", 200, steps=(1, 5))


def run(code: str, *arguments):
    space: dict = {}
    exec(code, space)  # our own generator's code, not a model's
    return space["f"](*arguments)


def test_the_same_seed_gives_the_same_problems_and_another_one_others(problems):
    assert make("programs", "train", 200, steps=(1, 5)) == problems
    assert make("programs", "train", 20, steps=(1, 5)) == problems[:20]
    assert make("programs", "train", 20, steps=(1, 5), seed=1) != problems[:20]


def test_no_problem_stands_twice_and_the_splits_share_none(problems):
    texts = {p.prompt[0]["content"] for p in problems}
    assert len(texts) == len({p.key for p in problems}) == 200
    assert all(split_of(p) == "train" for p in problems)
    for seed in range(3):
        assert not texts & {p.prompt[0]["content"] for p in make("programs", "test", 60, steps=(1, 5), seed=seed)}


def test_both_computations_of_every_operation_agree():
    draw = random.Random(0)
    for takes, kinds in programs.operations().items():
        values = [*programs.EDGES[takes], *(programs._input(draw, takes, 6) for _ in range(20))]
        for op in (op for same in kinds.values() for op in same):
            for value in values:
                assert eval(op.code, {"x": value}) == op.run(value), (op.words, value)
                assert type(op.run(value)).__name__ == op.gives


def test_every_solution_gives_the_expected_values(problems):
    for problem in problems:
        assert len(parse_tests(problem.tests).cases) == programs.CASES
        for case in problem.tests["cases"]:
            assert run(problem.tests["solution"], *case["args"]) == case["expected"]


def test_every_worked_step_is_true_and_follows_from_the_last(problems):
    for problem in problems:
        lines, previous = problem.trace.split("\n"), None
        body = problem.tests["solution"].split("\n    ")[1:]
        assert len(lines) == len(body) == problem.difficulty
        for line, code in zip(lines, body, strict=True):
            shown, before, after = re.fullmatch(r"(?:x=(.*): )?(\[.*\]|'.*'|-?\d+) -> (.*)", line).groups()
            expression = code.removeprefix("return ").removeprefix("x=")
            assert shown == (expression if line != lines[-1] else None)
            assert eval(expression, {"x": eval(before)}) == eval(after)
            assert previous in (None, before)
            previous = after


def test_the_example_is_no_test(problems):
    for problem in problems:
        example = re.match(r"(?:x=.*?: )?(\[.*?\]|'.*?'|-?\d+) -> ", problem.trace)[1]
        assert eval(example) not in [case["args"][0] for case in problem.tests["cases"]]


def test_the_trace_stops_before_the_program(problems):
    for problem in problems:
        last = problem.tests["solution"].rpartition("return ")[2]
        assert "return" not in problem.trace
        assert "def " not in problem.trace
        assert all(last not in line.partition(": ")[0] for line in problem.trace.split("\n"))
        for guard in ("strict", "off"):
            assert leak_start(problem.trace, problem.answer, guard) == len(problem.trace)


def test_no_operation_can_be_left_out_and_no_constant_passes_more_than_half(problems):
    for problem in problems:
        expected = [case["expected"] for case in problem.tests["cases"]]
        assert max(expected.count(value) for value in expected) <= len(expected) / 2
        lines = problem.tests["solution"].split("\n")
        for left_out in range(1, len(lines) - 1):
            mutant = "\n".join(lines[:left_out] + lines[left_out + 1 :])
            try:
                got = [run(mutant, *case["args"]) for case in problem.tests["cases"]]
            except (TypeError, AttributeError, ValueError):
                continue  # types no longer fit
            assert got != expected


@pytest.mark.parametrize("name", sorted(STYLES))
def test_the_program_is_found_in_a_completion_of_every_style(name, problems):
    for problem in problems[:20]:
        text = full_completion(problem, STYLES[name])
        assert extract_code(text).strip() == problem.tests["solution"]
        assert text.startswith(STYLES[name].before_trace + problem.trace)


def test_nothing_to_write_after_the_trace_is_an_error():
    with pytest.raises(DataError, match="answer of k is None"):
        full_completion(Problem("k", "q", trace="t", tests={"kind": "function"}), STYLES["think_answer"])


def test_rows_carry_the_tests_as_json(problems):
    row = to_rows(problems[:2])[1]
    assert "answer" not in row  # a column of nothing is left out
    assert parse_tests(row["tests"]) == parse_tests(problems[1].tests)
