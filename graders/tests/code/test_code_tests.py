"""Tests as data: what is accepted, what is refused when it is loaded, and that nothing expected is sent."""

import json

import pytest
from rlvr_graders.code.tests import CheckTests, FunctionTests, StdioTests, parse_tests, plain, tagged
from rlvr_graders.errors import DataError
from rlvr_graders.sandbox.protocol import payloads

FUNCTION = {"kind": "function", "entry": "add", "cases": [{"args": [1, 2], "expected": "a secret value"}]}
STDIO = {"kind": "stdio", "cases": [{"stdin": "1 2\n", "stdout": "a secret value\n"}]}
CHECK = {"kind": "check", "entry": "f", "test": "def check(candidate):\n    assert candidate(1) == 'a secret value'"}
ASSERT = {"kind": "assert", "asserts": ["assert f(1) == 'a secret value'", "assert set(f(2)) == {1}"]}


def test_the_four_forms():
    assert isinstance(parse_tests(FUNCTION), FunctionTests)
    assert isinstance(parse_tests(json.dumps(STDIO)), StdioTests)
    assert isinstance(parse_tests(CHECK), CheckTests)
    assert isinstance(parse_tests(ASSERT), FunctionTests)


@pytest.mark.parametrize("tests", [FUNCTION, STDIO, ASSERT], ids=["function", "stdio", "assert"])
def test_no_expected_value_is_sent(tests):
    requests = parse_tests(tests).requests("pass")
    assert requests
    for request in requests:
        assert b"secret" not in b"".join(payloads(request)) + request.stdin


def test_a_test_program_is_sent_to_its_own_process_only():
    (request,) = parse_tests(CHECK).requests("pass")
    program, test = payloads(request)
    assert b"secret" not in program
    assert b"secret" in test


@pytest.mark.parametrize(
    "tests",
    [
        None,
        [],
        "not json",
        {},
        {"kind": "pytest"},
        {"kind": "function", "entry": "f", "cases": []},
        {"kind": "function", "entry": "f"},
        {"kind": "function", "cases": [{"args": [1], "expected": 1}]},
        {"kind": "function", "entry": "f", "cases": [{"args": [1]}]},
        {"kind": "function", "entry": "f", "cases": [{"args": 1, "expected": 1}]},
        {"kind": "function", "entry": "f", "cases": [{"args": [1], "expected": 1, "compare": "any"}]},
        {"kind": "function", "entry": "f", "cases": [{"args": [{"$object": 1}], "expected": 1}]},
        {"kind": "function", "cases": [{"call": "f(1) == 3", "expected": True}]},
        {"kind": "function", "cases": [{"call": "isinstance(f(1), list)", "expected": True}]},
        {"kind": "function", "cases": [{"call": "int(f(1) == 3)", "expected": 1}]},
        {"kind": "function", "cases": [{"call": "f(1)", "expected": 1, "compare": "polynomial_root"}]},
        {"kind": "function", "entry": "f", "cases": [{"args": [1], "expected": json.loads("[" * 200 + "]" * 200)}]},
        {"kind": "assert", "asserts": ["assert f(1) == ..."]},
        {"kind": "stdio", "cases": []},
        {"kind": "stdio", "cases": [{"stdin": "1"}]},
        {"kind": "stdio", "cases": [{"stdin": "1", "stdout": 1}]},
        {"kind": "assert", "asserts": []},
        {"kind": "assert", "asserts": ["f(1)"]},
        {"kind": "assert", "asserts": ["assert f(1) =="]},
        {"kind": "assert", "asserts": ["assert 1 < 2"]},
        {"kind": "check", "entry": "f", "test": "def check(candidate): pass"},
        {"kind": "check", "entry": "f", "test": "def check(candidate) assert"},
        {"kind": "check", "test": "assert candidate(1)"},
    ],
)
def test_what_tests_nothing_is_an_error_at_load_time(tests):
    with pytest.raises(DataError):
        parse_tests(tests)


def test_assertions_become_calls_and_expected_values():
    tests = parse_tests({"kind": "assert", "asserts": ["assert f((1, 2), k=3) == {'a': (1,)}", "assert len(f(1)) == 2"]})
    assert [(case.call.expr, case.expected) for case in tests.cases] == [("f((1, 2), k=3)", {"a": (1,)}), ("len(f(1))", 2)]


@pytest.mark.parametrize(
    "line", ["assert f(1)", "assert not f(1)", "assert f(1) == g(2)", "assert 0 < f(1) < 3", "assert f(1) is None"]
)
def test_other_assertions_become_a_test_program(line):
    tests = parse_tests({"kind": "assert", "asserts": ["assert f(0) == 1", line]})
    assert isinstance(tests, CheckTests)
    assert (tests.entry, tests.asserts) == ("f", 2)


@pytest.mark.parametrize(
    "line",
    [
        "assert (f(1) == 3) == True",
        "assert (f(1) != 3) == False",
        "assert [f(1) == 3, f(2) == 4] == [True, True]",
        "assert isinstance(f(1), list) == True",
        "assert callable(f(1)) == True",
        "assert math.isclose(f(1), 3) == True",
        "assert near(f(1), 3) == True",
        "assert f(1).__eq__(3) == True",
        "assert (lambda x: x in (3,))(f(1)) == True",
        "assert all([f(1) == 3]) == True",
        "assert int(f(1) == 3) == 1",
        "assert (f(1) - 3) == 0",
        "assert {3: 'right'}[f(1)] == 'right'",
        "assert {3: 'right'}.get(f(1)) == 'right'",
        "assert max(f(1), 3) == 3",
        "assert isclose(f(1), 3) == True",
    ],
)
def test_what_judges_a_result_runs_apart_from_the_program(line):
    setup = "import math\ndef near(a, b): return abs(a - b) < 1"
    tests = parse_tests({"kind": "assert", "setup": setup, "asserts": ["assert f(0) == 1", line]})
    assert isinstance(tests, CheckTests)
    assert tests.entry == "f"


@pytest.mark.parametrize(
    "left",
    [
        "f(1)",
        "f(x=[1], *(2, 3))",
        "list(f(1))",
        "sorted(set(f(1)))",
        "f(1)[0][1:]",
        "Solution().f(1)",
        "Pair(1, 2).right",
        "f([Pair(1, 2)])",
        "f(set([1]), math.pi)",
        "f(root)",
        "stack.pop()",
        "stack.items",
        "f(made([1]))",
        "f(int)",
    ],
)
def test_what_only_asks_is_asked_beside_the_program(left):
    setup = "import math\ndef made(x): return x\nroot = Node(1)\nstack = Stack()"
    for expected in ("3", "True") if "(f(" not in left and "[0]" not in left else ("3",):
        line = f"assert {left} == {expected}"
        assert isinstance(parse_tests({"kind": "assert", "setup": setup, "asserts": [line]}), FunctionTests), line


def test_a_program_may_bear_the_name_of_a_built_in_function():
    assert isinstance(parse_tests({"kind": "assert", "asserts": ["assert pow(2, 3) == 8"]}), FunctionTests)
    tests = parse_tests({"kind": "assert", "entry": "pow", "asserts": ["assert (pow(2, 3) == 8) == True"]})
    assert (type(tests), tests.entry) == (CheckTests, "pow")


@pytest.mark.parametrize(
    "value", [(1, [2]), {1, 2}, frozenset({1}), {1: (2,)}, {"a": {"$tuple": 1}}, b"x", 1 + 2j, None, [True, 1.5, "x"], {"": 1}]
)
def test_values_with_tags_are_the_values_again(value):
    assert plain(json.loads(json.dumps(tagged(value)))) == value
    assert type(plain(tagged(value))) is type(value)
