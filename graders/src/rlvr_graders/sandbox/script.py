"""A job as one self-contained script, for sandboxes that can only run a script and return what it printed.

The script carries the code, the calls and our wire format, never an expected value. Its results are lines that begin with a word
made for this job; a program that prints such lines itself forges its own answers and nothing else.
"""

import secrets
from typing import Any

from .inside import wire
from .interface import ExecRequest, ExecResult, Status
from .protocol import Ending, payloads, read_calls
from .worker import INSIDE

_TEMPLATE = """
import io, json, os, sys, types
wire = types.ModuleType("wire")
exec({wire!r}, wire.__dict__)
sys.modules["wire"] = wire
guest = types.ModuleType("guest")
guest.__dict__["wire"] = wire
exec({guest!r}, guest.__dict__)
out = os.fdopen(os.dup(1), "w")
job = json.loads({job!r})

def write(fd, line):
    out.write({mark!r} + line + "\\n")
    out.flush()

guest.write = write
sys.stdout = io.StringIO()
guest.run_function(job)
os._exit(0)
"""


def function_script(request: ExecRequest) -> tuple[str, str]:
    """The script of a `function` request and the word its result lines begin with. Raises `WireError` as `payloads` does."""
    mark = f"{secrets.token_hex(16)} "
    guest_source = (INSIDE / "guest.py").read_text(encoding="utf-8").replace("from . import wire\n", "")
    script = _TEMPLATE.format(
        wire=(INSIDE / "wire.py").read_text(encoding="utf-8"), guest=guest_source, job=payloads(request)[0].decode(), mark=mark
    )
    return script, mark


def read_output(
    request: ExecRequest,
    mark: str | None,
    *,
    stdout: str,
    stderr: str,
    exit_code: int | None,
    ended: Status | None,
    wall_s: float,
) -> ExecResult:
    """The result of a script that has run.

    Args:
        request: What was asked.
        mark: The word of `function_script`, None for `stdio`.
        stdout: Standard output.
        stderr: Standard error.
        exit_code: Exit code, for the log and (stdio) to tell a crash.
        ended: `timeout` when the service stopped it.
        wall_s: As reported by the service.
    """
    common: dict[str, Any] = {"stderr": stderr.encode()[-4096:], "exit_code": exit_code, "wall_s": wall_s}
    if len(stdout) >= request.max_output_bytes:
        return ExecResult("output_limit", f"more than {request.max_output_bytes} bytes of output", **common)
    reason: Ending | None = ("timeout", f"over its time after {wall_s:.2f} s") if ended == "timeout" else None
    if mark is None:
        common["stdout"] = stdout.encode("utf-8", errors="surrogateescape")[: request.keep_bytes + 1]
        if reason is None and exit_code:
            reason = ("error", (stderr.strip().splitlines() or [f"exit code {exit_code}"])[-1][:300])
        return ExecResult(*(reason or ("ok", "")), **common)
    lines = [line[len(mark) :] for line in stdout.split("\n") if line.startswith(mark)]
    try:
        return read_calls(request, reason, "".join(line + "\n" for line in lines).encode("ascii", errors="replace"), common)
    except wire.WireError as problem:
        return ExecResult("protocol_error", str(problem), **common)
