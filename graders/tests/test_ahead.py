"""Grading ahead changes when, not what: each grade once, for the very pair it was asked for, errors included."""

import os
import threading
from itertools import chain

import pytest
from rlvr_graders.ahead import Ahead


class Grader:
    """Grades a word by its length, remembers its batches, and waits where a test wants it to."""

    def __init__(self):
        self.batches, self.go = [], threading.Event()
        self.go.set()

    def __call__(self, items):
        go = self.go
        self.batches.append(list(items))
        assert go.wait(10)
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


def test_what_is_not_asked_for_is_dropped(ahead, grader):
    grader.go.clear()
    ahead.submit("first")
    while not grader.batches:
        pass
    for item in ("old", "older", "a"):
        ahead.submit(item)
    threading.Timer(0.1, grader.go.set).start()
    assert ahead.grades(["a", "bb"]) == [1, 2]
    assert not {"old", "older"} & set(chain(*grader.batches))
    assert ahead.grades(["first"]) == [5]


def test_too_few_grades_are_an_error_and_not_a_wait():
    ahead = Ahead(lambda items: [])
    ahead.submit("a")
    with pytest.raises(ValueError, match="zip"):
        ahead.grades(["a"])


def test_once_closed_it_grades_what_it_is_asked_and_nothing_ahead(ahead, grader):
    grader.go.clear()
    ahead.submit("first")
    while not grader.batches:
        pass
    ahead.submit("a")
    ahead.close()
    ahead.submit("bb")
    grader.go.set()
    assert ahead.grades(["a", "bb"]) == [1, 2]
    assert list(chain(*grader.batches)) == ["first", "a", "bb"]


def test_a_fork_while_grading_begins_afresh(ahead, grader):
    grader.go.clear()
    ahead.submit("a")
    while not grader.batches:
        pass
    grader.go = threading.Event()
    grader.go.set()  # for the child; the thread waits for the old one
    pid = os.fork()
    if pid == 0:
        os._exit(ahead.grades(["bb"])[0])
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 2


def test_an_error_reaches_the_one_who_asks(ahead):
    ahead.submit("bad")
    with pytest.raises(ValueError, match="bad"):
        ahead.grades(["bad"])
    assert ahead.grades(["a"]) == [1]
