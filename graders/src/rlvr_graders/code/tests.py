"""Tests of a program as plain data, and what to run for them. Everything here happens outside of the sandbox.

The JSON forms, as in the column `tests` and in the jobs of `rlvr-graders code`:

    {"kind": "function", "entry": "add", "cases": [{"args": [1, 2], "expected": 3}]}
    {"kind": "stdio", "cases": [{"stdin": "1 2\\n", "stdout": "3\\n"}]}
    {"kind": "assert", "asserts": ["assert add(1, 2) == 3"], "setup": ""}                 (MBPP)
    {"kind": "check", "entry": "add", "prompt": "def add(…", "test": "def check(candidate): …"}   (HumanEval)
    {"kind": "evalplus", "task_id": …, "entry_point": …, "prompt": …, "canonical_solution": …, "base_input": …, "plus_input": …}
                                                            (a row of HumanEval+ or MBPP+)

A case of `function` may have `kwargs`, or `call` instead of `args` (an expression that asks and does not compare, see
`questions`), and a `compare` of `oracles`. Values that JSON lacks are objects with one key: `$tuple`, `$set`, `$frozenset`,
`$dict` (a list of pairs), `$bytes` (hex), `$complex`.
"""

import ast
import builtins
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from rlvr_graders.code.equality import ATOL, RTOL
from rlvr_graders.code.extract import complete_prompt, join_prompt
from rlvr_graders.code.oracles import ORACLES
from rlvr_graders.code.questions import MODULES, asks, compares, entry_of
from rlvr_graders.errors import DataError
from rlvr_graders.sandbox import Call, ExecRequest
from rlvr_graders.sandbox.inside.wire import to_bytes

_THEN = "Correct the row or leave it out."
_IMPORTS = f"import {MODULES}\n"


@dataclass(frozen=True)
class Digest:
    """An expected value too large to keep: length and SHA-256 of its encoding; equality is then exact, floats included."""

    length: int
    sha256: str


@dataclass(frozen=True)
class Case:
    """One call with its expected value, which stays outside. Raises `WireError` for a value that no program could send."""

    call: Call
    expected: Any
    compare: str = "exact"

    def __post_init__(self) -> None:
        _ = self.room

    @cached_property
    def room(self) -> int:
        """Length from which on a result is wrong without being decoded."""
        return room(0 if type(self.expected) is Digest else len(to_bytes(self.expected)))


def room(length: int) -> int:
    """How long an output may be that could still be the expected one, of this length: white space, digits of floats, escapes."""
    return 4096 + 64 * length


@dataclass(frozen=True)
class FunctionTests:
    cases: tuple[Case, ...]
    entry: str = ""
    setup: str = ""
    prompt: str = ""
    atol: float = ATOL
    rtol: float = RTOL
    reference_s: float = 0.0
    """Seconds that the reference solution took; a run gets four times as many if that is more than its limit (as EvalPlus)."""

    def requests(self, code: str, **limits: Any) -> list[ExecRequest]:
        calls = tuple(case.call for case in self.cases)
        limits["timeout_s"] = max(limits.get("timeout_s", 0.0), 4 * self.reference_s) or 5.0
        program = join_prompt(self.prompt, code, self.entry) if self.prompt else code
        keep = max(case.room for case in self.cases)
        return [ExecRequest(program, "function", entry=self.entry, calls=calls, setup=self.setup, keep_bytes=keep, **limits)]


@dataclass(frozen=True)
class StdioTests:
    cases: tuple[tuple[bytes, str], ...]

    def requests(self, code: str, **limits: Any) -> list[ExecRequest]:
        return [
            ExecRequest(code, "stdio", stdin=stdin, keep_bytes=room(len(expected)), **limits) for stdin, expected in self.cases
        ]


@dataclass(frozen=True)
class CheckTests:
    entry: str
    test: str
    setup: str = ""
    prompt: str = ""
    helpers: str = ""

    @property
    def asserts(self) -> int:
        """Assertions as written; a loop may check one of them often."""
        return sum(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(self.test)))

    def requests(self, code: str, **limits: Any) -> list[ExecRequest]:
        program = join_prompt(self.prompt, code, self.entry) if self.prompt else code
        helpers = _IMPORTS + (self.helpers or complete_prompt(self.prompt))
        return [ExecRequest(program, "check", entry=self.entry, setup=self.setup, test=self.test, helpers=helpers, **limits)]


@dataclass
class ReferenceTests:
    """Inputs whose expected values the reference solution gives: `evalplus.resolve` runs it in the sandbox, once."""

    row: dict[str, Any]
    resolved: FunctionTests | None = None


RunnableTests = FunctionTests | StdioTests | CheckTests
Tests = RunnableTests | ReferenceTests


def parse_tests(tests: dict[str, Any] | str) -> Tests:
    """The tests of one problem, checked.

    Raises:
        DataError: Not one of the documented forms, or no test at all: without a test nothing can be right.
    """
    if isinstance(tests, str):
        try:
            tests = json.loads(tests)
        except ValueError:
            raise DataError("The tests", tests, expected="JSON", then=_THEN) from None
    kind = tests.get("kind") if isinstance(tests, dict) else None
    if not isinstance(tests, dict) or kind not in KINDS:
        raise DataError("The kind of tests", kind, expected=", ".join(KINDS), then=_THEN)
    try:
        return _READERS[kind](tests)
    except (KeyError, TypeError, ValueError, AttributeError, SyntaxError, RecursionError) as problem:
        raise DataError(
            f"Tests of kind {kind!r}", tests, expected=f"the documented form ({type(problem).__name__}: {problem})", then=_THEN
        ) from None


def _nonempty(cases: Any, what: str) -> list[Any]:
    if not isinstance(cases, list) or not cases:
        raise DataError(what, cases, expected="a list with at least one test", then=_THEN)
    return cases


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.80} is not a string")
    return value


def _function(tests: dict[str, Any]) -> FunctionTests:
    cases = []
    for case in _nonempty(tests["cases"], "The cases"):
        compare = case.get("compare", "exact")
        if compare not in ORACLES:
            raise ValueError(f"compare {compare!r} is not one of {', '.join(ORACLES)}")
        expected = plain(case["expected"])
        if "call" in case:
            call = Call(expr=_question(case["call"], expected, tests))
        else:
            kwargs = {_string(name): plain(value) for name, value in case.get("kwargs", {}).items()}
            call = Call(tuple(plain(part) for part in case.get("args", [])), kwargs)
        if compare == "polynomial_root" and not call.args:
            raise ValueError("polynomial_root needs the coefficients as an argument")
        cases.append(Case(call, expected, compare))
    entry = _string(tests.get("entry", ""))
    if not entry and any(case.call.expr is None for case in cases):
        raise KeyError("entry")
    settings: dict[str, Any] = {name: float(tests[name]) for name in ("atol", "rtol") if name in tests}
    settings |= {name: _string(tests.get(name) or "") for name in ("setup", "prompt")}
    return FunctionTests(tuple(cases), entry, **settings)


def _question(written: Any, expected: Any, tests: dict[str, Any]) -> str:
    """The expression of a case, which must not carry its expected value into the sandbox."""
    text = _string(written)
    node = ast.parse(text.strip(), mode="eval").body
    context = _string(tests.get("setup") or ""), _string(tests.get("entry") or "")
    if (type(expected) is bool or compares(node)) and not asks(node, expected, *context):
        raise ValueError(f"{text[:80]!r} judges its result where the program could interfere; kind 'assert' may do so")
    return text


def _stdio(tests: dict[str, Any]) -> StdioTests:
    cases = _nonempty(tests["cases"], "The cases")
    return StdioTests(tuple((_string(case["stdin"]).encode(), _string(case["stdout"])) for case in cases))


def _check(tests: dict[str, Any]) -> CheckTests:
    found = CheckTests(
        _string(tests["entry"]),
        _string(tests["test"]),
        **{name: _string(tests.get(name) or "") for name in ("setup", "prompt", "helpers")},
    )
    complete_prompt(found.prompt)
    if not found.asserts:
        raise DataError("The test program", found.test, expected="at least one assertion", then=_THEN)
    return found


def _assert(tests: dict[str, Any]) -> Tests:
    """`assert CALL == LITERAL` becomes a call and an expected value; a list with any other form runs as a test
    program, which compares in a process of its own.
    """
    asserts = [_string(line) for line in _nonempty(tests["asserts"], "The asserts")]
    setup = _string(tests.get("setup") or "")
    named, prompt = _string(tests.get("entry") or ""), _string(tests.get("prompt") or "")
    entry = named or entry_of(asserts, setup)
    cases = [case for line in asserts if (case := _case(line, setup, entry))]
    if len(cases) == len(asserts):
        return FunctionTests(tuple(cases), named, setup=setup, prompt=prompt)
    if not named and (not entry or hasattr(builtins, entry)):
        raise ValueError(f"no function is called in {asserts[0][:80]!r}")
    complete_prompt(prompt)
    return CheckTests(entry, "\n".join(asserts), setup=setup, prompt=prompt, helpers=setup)


def _evalplus(tests: dict[str, Any]) -> ReferenceTests:
    for name in ("task_id", "entry_point", "prompt", "canonical_solution"):
        _string(tests[name])
    _nonempty(tests["base_input"], "The inputs")
    return ReferenceTests(tests)


def _case(line: str, setup: str, entry: str) -> Case | None:
    body = ast.parse(line.strip()).body
    if len(body) != 1 or not isinstance(body[0], ast.Assert):
        raise ValueError(f"not one assertion: {line[:80]!r}")
    test = body[0].test
    if not isinstance(test, ast.Compare) or len(test.ops) != 1 or not isinstance(test.ops[0], ast.Eq):
        return None
    try:
        expected = ast.literal_eval(test.comparators[0])
    except ValueError:
        return None
    return Case(Call(expr=ast.unparse(test.left)), expected, "python") if asks(test.left, expected, setup, entry) else None


_READERS: dict[str, Callable[[dict[str, Any]], Tests]] = {
    "function": _function,
    "stdio": _stdio,
    "assert": _assert,
    "check": _check,
    "evalplus": _evalplus,
}
KINDS = tuple(_READERS)

_TAGS: dict[str, Callable[[Any], Any]] = {
    "$tuple": tuple,
    "$set": set,
    "$frozenset": frozenset,
    "$dict": dict,
    "$complex": lambda parts: complex(*parts),
}


def plain(value: Any) -> Any:
    """JSON with tags to Python values. Raises `ValueError` or `TypeError` for an unknown tag or a malformed body."""
    if isinstance(value, list):
        return [plain(part) for part in value]
    if not isinstance(value, dict):
        return value
    (tag,) = value if len(value) == 1 else (None,)
    if tag == "$bytes":
        return bytes.fromhex(value[tag])
    if tag in _TAGS:
        return _TAGS[tag](plain(value[tag]))
    if isinstance(tag, str) and tag.startswith("$"):
        raise ValueError(f"unknown tag {tag!r}")
    return {name: plain(part) for name, part in value.items()}


def tagged(value: Any) -> Any:
    """Python values to JSON with tags: the inverse of `plain`. Raises `TypeError` for other types."""
    kind = type(value)
    if value is None or kind in (bool, int, float, str):
        return value
    if kind is list:
        return [tagged(part) for part in value]
    if kind in (tuple, set, frozenset):
        return {f"${kind.__name__}": [tagged(part) for part in value]}
    if kind is dict:
        if all(type(name) is str and not name.startswith("$") for name in value):
            return {name: tagged(part) for name, part in value.items()}
        return {"$dict": [[tagged(key), tagged(part)] for key, part in value.items()]}
    if kind is bytes:
        return {"$bytes": value.hex()}
    if kind is complex:
        return {"$complex": [value.real, value.imag]}
    raise TypeError(f"{kind.__name__} has no JSON form")
