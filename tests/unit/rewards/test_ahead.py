"""Grading ahead changes when, not what: each grade once, for the very pair it was asked for, errors included."""

import threading
from itertools import chain

import pytest

from g2rpo.rewards.ahead import Ahead


class Grader:
    """Grades a word by its length, remembers its batches, and waits where a test wants it to."""

    def __init__(self):
        self.batches, self.go = [], threading.Event()
        self.go.set()

    def __call__(self, items):
        self.batches.append(list(items))
        assert self.go.wait(10)
        if "bad" in items:
            raise ValueError("bad")
        return [len(item) for item in items]


@pytest.fixture
def grader():
    return Grader()


@pytest.fixture
def ahead(grader):
    made = Ahead(grader)
    yield made
    grader.go.set()
    made.close()


def test_what_was_submitted_is_not_graded_again(ahead, grader):
    for item in ("a", "bb"):
        ahead.submit(item)
    assert ahead.grades(["ccc", "bb", "a"]) == [3, 2, 1]
    assert sorted(chain(*grader.batches)) == ["a", "bb", "ccc"]


def test_equal_items_are_graded_as_often_as_they_come(ahead, grader):
    for _ in range(2):
        ahead.submit("a")
    assert ahead.grades(["a", "a", "a"]) == [1, 1, 1]
    assert list(chain(*grader.batches)) == ["a"] * 3


def test_items_that_come_while_others_are_graded_form_one_batch(ahead, grader):
    grader.go.clear()
    ahead.submit("a")
    while not grader.batches:
        pass
    for item in ("bb", "ccc"):
        ahead.submit(item)
    grader.go.set()
    assert ahead.grades(["a", "bb", "ccc"]) == [1, 2, 3]
    assert grader.batches == [["a"], ["bb", "ccc"]]


def test_what_is_never_asked_for_is_forgotten(ahead, grader):
    ahead.submit("a")
    assert ahead.grades(["bb"]) == [2]
    assert ahead.grades(["a"]) == [1]
    assert list(chain(*grader.batches)).count("a") == 2


def test_an_error_reaches_the_one_who_asks(ahead):
    ahead.submit("bad")
    with pytest.raises(ValueError, match="bad"):
        ahead.grades(["bad"])
    assert ahead.grades(["a"]) == [1]
