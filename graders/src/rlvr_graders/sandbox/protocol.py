"""From what a job's processes left behind to a result: outside of the sandbox, and trusting none of it."""

import hashlib
import json
import os
import signal
from typing import Any

from .inside import wire
from .inside import zygote as remote
from .interface import AssertResult, Call, CallResult, ExecRequest, ExecResult, Status
from .worker import Files, Report

EXCERPT = 4096
"""Bytes of an output that nobody compares, kept for a person to read."""
MAX_NOTE = 16384
"""Longest line that is not a value: a name and 300 characters of text, twelve bytes each at most."""
MAX_TOLD = 100
"""Failed assertions whose words are kept; of further ones, only that they failed."""
HELD, FAILED = AssertResult(True), AssertResult(False)

Ending = tuple[Status, str]
"""A status with its reason."""


def payloads(request: ExecRequest) -> list[bytes]:
    """The job files of a request, one per cell. Raises `WireError` for arguments that are not plain data."""
    if request.mode == "stdio":
        return [_dump({"mode": "stdio", "code": request.code})]
    program = {"code": request.code, "entry": request.entry, "setup": request.setup}
    if request.mode == "check":
        test = {"mode": "check", "entry": request.entry, "test": request.test, "helpers": request.helpers}
        return [_dump({"mode": "serve", **program}), _dump(test)]
    return [_dump({"mode": "function", "calls": [_call(call) for call in request.calls], **program})]


def _call(call: Call) -> dict[str, Any]:
    if call.expr is not None:
        return {"expr": call.expr}
    return {"args": wire.encode(list(call.args)), "kwargs": wire.encode(dict(call.kwargs))}


def _dump(job: dict[str, Any]) -> bytes:
    return json.dumps(job, separators=(",", ":")).encode()


def read_result(request: ExecRequest, report: Report, cells: list[Files], limit_s: float) -> ExecResult:
    """Judge how a job ended and decode what it sent.

    Args:
        request: What was asked.
        report: What the zygote saw.
        cells: The files of the program and, for `check`, of its test.
        limit_s: The time limit that was in force.
    """
    limit = request.max_output_bytes
    program = cells[0]
    stdout, stderr, sent = (program.read(fd, limit) for fd in (program.stdout, program.stderr, program.result))
    common: dict[str, Any] = {
        "stdout": stdout[:EXCERPT],
        "stderr": stderr[-EXCERPT:],
        "exit_code": os.waitstatus_to_exitcode(report.statuses[0]),
        "wall_s": report.wall_s,
        "cpu_s": report.cpu_s,
        "peak_mb": report.peak_mb,
    }
    if report.ready < len(cells):
        if report.killed == remote.BY_DEADLINE:
            return ExecResult("timeout", "over its time before it started", **common)
        words = common["stderr"].decode(errors="replace") or f"exit code {common['exit_code']}"
        return ExecResult("infra_error", f"the jail could not be put on: {words}", **common)
    ended = _how_it_ended(request.mode, report, common["exit_code"], limit_s)
    if max(len(stdout), len(stderr), len(sent)) >= limit:
        return ExecResult("output_limit", f"more than {limit} bytes of output", **common)
    if request.mode == "stdio":
        if ended:
            status, reason = ended
            return ExecResult(status, _last_line(common["stderr"]) or reason if status == "error" else reason, **common)
        return ExecResult("ok", **common | {"stdout": stdout[: request.keep_bytes + 1]})
    try:
        if request.mode == "check":
            return _read_check(ended, sent, cells[1].read(cells[1].result, limit), common)
        return read_calls(request, ended, sent, common)
    except wire.WireError as problem:
        return ExecResult("protocol_error", str(problem), **common)


def _how_it_ended(mode: str, report: Report, code: int, limit_s: float) -> Ending | None:
    """Why the processes ended before they were done; None when they left by themselves (or with an exit code, for
    calls).
    """
    spent = report.cpu_s >= 0.9 * limit_s and code == -signal.SIGKILL and mode != "check"
    if report.killed == remote.BY_DEADLINE or code == -signal.SIGXCPU or spent:
        return "timeout", f"over its time after {report.wall_s:.2f} s"
    if report.killed == remote.BY_THREADS:
        return "crash", "too many threads"
    if mode == "check":
        code = 0 if code == -signal.SIGKILL else code  # a candidate is killed once its test is done
    if code < 0:
        return "crash", f"killed by {signal.Signals(-code).name}" if -code in set(signal.Signals) else f"killed by {-code}"
    if code and mode == "stdio":
        return "error", f"exit code {code}"
    return None


def _last_line(stderr: bytes) -> str:
    lines = stderr.decode(errors="replace").strip().splitlines()
    return lines[-1][:300] if lines else ""


def _lines(sent: bytes, most: int) -> list[bytes]:
    """The lines of a result channel; a last line without its end was cut off by the end of the process and is left
    out. Raises `WireError` for more lines than an honest run writes, before anything is made of them.
    """
    *lines, rest = sent.split(b"\n", most)
    if len(lines) == most and b"\n" in rest:
        raise wire.WireError("an answer to no question")
    return lines


def _note(line: bytes) -> list[Any]:
    """A line that is not a value. Raises `WireError` for one that no honest run writes."""
    if len(line) > MAX_NOTE:
        raise wire.WireError("a line that is too long")
    message = wire.parse(line)
    if type(message) is not list or not message:
        raise wire.WireError("a line that is no message")
    return message


def _load_error(line: bytes) -> str:
    message = _note(line)
    if len(message) != 3 or message[0] != "load" or type(message[1]) is not str or type(message[2]) is not str:
        raise wire.WireError("an answer to no question")
    return f"{message[1]}: {message[2]}"[:400]


def read_calls(request: ExecRequest, ended: Ending | None, sent: bytes, common: dict[str, Any]) -> ExecResult:
    """The result of a `function` request from the lines on its channel. Raises `WireError` for lines no honest run writes."""
    lines = _lines(sent, max(1, len(request.calls)))
    if len(lines) == 1 and lines[0].startswith(b'["load",'):
        return ExecResult("error", _load_error(lines[0]), **common)
    if len(lines) > len(request.calls):
        raise wire.WireError("an answer to no question")
    results = [_outcome(index, line, request.keep_bytes) for index, line in enumerate(lines)]
    common["results"] = tuple(results)
    if ended:
        return ExecResult(*ended, **common)
    if len(results) < len(request.calls):
        return ExecResult("incomplete", f"left after {len(results)} of {len(request.calls)} calls", **common)
    failed = next((result.error for result in results if result.error is not None), None)
    return ExecResult("error" if failed else "ok", failed or "", completed=True, **common)


def _outcome(index: int, line: bytes, keep: int) -> CallResult:
    """One answer. A value stays the bytes that it is: whoever compares it looks at its length before parsing it."""
    head = b'[%d,"v",' % index
    if line.startswith(head) and line.endswith(b"]"):
        if len(line) - len(head) - 1 <= keep:
            return CallResult(raw=line[len(head) : -1])
        raw = memoryview(line)[len(head) : -1]
        return CallResult(digest=(len(raw), hashlib.sha256(raw).hexdigest()))
    message = _note(line)
    if type(message[0]) is not int or message[0] != index:
        raise wire.WireError("an answer to no question")
    if len(message) == 4 and message[1] == "h" and type(message[2]) is int and type(message[3]) is str:
        return CallResult(digest=(message[2], message[3]))
    if len(message) == 4 and message[1] == "e" and type(message[2]) is str and type(message[3]) is str:
        return CallResult(error=f"{message[2]}: {message[3]}"[:400])
    raise wire.WireError("an answer of an unknown kind")


def _read_check(ended: Ending | None, sent: bytes, verdicts: bytes, common: dict[str, Any]) -> ExecResult:
    """A check's result comes from the test's process alone; the candidate's own channel can only say that it did
    not load.
    """
    if candidate := _lines(sent, 1):
        return ExecResult("error", _load_error(candidate[0]), **common)
    asserts, stop, done, told = [], None, None, 0
    for line in verdicts.split(b"\n")[:-1]:
        if line == b'["a",true,""]':  # a candidate may make a test's loop long: few lines are parsed
            asserts.append(HELD)
            continue
        if told >= MAX_TOLD and line.startswith(b'["a",false,'):
            asserts.append(FAILED)
            continue
        message = _note(line)
        if message[0] == "a":
            told += 1
            asserts.append(AssertResult(message[1] is True, str(message[2])))
        elif message[0] == "stop":
            stop = message
        elif message[0] == "done":
            done = message[1]
    common["asserts"] = tuple(asserts)
    if stop and stop[1] == "test":
        return ExecResult("infra_error", f"the test program does not load: {stop[2]}: {stop[3]}", **common)
    if stop and stop[1] == "protocol":
        return ExecResult("protocol_error", stop[3], **common)
    if ended:
        return ExecResult(*ended, **common)
    if stop and stop[1] == "raised":
        return ExecResult("error", f"{stop[2]}: {stop[3]}", **common)
    if done is None:
        return ExecResult("incomplete", "the candidate left before its test was done", **common)
    return ExecResult("ok", completed=True, candidate_calls=done, **common)
