"""From programs and tests to verdicts. The comparison is made here, in the trainer's process, on decoded plain data."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rlvr_graders.code.equality import brief, same_text
from rlvr_graders.code.evalplus import resolve
from rlvr_graders.code.oracles import ORACLES
from rlvr_graders.code.signals import hack_signals
from rlvr_graders.code.tests import CheckTests, Digest, FunctionTests, RunnableTests, StdioTests, Tests, room
from rlvr_graders.errors import DataError
from rlvr_graders.grades import Grade
from rlvr_graders.sandbox import CallResult, ExecRequest, ExecResult, Sandbox
from rlvr_graders.sandbox.inside.wire import WireError, digest, encode, to_bytes

CodeStatus = Literal[
    "pass", "wrong", "error", "crash", "timeout", "incomplete", "output_limit", "protocol_error", "infra_error", "no_code"
]
Scoring = Literal["fraction", "all"]
_SEVERITY = ("infra_error", "protocol_error", "output_limit", "timeout", "crash", "incomplete", "error", "wrong")


@dataclass(frozen=True)
class CodeGrade(Grade):
    """A verdict with its score and reason, and the numbers of passed and of all tests."""

    verdict: CodeStatus = "infra_error"
    passed: int = 0
    total: int = 0
    wall_s: float = 0.0
    signals: frozenset[str] = frozenset()


def grade_programs(
    programs: Sequence[str | None],
    tests: Sequence[Tests],
    sandbox: Sandbox,
    *,
    scoring: Scoring = "fraction",
    timeout_s: float = 5.0,
    memory_mb: int = 512,
) -> list[CodeGrade]:
    """Grade programs, all in one batch.

    Args:
        programs: Programs; None, where an answer had none, is a `no_code` and scores 0.
        tests: The tests of each.
        sandbox: Where they run.
        scoring: `fraction` of the tests that hold, or 1 only when `all` do.
        timeout_s: Per run of a program (per case for stdio, all calls together otherwise).
        memory_mb: Per run.

    Returns:
        In the order of the programs. A score of None means that the sandbox failed, which is never the program's fault.
    """
    if len(programs) != len(tests):
        raise DataError("The number of tests", len(tests), expected=f"one per program ({len(programs)})", then="Pass both.")
    known = resolve(tests, sandbox)
    requests: list[ExecRequest] = []
    spans: list[tuple[int, int]] = []
    for code, one in zip(programs, known, strict=True):
        own = [] if code is None or isinstance(one, DataError) else one.requests(code, timeout_s=timeout_s, memory_mb=memory_mb)
        spans.append((len(requests), len(requests) + len(own)))
        requests += own
    results = sandbox.run_many(requests)
    grades = []
    for code, one, (start, end) in zip(programs, known, spans, strict=True):
        if isinstance(one, DataError):
            grades.append(CodeGrade(None, str(one)[:400]))
        elif code is None:
            grades.append(CodeGrade(0.0, "no program in the answer", "no_code"))
        else:
            grades.append(_grade(code, one, results[start:end], scoring))
    return grades


def _grade(code: str, tests: RunnableTests, results: list[ExecResult], scoring: Scoring) -> CodeGrade:
    if isinstance(tests, StdioTests):
        verdict, passed, total, reason = _grade_stdio(tests, results)
    elif isinstance(tests, CheckTests):
        verdict, passed, total, reason = _grade_check(tests, results[0])
    else:
        verdict, passed, total, reason = _grade_function(tests, results[0])
    score: float | None = 1.0 if verdict == "pass" else passed / total if scoring == "fraction" and total else 0.0
    if verdict in ("protocol_error", "output_limit"):
        score = 0.0
    if verdict == "infra_error":
        score = None
    wall_s = sum(result.wall_s for result in results)
    return CodeGrade(score, reason, verdict, passed, total, wall_s, hack_signals(code))


_Outcome = tuple[CodeStatus, int, int, str]


def _grade_function(tests: FunctionTests, result: ExecResult) -> _Outcome:
    total = len(tests.cases)
    if result.status == "infra_error" or (result.status != "ok" and not result.results):
        return result.status, 0, total, result.reason
    passed, problem = 0, ""
    for case, call in zip(tests.cases, result.results, strict=False):
        try:
            why = _compare(case, call, tests)
        except WireError as broken:
            return "protocol_error", 0, total, str(broken)
        passed += not why
        problem = problem or why
    if result.status == "ok" and len(result.results) == total:
        return ("wrong", passed, total, problem) if problem else ("pass", passed, total, "")
    if result.status == "ok":  # never trust a status alone for a pass
        return "incomplete", passed, total, f"{len(result.results)} of {total} results"
    return result.status, min(passed, total - 1), total, result.reason


def _compare(case: Any, call: CallResult, tests: FunctionTests) -> str:
    """Why a result is not right, or "". A result far larger than the expected one is wrong without being decoded."""
    if call.error is not None:
        return call.error
    if call.digest is not None:
        wanted = case.expected if type(case.expected) is Digest else Digest(*digest(encode(case.expected)))
        return "" if Digest(*call.digest) == wanted else f"another result of {call.digest[0]} bytes"
    if type(case.expected) is Digest:
        return f"a result of {len(call.raw)} bytes where {case.expected.length} were expected"
    if len(call.raw) > case.room:
        return f"a result of {len(call.raw)} bytes instead of {brief(case.expected)}"
    if case.compare in ("exact", "python") and call.raw == to_bytes(case.expected):
        return ""
    actual = call.value()
    try:
        right = ORACLES[case.compare](actual, case.expected, case.call.args, tests.atol, tests.rtol)
    except Exception as problem:  # one answer that cannot be compared must not end the verdicts of a whole batch
        return f"{brief(actual)} cannot be compared: {type(problem).__name__}"
    if right:
        return ""
    return f"{brief(actual)} instead of {brief(case.expected)}"


def _grade_stdio(tests: StdioTests, results: list[ExecResult]) -> _Outcome:
    total, passed = len(tests.cases), 0
    worst: tuple[int, CodeStatus, str] | None = None
    for (_, expected), result in zip(tests.cases, results, strict=True):
        status: CodeStatus = "wrong" if result.status == "ok" else result.status
        reason = result.reason
        if result.status == "ok":
            fits = len(result.stdout) <= room(len(expected))
            if fits and same_text(result.stdout, expected):
                passed += 1
                continue
            reason = f"{brief(result.stdout[:200])} instead of {brief(expected)}"
        rank = _SEVERITY.index(status)
        if worst is None or rank < worst[0]:
            worst = (rank, status, reason)
    if worst is None:
        return "pass", passed, total, ""
    return worst[1], passed, total, worst[2]


def _grade_check(tests: CheckTests, result: ExecResult) -> _Outcome:
    held = sum(one.held for one in result.asserts)
    total = max(len(result.asserts) + (not result.completed), tests.asserts if not result.completed else 0, 1)
    failed = next((one.why or "an assertion did not hold" for one in result.asserts if not one.held), "")
    if result.status != "ok" or not result.completed:
        return result.status if result.status != "ok" else "incomplete", held, total, result.reason or failed
    if failed:
        return "wrong", held, total, failed
    if not result.asserts or not result.candidate_calls:
        return "incomplete", 0, total, "the test program checked nothing"
    return "pass", held, total, ""
