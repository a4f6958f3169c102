"""Votes counted by hand; spellings of one answer vote together."""

import pytest

from g2rpo.evaluation.grading import MathGrader
from g2rpo.evaluation.statistics import majority_score

SAME = str.__eq__


@pytest.mark.parametrize(
    ("answers", "scores", "k", "wanted"),
    [
        ("aab", [1, 1, 0], 3, 1.0),
        ("abb", [1, 0, 0], 3, 0.0),
        ("ab", [1, 0], 2, 0.5),  # a tie: right half of the time
        ("abc", [0, 1, 0], 3, pytest.approx(1 / 3)),
        ("aabb", [1, 1, 0, 0], 2, 0.5),  # two blocks: right, wrong
        ("aabbb", [1, 1, 0, 0, 0], 2, 0.5),  # the fifth sample fills no block
        ([None, None, "a"], [0, 0, 1], 3, 1.0),  # who says nothing does not vote
        ([None, None], [0, 0], 2, 0.0),
        ("ab", [1, 0], 1, 0.5),
    ],
)
def test_by_hand(answers, scores, k, wanted):
    assert majority_score(list(answers), scores, k, SAME) == wanted


def test_one_answer_in_several_spellings_is_one_candidate():
    answers = ["1/2", "0.5", "\\frac{1}{2}", "3", "3"]
    assert majority_score(answers, [1, 1, 1, 0, 0], 5, MathGrader().equal) == 1.0


def test_an_answer_that_cannot_be_read_votes_by_its_text():
    answers = ["}}{", "}}{", "4"]
    assert majority_score(answers, [0, 0, 1], 3, MathGrader().equal) == 0.0
