"""Runs the test program of a data set against a candidate that lives in another jailed process.

The test program and its expected values are here, the candidate's code is there; between them go arguments one way
and plain data the other. The candidate cannot see the comparison, and an answer is a value without methods of its own.

An `assert` is recorded and does not stop the rest, so that a score can be the fraction that held. Arguments travel
by value: a test that looks at what a call did to its argument is not supported.
"""

import ast
import builtins
import os

from . import guest, wire


class CandidateGone(BaseException):
    """The candidate's process ended, or sent what no honest one sends. Not an `Exception`: no test may catch it."""


class CandidateError(Exception):
    """The candidate raised something that is not a built-in exception."""


class Candidate:
    """The function under test, as its test sees it."""

    def __init__(self) -> None:
        self.calls = 0
        self._answers = open(guest.ANSWERS, "rb", closefd=False)  # noqa: SIM115

    def __call__(self, *args: object, **kwargs: object) -> object:
        self.calls += 1
        call = {"id": self.calls, "args": wire.encode(list(args)), "kwargs": wire.encode(kwargs)}
        try:
            guest.send(guest.CALLS, call)
        except BrokenPipeError:
            raise CandidateGone("gone", "the candidate's process ended") from None
        return self._receive()

    def _receive(self) -> object:
        line = self._answers.readline(guest.MAX_LINE)
        if not line:
            raise CandidateGone("gone", "the candidate's process ended")
        if not line.endswith(b"\n"):
            raise CandidateGone("protocol", "an answer without an end")
        try:
            message = wire.parse(line)
            if type(message) is not list or len(message) < 3 or message[0] != self.calls or type(message[0]) is not int:
                raise wire.WireError("an answer to no question")
            if message[1] == "v" and len(message) == 3:
                return wire.decode(message[2])
            if message[1] != "e" or len(message) != 4 or type(message[2]) is not str or type(message[3]) is not str:
                raise wire.WireError("an answer of an unknown kind")
        except wire.WireError as problem:
            raise CandidateGone("protocol", str(problem)) from None
        raise _exception(message[2])(message[3][:300])


def _exception(name: str) -> type[Exception]:
    """The built-in exception of that name; anything else, and what could end or fool a test by itself, becomes our
    own.
    """
    kind = getattr(builtins, name, None)
    if isinstance(kind, type) and issubclass(kind, Exception) and not issubclass(kind, (AssertionError, StopIteration)):
        try:
            kind("")
            return kind
        except TypeError:  # UnicodeDecodeError wants five arguments
            pass
    return CandidateError


class _Record:
    """Wraps one `assert`: writes down whether it held and goes on."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind, problem, trace) -> bool:
        if kind is None:
            guest.send(guest.RESULT, ["a", True, ""])
            return True
        if not issubclass(kind, Exception):
            return False
        guest.send(guest.RESULT, ["a", False, ": ".join(part for part in guest.describe(problem) if part)])
        return True


class _Rewrite(ast.NodeTransformer):
    """Turns `assert x` into `with <record>: assert x`, except for assertions that hold whatever the candidate does."""

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        if isinstance(node.test, ast.Constant) and node.test.value:
            return node
        context = ast.withitem(ast.Name("__record__", ast.Load()))
        return ast.copy_location(ast.With([context], [node]), node)


def run(job: dict) -> None:
    """Run `helpers`, then `test`, then `check(candidate)` where the test defines a `check`.

    Writes `["a", held, why]` per assertion, `["done", calls]` at the end, and `["stop", kind, type, why]` when it
    ends early: kind `gone` or `protocol` (the candidate), `raised` (an exception outside of an assertion), `test`
    (the test program itself does not load).
    """
    space = guest.new_module("solution_test")
    candidate = Candidate()
    try:
        exec(compile(job.get("helpers") or "", "<helpers>", "exec"), space)
        tree = ast.fix_missing_locations(_Rewrite().visit(ast.parse(job["test"], "<test>")))
        code = compile(tree, "<test>", "exec")
    except BaseException as problem:
        guest.send(guest.RESULT, ["stop", "test", *guest.describe(problem)])
        return
    space["__record__"] = _Record()
    space["candidate"] = candidate
    if job["entry"].isidentifier():
        space[job["entry"]] = candidate
    try:
        exec(code, space)
        if "check" in space and callable(space["check"]):
            space["check"](candidate)
    except CandidateGone as problem:
        guest.send(guest.RESULT, ["stop", problem.args[0], "", problem.args[1]])
        return
    except BaseException as problem:
        guest.send(guest.RESULT, ["stop", "raised", *guest.describe(problem)])
        return
    guest.send(guest.RESULT, ["done", candidate.calls])
    os.close(guest.CALLS)
