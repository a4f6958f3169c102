"""The numbers of a suite from samples made by hand."""

import pytest

from g2rpo.data.problem import Problem
from g2rpo.evaluation.grading import ExactGrader
from g2rpo.evaluation.metrics import Sample, summarise


def problem(number, difficulty=None):
    return Problem(key=str(number), prompt="?" * (number + 1), answer="1", difficulty=difficulty)


def samples(number, *answers, tokens=10, ended=True):
    return [
        Sample(str(number), i, None if a is None else float(a == "1"), "x", a, f"so {a}", tokens, ended)
        for i, a in enumerate(answers)
    ]


def test_metrics_by_hand():
    problems = [problem(0), problem(1)]
    result = summarise(
        problems, [samples(0, "1", "1", "2", "3"), samples(1, "2", "2", "2", "1")], [1, 2, 4], ExactGrader(), [5, 6]
    )
    values = {name: estimate["value"] for name, estimate in result["metrics"].items()}
    assert values["mean@4"] == values["pass@1"] == pytest.approx((2 / 4 + 1 / 4) / 2)
    assert values["pass@2"] == pytest.approx(((1 - 1 / 6) + (1 - 3 / 6)) / 2)
    assert values["pass@4"] == 1.0
    assert values["majority@4"] == 0.5
    assert values["majority@2"] == pytest.approx(((1 + 0.0) / 2 + (0 + 0.5) / 2) / 2)
    assert result["accuracy"] == values["mean@4"]
    assert result["problems"] == 2


def test_what_was_not_scored_counts_as_wrong_and_is_told():
    result = summarise([problem(0)], [samples(0, None, "1")], [1], ExactGrader(), [3])
    assert result["accuracy"] == 0.5
    assert result["unscored"] == 1


def test_breakdowns():
    problems = [problem(i, difficulty=float(i % 2)) for i in range(8)]
    drawn = [samples(i, "1" if i % 2 else "2", tokens=10 + i, ended=i < 6) for i in range(8)]
    result = summarise(problems, drawn, [1], ExactGrader(), list(range(8)))
    assert [(p["range"], p["count"], p["accuracy"]) for p in result["by_difficulty"]] == [("0", 4, 0.0), ("1", 4, 1.0)]
    assert [(p["range"], p["count"]) for p in result["by_prompt_length"]] == [("0-1", 2), ("2-3", 2), ("4-5", 2), ("6-7", 2)]
    assert [p["range"] for p in result["by_completion_length"]] == ["10-11", "12-13", "14-15", "16-17"]
    assert result["truncated"] == 0.25
    assert result["completion_length"] == {"mean": 13.5, "median": 13.5, "max": 17}


def test_many_difficulties_become_quartiles_and_equal_ones_stay_together():
    problems = [problem(i, difficulty=i / 2) for i in range(20)]
    result = summarise(problems, [samples(i, "1") for i in range(20)], [1], ExactGrader(), [7] * 20)
    assert [p["count"] for p in result["by_difficulty"]] == [5, 5, 5, 5]
    assert [(p["range"], p["count"]) for p in result["by_prompt_length"]] == [("7", 20)]


def test_without_tokens_lengths_are_characters():
    result = summarise([problem(0)], [[Sample("0", 0, 1.0, "equal", "1", "abcd")]], [1], ExactGrader())
    assert result["length_unit"] == "characters"
    assert result["completion_length"]["max"] == 4
    assert result["truncated"] is None
