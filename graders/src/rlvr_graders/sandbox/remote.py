"""Sandboxes on other machines, through the same interface: SandboxFusion over HTTP, and E2B by its own client.

They isolate as far as the service does. Only the code, calls and inputs are sent, never an expected value. A service that cannot
be reached gives `infra_error`: not scored, and never the program's fault.
"""

import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from rlvr_graders.errors import SandboxError

from . import script
from .interface import Call, Capabilities, ExecRequest, ExecResult, SelfTest, Status

PROTECTS = ("this machine: nothing runs here",)
DOES_NOT_PROTECT = ("the service's machine, beyond what the service isolates", "the confidentiality of the programs sent")
GRACE_S = 10.0


class Remote:
    """What remote sandboxes share: a thread per request in flight, and results in order.

    Args:
        level: Name, for records.
        workers: Requests in flight at the same time.
    """

    def __init__(self, level: str, workers: int) -> None:
        self.level, self.workers = level, workers
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix=f"sandbox-{level}")

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            level=self.level,
            modes=("function", "stdio"),
            isolated=True,
            workers=self.workers,
            protects=PROTECTS,
            does_not_protect=DOES_NOT_PROTECT,
        )

    def run_many(self, requests: list[ExecRequest]) -> list[ExecResult]:
        """Results in the order of the requests; whatever fails on the way is an `infra_error` of its request."""
        return list(self._threads.map(self._safely, requests))

    def _safely(self, request: ExecRequest) -> ExecResult:
        try:
            if request.mode not in self.capabilities.modes:
                return ExecResult("infra_error", f"{self.level} cannot run mode {request.mode!r}; a local level can")
            return self.run(request)
        except Exception as problem:
            return ExecResult("infra_error", f"{self.level}: {type(problem).__name__}: {problem}"[:400])

    def run(self, request: ExecRequest) -> ExecResult:
        """Run one request; may raise anything, which becomes an `infra_error`."""
        raise NotImplementedError

    def self_test(self) -> SelfTest:
        """Whether the service answers rightly: a right program, a script, and an endless loop that must be stopped."""
        right, text, endless = self.run_many(
            [
                ExecRequest("def f(x):\n    return x + 1", entry="f", calls=(Call((1,)),)),
                ExecRequest("print(int(input()) + 1)", mode="stdio", stdin=b"1\n"),
                ExecRequest("while True: pass", mode="stdio", timeout_s=1.0),
            ]
        )
        return SelfTest(
            {
                "run_a_right_program": "" if right.status == "ok" else f"{right.status}: {right.reason}",
                "run_a_script": "" if text.stdout.strip() == b"2" else f"{text.status}: {text.reason}",
                "stop_an_endless_loop": "" if endless.status == "timeout" else f"{endless.status}: {endless.reason}",
            }
        )

    def close(self) -> None:
        self._threads.shutdown()


class SandboxFusion(Remote):
    """A SandboxFusion server (`POST /run_code`, bytedance/SandboxFusion `sandbox/server/sandbox_api.py`).

    Args:
        url: Address of the server, such as `http://localhost:8080`.
        workers: Requests in flight at the same time.
        attempts: Tries per request when the server cannot be reached or fails itself.

    Raises:
        SandboxError: The address is not one of HTTP.
    """

    def __init__(self, url: str, *, workers: int = 16, attempts: int = 3) -> None:
        if not url.startswith(("http://", "https://")):
            raise SandboxError("The SandboxFusion address", url, expected="http://… or https://…", then="Correct it.")
        super().__init__("sandbox_fusion", workers)
        self.url, self.attempts = url.rstrip("/"), attempts

    def run(self, request: ExecRequest) -> ExecResult:
        code, mark = (request.code, None) if request.mode == "stdio" else script.function_script(request)
        body = {
            "code": code,
            "language": "python",
            "stdin": request.stdin.decode("utf-8") if request.mode == "stdio" else "",
            "run_timeout": request.timeout_s,
            "compile_timeout": request.timeout_s,
            "memory_limit_MB": request.memory_mb,
        }
        answer = self._post(body, request)
        if answer.get("status") == "SandboxError":
            raise RuntimeError(f"the server failed: {answer.get('message')}")
        ran = answer["run_result"]
        ended: Status | None = "timeout" if ran["status"] == "TimeLimitExceeded" else None
        return script.read_output(
            request,
            mark,
            stdout=ran.get("stdout") or "",
            stderr=ran.get("stderr") or "",
            exit_code=ran.get("return_code"),
            ended=ended,
            wall_s=float(ran.get("execution_time") or 0.0),
        )

    def _post(self, body: dict[str, Any], request: ExecRequest) -> dict[str, Any]:
        message = urllib.request.Request(
            f"{self.url}/run_code", json.dumps(body).encode(), {"Content-Type": "application/json"}, method="POST"
        )
        # The cap on what is read: JSON may spell one byte in six characters, and there are two streams.
        cap = 12 * request.max_output_bytes + 65536
        for attempt in range(self.attempts):
            try:
                with urllib.request.urlopen(message, timeout=2 * request.timeout_s + GRACE_S) as response:
                    data = response.read(cap + 1)
                if len(data) > cap:
                    raise RuntimeError("the server's answer is larger than the output limit allows")
                answer = json.loads(data)
                if isinstance(answer, dict):
                    return answer
                raise RuntimeError("the server's answer is not an object")
            except (urllib.error.URLError, TimeoutError, ConnectionError):
                if attempt + 1 == self.attempts:
                    raise
                time.sleep(0.2 * 2**attempt)
        raise RuntimeError("no attempt was made")


class E2B(Remote):
    """E2B micro virtual machines, by the `e2b` package (2.x), which is not a dependency of this one.

    Each program gets a fresh machine, for on a used one it would see what earlier programs wrote. Not tested against the
    service itself, only against an object with the same methods.

    Args:
        api_key: Key of the service; the environment's `E2B_API_KEY` when left out.
        workers: Machines at the same time.
        make: Replaces `e2b.Sandbox.create` (tests, self-hosted clients): called with no argument, returns such an object.

    Raises:
        SandboxError: The package or the key is missing.
    """

    def __init__(self, api_key: str | None = None, *, workers: int = 4, make: Callable[[], Any] | None = None) -> None:
        if make is None:
            try:
                from e2b import Sandbox as Machine
            except ImportError:
                raise SandboxError("The package `e2b`", expected="it to be installed", then="pip install e2b") from None
            key = api_key or os.environ.get("E2B_API_KEY")
            if not key:
                raise SandboxError("The key for E2B", expected="an API key", then="Set E2B_API_KEY.")
            make = partial(Machine.create, api_key=key)
        super().__init__("e2b", workers)
        self._make = make

    def run(self, request: ExecRequest) -> ExecResult:
        code, mark = (request.code, None) if request.mode == "stdio" else script.function_script(request)
        machine = self._make()
        try:
            machine.files.write("/tmp/job.py", code)
            machine.files.write("/tmp/job.in", request.stdin.decode("utf-8"))
            limit = f"ulimit -v {request.memory_mb * 1024}"
            command = f"{limit}; timeout -s KILL {request.timeout_s:.3f} python3 /tmp/job.py < /tmp/job.in"
            start = time.monotonic()
            ran = self._command(machine, command, request.timeout_s + GRACE_S)
            wall_s = time.monotonic() - start
        finally:
            machine.kill()
        return script.read_output(
            request,
            mark,
            stdout=ran.stdout,
            stderr=ran.stderr,
            exit_code=ran.exit_code,
            ended="timeout" if ran.exit_code == 137 and wall_s >= request.timeout_s else None,
            wall_s=wall_s,
        )

    @staticmethod
    def _command(machine: Any, command: str, timeout_s: float) -> Any:
        """The client raises for a non-zero exit code; the exception has the fields of a result."""
        try:
            return machine.commands.run(command, timeout=timeout_s)
        except Exception as problem:
            if all(hasattr(problem, name) for name in ("stdout", "stderr", "exit_code")):
                return problem
            raise


__all__ = ["E2B", "Remote", "SandboxFusion"]
