"""Runs the program of one job, inside the jail. Whatever happens here is told by the program itself: nobody trusts it.

There is nothing here to steal: the program's code, its calls and its input, and no expected value. A program that
takes over this interpreter can answer wrongly in its own name, which it could do anyway.
"""

import gc
import json
import os
import sys
import types

from . import wire

STDIN, STDOUT, STDERR, RESULT, JOB, CALLS, ANSWERS = range(7)
dumps = json.JSONEncoder(separators=(",", ":")).encode
MAX_LINE = 16 << 20
MAX_RESULT = 1 << 20
"""A result of more bytes is sent as a digest: nobody wants to decode it, and an exact comparison needs no more."""


def read_job() -> dict:
    """The job from its sealed file."""
    parts = []
    while part := os.read(JOB, 1 << 16):
        parts.append(part)
    os.close(JOB)
    return json.loads(b"".join(parts))


def send(fd: int, message: object) -> None:
    """One message as one line."""
    write(fd, dumps(message))


def write(fd: int, line: str) -> None:
    """One line, whole."""
    data = line.encode() + b"\n"
    while data:
        data = data[os.write(fd, data) :]


def describe(problem: BaseException) -> list[str]:
    """Type name and text of an exception whose methods may be hostile."""
    try:
        name = type.__getattribute__(type(problem), "__name__")
        text = BaseException.__str__(problem)
        return [str.__str__(name)[:100], text[:300]]
    except BaseException:
        return ["Exception", "an exception that cannot be described"]


def open_streams() -> None:
    """Text streams on the standard descriptors. Opened by the zygote and unused until a child has its own files there."""
    sys.stdin = open(STDIN, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = open(STDOUT, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(STDERR, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr


def new_module(name: str) -> dict:
    """The namespace of a registered module, as `dataclasses`, `typing` and `pickle` look it up."""
    module = types.ModuleType(name)
    sys.modules[name] = module
    return module.__dict__


def load(job: dict) -> dict | None:
    """Run the program's top level and the set-up of its tests; on failure report and return None."""
    space = new_module("solution")
    try:
        exec(compile(job["code"], "<solution>", "exec"), space)
        if job.get("setup"):
            exec(compile(job["setup"], "<setup>", "exec"), space)
        if job.get("entry"):
            find(space, job["entry"])
    except BaseException as problem:
        send(RESULT, ["load", *describe(problem)])
        return None
    return space


def find(space: dict, entry: str) -> object:
    """The function under test: a name, or an expression such as `Solution().solve`."""
    return space[entry] if entry in space else eval(entry, space)


def answer(space: dict, entry: str, call: dict) -> list:
    """One call's outcome: `["v", value]` or `["e", type, text]`."""
    try:
        if "expr" in call:
            value = eval(compile(call["expr"].strip(), "<call>", "eval"), space)
        else:
            function = find(space, entry)
            arguments = wire.decode(call.get("args", []))
            value = function(*arguments, **wire.decode(call.get("kwargs", {"d": []})))
        return ["v", wire.encode(value)]
    except BaseException as problem:
        return ["e", *describe(problem)]


def run_function(job: dict) -> None:
    """Answer each call in turn on the result file; the lines of finished calls survive whatever a later call does."""
    space = load(job)
    if space is not None:
        for index, call in enumerate(job["calls"]):
            message = [index, *answer(space, job["entry"], call)]
            line = dumps(message)
            if len(line) > MAX_RESULT and message[1] == "v":
                line = dumps([index, "h", *wire.digest(message[2])])
            write(RESULT, line)


def warm_up() -> None:
    """Run a job in the zygote, for its children: what the interpreter specialises and allocates on the way is then shared
    memory, which each child would have to copy page by page otherwise (a quarter of a job's processor time).
    """
    call = {"args": [1, 2.5, "x", {"t": [1, {"d": [[1, [2]]]}]}], "kwargs": {"d": []}}
    job = {"code": "def solve(*args):\n    return args", "entry": "solve", "calls": [call, {"expr": "solve(1)"}] * 10}
    for _ in range(3):
        run_function(json.loads(json.dumps(job)))  # the result descriptor is /dev/null still
    del sys.modules["solution"]


def run_serve(job: dict) -> None:
    """Answer calls as they come from a checker that runs in a process of its own."""
    space = load(job)
    if space is None:
        return
    with open(CALLS, "rb", closefd=False) as calls:
        while line := calls.readline(MAX_LINE):
            call = json.loads(line)
            send(ANSWERS, [call["id"], *answer(space, job["entry"], call)])


def run_stdio(job: dict) -> int:
    """Run a program as `__main__`; the return value is its exit code."""
    import atexit
    import threading

    space = new_module("__main__")
    space["__builtins__"] = __builtins__
    sys.argv = ["solution.py"]
    code = 0
    try:
        exec(compile(job["code"], "<solution>", "exec"), space)
    except SystemExit as stop:
        code = _exit_code(stop.code)
    except BaseException:
        code = _show_traceback()
    for last in (threading._shutdown, atexit._run_exitfuncs):
        try:
            last()
        except BaseException:
            code = code or 1
    return code


def _exit_code(code: object) -> int:
    if code is None:
        return 0
    if isinstance(code, int):
        return int.__add__(code, 0) & 0xFF
    print(code, file=sys.stderr)
    return 1


def _show_traceback() -> int:
    try:
        import traceback

        kind, problem, trace = sys.exc_info()
        traceback.print_exception(kind, problem, trace and trace.tb_next, limit=20)
    except BaseException:
        pass
    return 1


def main() -> None:
    """Read the job, run it, leave without the interpreter's finalisation (which could run more of the program)."""
    code = 0
    try:
        job = read_job()
        gc.enable()
        if job["mode"] == "stdio":
            code = run_stdio(job)
        elif job["mode"] == "function":
            run_function(job)
        elif job["mode"] == "serve":
            run_serve(job)
        else:
            checker = sys.modules[f"{__package__}.checker"]

            checker.run(job)
    except BaseException:
        code = code or 1
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BaseException:
            code = code or 1
    os._exit(code)
