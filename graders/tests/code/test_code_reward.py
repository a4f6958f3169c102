"""The reward and the command: scores, reasons, counts, and what is not scored."""

import json

import pytest
from rlvr_graders.cli.grade_code import grade_code
from rlvr_graders.code import CodeReward
from rlvr_graders.code.grade import grade_programs
from rlvr_graders.code.oracles import ORACLES
from rlvr_graders.code.tests import parse_tests
from rlvr_graders.errors import ConfigError, DataError, SandboxError
from rlvr_graders.sandbox import CallResult, Capabilities, ExecResult

TESTS = {"kind": "function", "entry": "add", "cases": [{"args": [a, 2], "expected": a + 2} for a in range(4)]}
STDIO = {"kind": "stdio", "cases": [{"stdin": "1 2\n", "stdout": "3\n"}, {"stdin": "2 2\n", "stdout": "4\n"}]}
CHECK = {
    "kind": "check",
    "entry": "add",
    "prompt": "def add(a, b):\n",
    "test": "def check(candidate):\n    assert candidate(1, 2) == 3\n    assert candidate(2, 2) == 4",
}
RIGHT = "```python\ndef add(a, b):\n    return a + b\n```"
HALF = "```python\ndef add(a, b):\n    return a + b if a < 2 else 0\n```"


@pytest.fixture(scope="module")
def reward(pool):
    return CodeReward(sandbox=pool, timeout_s=2.0)


def test_scores_are_the_fraction_of_tests_that_hold(reward):
    assert reward([RIGHT, HALF, "no idea"], [TESTS] * 3) == [1.0, 0.5, 0.0]
    assert reward([[{"role": "assistant", "content": RIGHT}]], [json.dumps(TESTS)], prompts=["x"]) == [1.0]


def test_all_or_nothing(pool):
    assert CodeReward("all", sandbox=pool)([RIGHT, HALF], [TESTS] * 2) == [1.0, 0.0]
    with pytest.raises(ConfigError):
        CodeReward("some", sandbox=pool)


def test_scripts_and_test_programs(reward):
    script = "a, b = map(int, input().split())\nprint({})"
    assert reward([script.format("a + b"), script.format("3"), script.format("a - b")], [STDIO] * 3) == [1.0, 0.5, 0.0]
    assert reward(["    return a + b", "    return 3", RIGHT], [CHECK] * 3) == [1.0, 0.5, 1.0]


def test_partial_scores_when_the_program_ends_early(reward):
    endless = "def add(a, b):\n    while a > 1: pass\n    return a + b"
    leaves = "import os\ndef add(a, b):\n    if a == 3: os._exit(0)\n    return a + b"
    forges = "import os\ndef add(a, b):\n    os.write(3, b'x\\n')\n    return a + b"
    grades = reward.grade([endless, leaves, forges], [TESTS] * 3)
    assert [(grade.verdict, grade.score) for grade in grades] == [("timeout", 0.5), ("incomplete", 0.75), ("protocol_error", 0.0)]


def test_verdicts_and_signals_are_counted_and_logged(pool):
    reward, logged = CodeReward(sandbox=pool), {}
    cheat = "import os\ndef add(a, b):\n    os._exit(0)"
    reward([RIGHT, cheat], [TESTS] * 2, log_metric=logged.__setitem__)
    assert (reward.counts["pass"], reward.counts["incomplete"], reward.counts["signal/exit"]) == (1, 1, 1)
    assert logged["code/incomplete"] == logged["code/signal/exit"] == 0.5
    assert logged["code/infra_error"] == 0.0


def test_a_row_without_tests_is_an_error(reward):
    with pytest.raises(DataError):
        reward([RIGHT], [{"kind": "function", "entry": "add", "cases": []}])


class Canned:
    """A sandbox that answers with one result, whatever is asked."""

    capabilities = Capabilities("canned", (), True, 1)

    def __init__(self, result):
        self.result = result

    def run_many(self, requests):
        return [self.result for _ in requests]


def test_a_broken_sandbox_is_not_scored_and_stops_the_run_when_it_is_frequent():
    reward = CodeReward(sandbox=Canned(ExecResult("infra_error", "the disk is full")))
    assert reward([RIGHT] * 49, [TESTS] * 49) == [None] * 49
    with pytest.raises(SandboxError, match="the disk is full"):
        reward([RIGHT], [TESTS])


@pytest.mark.parametrize("tests", [TESTS, STDIO, CHECK], ids=["function", "stdio", "check"])
@pytest.mark.parametrize("exit_code", [0, 1])
def test_a_status_alone_never_passes(tests, exit_code):
    (grade,) = grade_programs(["pass"], [parse_tests(tests)], Canned(ExecResult("ok", exit_code=exit_code, completed=True)))
    assert grade.verdict != "pass"
    assert grade.score == 0.0


def test_results_must_be_as_many_as_the_tests():
    right = [CallResult(raw=str(n + 2).encode()) for n in range(5)]
    for count, verdict in ((3, "incomplete"), (4, "pass")):
        (grade,) = grade_programs(["x"], [parse_tests(TESTS)], Canned(ExecResult("ok", results=tuple(right[:count]))))
        assert grade.verdict == verdict


def test_programs_and_tests_must_be_as_many():
    with pytest.raises(DataError):
        grade_programs(["x"], [], Canned(ExecResult("ok")))


def test_the_command_writes_a_verdict_per_job(pool, tmp_path):
    code = "def add(a, b):\n    return a + b"
    jobs = [
        {"id": "a", "code": code, "tests": TESTS},
        {"id": 2, "code": "print(3)", "tests": STDIO},
        {"id": None, "code": "while True: pass", "tests": TESTS, "timeout_s": 0.1},
        {"id": "none", "code": code, "tests": {"kind": "function", "entry": "add", "cases": []}},
        {"id": "no code", "tests": TESTS},
    ]
    source, target = tmp_path / "jobs.jsonl", tmp_path / "verdicts.jsonl"
    source.write_text("\n".join(map(json.dumps, jobs)) + "\n\n")
    counts = grade_code(source, target, sandbox=pool)
    lines = [json.loads(line) for line in target.read_text().splitlines()]
    assert [(line["id"], line["verdict"], line["score"]) for line in lines] == [
        ("a", "pass", 1.0),
        (2, "wrong", 0.5),
        (None, "timeout", 0.0),
        ("none", "error", None),
        ("no code", "error", None),
    ]
    assert set(lines[0]) == {"id", "verdict", "score", "reason", "wall_s"}
    assert "at least one test" in lines[3]["reason"]
    assert counts == {"pass": 1, "wrong": 1, "timeout": 1, "error": 2}


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        (RIGHT, "pass"),
        ("\n" + RIGHT, "pass"),
        ("<think>\nmaybe\n</think>\n" + RIGHT, "pass"),
        ("<answer>\ndef add(a, b):\n    return a + b\n</answer>", "pass"),
        ('def add(a, b):\n    """\n```python\nadd = None\n```\n    """\n    return a + b', "pass"),
        ("<think>\nmaybe " + RIGHT, "no_code"),
    ],
    ids=["fence", "space", "thought", "tag", "fence-in-a-docstring", "no-end"],
)
def test_the_command_takes_programs_and_answers(pool, tmp_path, code, verdict):
    source, target = tmp_path / "jobs.jsonl", tmp_path / "verdicts.jsonl"
    source.write_text(json.dumps({"id": 1, "code": code, "tests": TESTS}))
    assert grade_code(source, target, sandbox=pool) == {verdict: 1}


@pytest.mark.parametrize("name", ["timeout_s", "memory_mb"])
@pytest.mark.parametrize("value", ["1e999", "-1e999", "NaN", "0", "-1", "true", "null", '"1"', "[1]", "1" + "0" * 400])
def test_a_limit_that_is_none_is_an_error_of_its_job_alone(pool, tmp_path, name, value):
    right = {"id": 1, "code": "def add(a, b):\n    return a + b", "tests": TESTS}
    source, target = tmp_path / "jobs.jsonl", tmp_path / "verdicts.jsonl"
    odd = json.dumps({**right, name: "VALUE"}).replace('"VALUE"', value)
    source.write_text("\n".join([odd, json.dumps({**right, "timeout_s": 1e6})]))
    grade_code(source, target, sandbox=pool)
    lines = [json.loads(line) for line in target.read_text().splitlines()]
    assert [(line["verdict"], line["score"]) for line in lines] == [("error", None), ("pass", 1.0)]
    assert name in lines[0]["reason"]


@pytest.mark.parametrize("line", ["{", "[]", '{"code": "x"}', "3"])
def test_a_line_that_is_no_job_is_named(pool, tmp_path, line):
    source = tmp_path / "jobs.jsonl"
    source.write_text(json.dumps({"id": 1, "code": "x", "tests": TESTS}) + "\n" + line + "\n")
    with pytest.raises(DataError, match="Line 2"):
        grade_code(source, tmp_path / "out.jsonl", sandbox=pool)


def test_the_command_speaks_through_standard_streams(pool, tmp_path, capsys):
    source = tmp_path / "jobs.jsonl"
    source.write_text(json.dumps({"id": 1, "code": "def add(a, b): return a + b", "tests": TESTS}))
    grade_code(source, "-", sandbox=pool)
    assert json.loads(capsys.readouterr().out)["verdict"] == "pass"
    with pytest.raises(DataError):
        grade_code(tmp_path / "absent", "-", sandbox=pool)


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("class X:\n    def __eq__(s, o): return True\ndef add(a, b): return X()", "assert (add(1, 2) == 3) == True"),
        ("class X:\n    def __ne__(s, o): return False\ndef add(a, b): return X()", "assert (add(1, 2) != 3) == False"),
        ("def isinstance(*a): return True\ndef add(a, b): return 0", "assert isinstance(add(1, 2), list) == True"),
        (
            "import sys\nclass math: isclose = staticmethod(lambda *a, **k: True)\nsys.modules['math'] = math\ndef add(a, b): return 0",
            "assert math.isclose(add(1, 2), 3) == True",
        ),
    ],
    ids=["equal", "unequal", "shadowed", "poisoned-module"],
)
def test_a_program_cannot_judge_itself(pool, code, line):
    tests = parse_tests({"kind": "assert", "setup": "import math", "asserts": [line]})
    wrong, right = grade_programs(
        [code, "def add(a, b): return [a + b] if 'list' in LINE else a + b\nLINE = " + repr(line)], [tests] * 2, pool
    )
    assert (wrong.score, right.verdict) == (0.0, "pass")


@pytest.mark.parametrize("answer", ["10 ** 400", "-(10 ** 400)", "float('inf')", "1e200", "'x'", "[1]"])
@pytest.mark.parametrize("compare", sorted(ORACLES))
def test_an_answer_that_cannot_be_compared_is_wrong_and_harms_no_other(pool, answer, compare):
    case = {"args": [[1, 2]], "expected": -0.5, "compare": compare}
    tests = parse_tests({"kind": "function", "entry": "f", "cases": [case]})
    odd, right = grade_programs([f"def f(xs): return {answer}", "def f(xs): return -0.5"], [tests] * 2, pool)
    assert odd.verdict == ("pass" if compare == "not_none" else "wrong")
    assert right.verdict == ("wrong" if compare == "set" else "pass")


def test_an_oracle_that_raises_means_wrong(monkeypatch):
    monkeypatch.setitem(ORACLES, "exact", lambda *given: 1 / 0)
    (grade,) = grade_programs(["x"], [parse_tests(TESTS)], Canned(ExecResult("ok", results=(CallResult(raw=b"9"),) * 4)))
    assert (grade.verdict, grade.reason) == ("wrong", "9 cannot be compared: ZeroDivisionError")


def test_a_very_large_result_is_compared_by_its_digest(reward):
    case = {"args": [2_000_000], "expected": ["x" * 2_000_000]}
    tests = parse_tests({"kind": "function", "entry": "f", "cases": [case]})
    programs = ["def f(n): return ['x' * n]", "def f(n): return ['y' * n]", "def f(n): return ['x']"]
    grades = grade_programs(programs, [tests] * 3, reward.sandbox)
    assert [grade.verdict for grade in grades] == ["pass", "wrong", "wrong"]


EVALPLUS = {
    "kind": "evalplus",
    "task_id": "HumanEval/900",
    "entry_point": "twice",
    "prompt": "def twice(x):\n",
    "canonical_solution": "    return [x, x]\n",
    "base_input": [[1]],
    "plus_input": [[[2]], [None]],
    "atol": 0,
}


def test_inputs_without_expected_values_get_them_from_the_reference_once(reward, monkeypatch):
    from rlvr_graders.code import evalplus

    asked = []
    real = evalplus.evalplus_tests
    monkeypatch.setattr(evalplus, "evalplus_tests", lambda rows, box: asked.extend(rows) or real(rows, box))
    answers = ["    return [x, x]", "def twice(x):\n    return [1, 1]"]
    assert reward(answers, [EVALPLUS] * 2) == [1.0, pytest.approx(1 / 3)]
    assert reward(answers[:1], [json.dumps(EVALPLUS, sort_keys=True)]) == [1.0]
    assert len(asked) == 1


def test_a_reference_that_fails_leaves_its_row_unscored(reward):
    broken = {**EVALPLUS, "task_id": "HumanEval/901", "canonical_solution": "    return x / 0\n", "base_input": [[1]]}
    [grade] = reward.grade(["    return x"], [broken])
    assert grade.score is None
    assert "The reference solution of HumanEval/901 is 'error: ZeroDivisionError" in grade.reason
    with pytest.raises(DataError, match="The inputs"):
        reward.check_row({"tests": {**EVALPLUS, "base_input": []}})
