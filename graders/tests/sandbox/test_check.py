"""Test programs (`check`): the data set's assertions against a candidate in another process."""

import pytest
from rlvr_graders.sandbox import ExecRequest

TEST = "def check(candidate):\n    assert candidate(1, 2) == 3\n    assert candidate(2, 2) == 4, 'two and two'\n"
ADD = "def f(a, b):\n    return a + b"


def run(pool, code, test=TEST, **settings):
    (result,) = pool.run_many([ExecRequest(code, "check", entry="f", test=test, timeout_s=2.0, **settings)])
    return result


def held(result):
    return [one.held for one in result.asserts]


def test_a_right_candidate_holds_every_assertion(pool):
    result = run(pool, ADD)
    assert (result.status, held(result), result.completed, result.candidate_calls) == ("ok", [True, True], True, 2)


def test_a_failed_assertion_is_recorded_and_the_rest_runs(pool):
    result = run(pool, "def f(a, b): return 3")
    assert held(result) == [True, False]
    assert result.asserts[1].why == "AssertionError: two and two"


def test_an_exception_of_the_candidate_fails_its_assertion(pool):
    result = run(pool, "def f(a, b):\n    if a == 1: raise KeyError(a)\n    return a + b")
    assert held(result) == [False, True]
    assert result.asserts[0].why == "KeyError: 1"


def test_tests_may_expect_an_exception(pool):
    test = "def check(candidate):\n    try:\n        candidate(1, 0)\n        assert False\n    except ZeroDivisionError:\n        pass\n    assert candidate(4, 2) == 2"
    assert held(run(pool, "def f(a, b): return a // b", test)) == [True]
    assert held(run(pool, "def f(a, b): return 2", test)) == [False, True]


def test_helpers_run_beside_the_test_and_setup_beside_the_program(pool):
    test = "assert candidate(double(2), 0) == 14\nassert f(0, 0) == 10"
    result = run(pool, "def f(a, b): return a + TEN", test, helpers="def double(x): return 2 * x", setup="TEN = 10")
    assert held(result) == [True, True]


def test_assertions_that_hold_by_themselves_do_not_count(pool):
    result = run(pool, "def f(a, b): return 0", "def check(candidate):\n    assert True, 'fine'\n    assert candidate(1, 2) == 3")
    assert held(result) == [False]


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("import os\ndef f(a, b): os._exit(0)", "incomplete"),
        ("import os\ndef f(a, b): os.abort()", "crash"),
        ("def f(a, b):\n    while True: pass", "timeout"),
        ("import time\ndef f(a, b): time.sleep(60)", "timeout"),
        ("raise RuntimeError('x')", "error"),
        ('import os\nos.write(3, b\'["a",true,""]\\n\')\ndef f(a, b): return 3', "protocol_error"),
        ("import os\nos.write(6, b'[1,\"v\",3]\\n')\ndef f(a, b): return 0", "protocol_error"),
        ("import os\ndef f(a, b):\n    while True: os.write(6, b'9' * 65536)", "protocol_error"),
    ],
)
def test_a_candidate_that_ends_or_lies(pool, code, status):
    result = run(pool, code)
    assert result.status == status, result
    assert not result.completed


def test_a_test_program_that_does_not_load_is_not_the_programs_fault(pool):
    assert run(pool, ADD, "def check(candidate) assert").status == "infra_error"


def test_a_test_program_that_trips_over_an_answer_ends_with_an_error(pool):
    result = run(pool, "def f(a, b): return None", "def check(candidate):\n    x = candidate(1, 2) + 1\n    assert x == 4")
    assert (result.status, held(result)) == ("error", [])


def test_an_answer_has_no_methods_of_its_own(pool):
    code = "class X(int):\n    def __eq__(self, other): return True\n    __hash__ = int.__hash__\ndef f(a, b): return X(99)"
    assert held(run(pool, code)) == [False, False]
