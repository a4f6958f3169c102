"""Whatever bytes a program leaves behind, there is a verdict, and only right answers pass."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rlvr_graders.code import grade_programs, parse_tests
from rlvr_graders.sandbox.inside import wire
from rlvr_graders.sandbox.inside.zygote import BY_DEADLINE, BY_ITSELF, BY_THREADS
from rlvr_graders.sandbox.protocol import read_result
from rlvr_graders.sandbox.worker import Report

FUNCTION = parse_tests(
    {"kind": "function", "entry": "f", "cases": [{"args": [1], "expected": [1, 2.5]}, {"args": [2], "expected": {"a": "x"}}]}
)
CHECK = parse_tests({"kind": "check", "entry": "f", "test": "def check(candidate):\n    assert candidate(1) == 1"})
STDIO = parse_tests({"kind": "stdio", "cases": [{"stdin": "", "stdout": "7\n"}]})
HONEST = [
    b'[0,"v",[1,2.5]]\n',
    b'[1,"v",{"d":[["a","x"]]}]\n',
    b'[0,"h",3,"ab"]\n',
    b'[1,"e","ValueError","x"]\n',
    b'["load","E","x"]\n',
]
CHECKED = [b'["a",true,""]\n', b'["done",1]\n', b'["stop","raised","E","x"]\n', b'["stop","protocol","",""]\n']
VERDICTS = {"pass", "wrong", "error", "crash", "timeout", "incomplete", "output_limit", "protocol_error", "infra_error"}


class Left:
    """The files of a cell, with fixed contents."""

    def __init__(self, result: bytes, stdout: bytes = b"", stderr: bytes = b"") -> None:
        self.result, self.stdout, self.stderr = result, stdout, stderr

    def read(self, content: bytes, limit: int) -> bytes:
        return content[: limit + 1]


def held_bytes(result) -> int:
    return len(result.stdout) + len(result.stderr) + sum(len(call.raw) for call in result.results)


class Replay:
    """A sandbox in which nothing runs: every request left these bytes behind."""

    def __init__(self, cells: list[Left], killed: int, status: int) -> None:
        self.cells, self.report = cells, Report(1, killed, len(cells), 0.1, 0.1, 10.0, (status, 0))

    def run_many(self, requests):
        return [read_result(request, self.report, self.cells, 5.0) for request in requests]


def mutated(honest: list[bytes]):
    """Honest lines in any order and number, with single bytes changed, or bytes of no form at all."""
    lines = st.lists(st.sampled_from(honest), max_size=4).map(b"".join)

    def change(line: bytes, at: int, byte: int) -> bytes:
        at %= max(1, len(line))
        return line[:at] + bytes([byte]) + line[at + 1 :]

    return st.one_of(lines, st.builds(change, lines, st.integers(0, 200), st.integers(0, 255)), st.binary(max_size=200))


endings = {"killed": st.sampled_from([BY_ITSELF, BY_DEADLINE, BY_THREADS]), "status": st.sampled_from([0, 9, 11, 256, 24])}


def verdict(tests, cells, killed, status):
    (grade,) = grade_programs(["x"], [tests], Replay(cells, killed, status))
    assert grade.verdict in VERDICTS
    assert (grade.score is None) == (grade.verdict == "infra_error")
    assert grade.score is None or 0 <= grade.score <= 1
    assert (grade.score == 1) == (grade.verdict == "pass")
    return grade.verdict


@given(sent=mutated(HONEST), stderr=st.binary(max_size=50), **endings)
@settings(max_examples=300, deadline=None)
def test_calls(sent, stderr, killed, status):
    if verdict(FUNCTION, [Left(sent, stderr=stderr)], killed, status) == "pass":
        values = [json.loads(line) for line in sent.split(b"\n")[:-1]]
        assert [wire.decode(value[2]) for value in values] == [[1, 2.5], {"a": "x"}]
        assert killed == 0


@given(sent=st.one_of(st.just(b""), mutated(HONEST)), told=mutated(CHECKED), **endings)
@settings(max_examples=200, deadline=None)
def test_checks(sent, told, killed, status):
    """The second file is written by our own checker, but a bug there must not end a run either."""
    if verdict(CHECK, [Left(sent), Left(told)], killed, status) == "pass":
        assert b'["a",true' in told
        assert b'["done",1]' in told


@given(
    stdout=st.one_of(st.binary(max_size=100), st.sampled_from([b"7", b"7\n\n", b"7\r\n", b"7 \xff", b"\xef\xbb\xbf7"])), **endings
)
@settings(max_examples=200, deadline=None)
def test_scripts(stdout, killed, status):
    if verdict(STDIO, [Left(b"", stdout)], killed, status) == "pass":
        assert stdout.split() == [b"7"]
        assert (killed, status) == (0, 0)


FLOODS = {
    "a line without end": b"x" * 8_000_000,
    "line ends": b"\n" * 8_000_000,
    "short messages": b"[1]\n" * 2_000_000,
    "a wide value": b'[0,"v",[' + b"[]," * 2_600_000 + b"1]]\n",
    "a wide error": b'[0,"e","E",[' + b"[]," * 2_600_000 + b"1]]\n",
    "a wide load error": b'["load","E",[' + b"[]," * 2_600_000 + b"1]]\n",
    "held assertions": b'["a",true,""]\n' * 500_000,
    "failed assertions": b'["a",false,"x"]\n' * 500_000,
}


@pytest.mark.parametrize("flood", FLOODS)
@pytest.mark.parametrize("tests", [FUNCTION, CHECK, STDIO], ids=["function", "check", "stdio"])
def test_a_flood_is_neither_kept_nor_taken_apart(tests, flood, monkeypatch):
    """However a program fills its output files, little of it is kept, and what is parsed is short."""
    real, parsed = wire.parse, []
    monkeypatch.setattr(wire, "parse", lambda line: parsed.append(len(line)) or real(line))
    cells = [Left(FLOODS[flood], FLOODS[flood], FLOODS[flood]), Left(FLOODS[flood])]
    for status in (0, 256):
        replay = Replay(cells if tests is CHECK else cells[:1], BY_ITSELF, status)
        assert held_bytes(*replay.run_many(tests.requests("x"))) < 20_000
        (grade,) = grade_programs(["x"], [tests], replay)
        assert grade.verdict != "pass"
    assert sum(parsed) < 20_000


def test_what_a_checker_tells_is_read_whatever_its_length():
    told = b'["a",true,""]\n["a",false,"x"]\n' * 1000 + b'["done",9]\n'
    (result,) = Replay([Left(b""), Left(told)], BY_ITSELF, 0).run_many(CHECK.requests("x"))
    assert [one.held for one in result.asserts] == [True, False] * 1000
    assert (result.status, result.candidate_calls, {one.why for one in result.asserts}) == ("ok", 9, {"", "x"})


def test_an_output_is_kept_as_far_as_it_could_be_the_expected_one():
    (request,) = STDIO.requests("x")
    spaces, more = b"7" + b" " * (request.keep_bytes - 1), b"7" + b" " * request.keep_bytes
    assert verdict(STDIO, [Left(b"", spaces)], BY_ITSELF, 0) == "pass"
    assert verdict(STDIO, [Left(b"", more)], BY_ITSELF, 0) == "wrong"
    assert verdict(STDIO, [Left(b"", more + b"8")], BY_ITSELF, 0) == "wrong"
