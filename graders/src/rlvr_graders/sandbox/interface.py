"""The nouns of the sandbox: what to run, what came of it, what a sandbox can do."""

from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from .inside.wire import WireError, from_bytes

Status = Literal["ok", "error", "crash", "timeout", "incomplete", "output_limit", "protocol_error", "infra_error"]
"""How a run ended.

`ok`: everything asked for was answered. `error`: the program, or one of its calls, raised, or (stdio) it ended with a
non-zero exit code. `crash`: killed by a signal, or for too many threads.
`timeout`: over its time. `incomplete`: it left before it
had answered all calls. `output_limit`: more output than allowed. `protocol_error`: bytes on the result channel that
no honest run writes. `infra_error`: the sandbox itself failed; says nothing about the program.
"""

MIB = 1 << 20


@dataclass(frozen=True)
class Call:
    """One call of the function under test: arguments by value, or an expression to evaluate beside the program.

    `expr` serves tests whose call is not a name with literals, such as `list(f(x))` or a call on the program's own
    classes. It never contains an expected value.
    """

    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    expr: str | None = None


@dataclass(frozen=True)
class ExecRequest:
    """One program to run.

    Args:
        code: The program.
        mode: `function` calls `entry` with each of `calls`; `stdio` runs the program as a script on `stdin`; `check`
            runs `test` in a second jailed process against the program's `entry`.
        entry: Expression that gives the function, evaluated in the program's namespace: a name, or `Solution().solve`.
        calls: What to call it with (`function`).
        setup: Statements that are run after the program, in its namespace (`function`, `check`).
        stdin: Bytes of standard input (`stdio`).
        test: Test program (`check`): statements that use `candidate`, or define `check(candidate)`.
        helpers: Statements that are run before the test program, in *its* process: what a prompt defines beside the
            entry.
        timeout_s: Processor seconds, and wall seconds on a machine that is not overloaded; scaled by the sandbox's
            calibration.
        memory_mb: Address space in MiB, interpreter included (about 40 MiB).
        max_output_bytes: Cap of each of standard output, standard error and the result channel.
        keep_bytes: How much of standard output, and of each result, is of any use to the caller; the rest is not kept. Of
            an output that is longer, one byte more is there to tell; a longer result comes as its length and SHA-256.
    """

    code: str
    mode: Literal["function", "stdio", "check"] = "function"
    entry: str = ""
    calls: tuple[Call, ...] = ()
    setup: str = ""
    stdin: bytes = b""
    test: str = ""
    helpers: str = ""
    timeout_s: float = 5.0
    memory_mb: int = 512
    max_output_bytes: int = 8 * MIB
    keep_bytes: int = 1 << 62


@dataclass(frozen=True)
class CallResult:
    """What one call gave: a line in the wire format that came from untrusted hands, or the exception it raised.

    A result of more than 1 MiB, or of more than the request wanted kept, comes as its length and SHA-256
    (`wire.digest`) only. Nothing is parsed before it is asked for.
    """

    raw: bytes = b""
    error: str | None = None
    digest: tuple[int, str] | None = None

    def value(self) -> Any:
        """The plain value. Raises `WireError` for data that no honest program sends, and when there is no value."""
        if self.error is not None:
            raise WireError(f"the call raised {self.error}")
        if self.digest is not None:
            raise WireError(f"the result of {self.digest[0]} bytes was sent as a digest")
        return from_bytes(self.raw)


@dataclass(frozen=True)
class AssertResult:
    """One assertion of a test program: whether it held, and the message when not."""

    held: bool
    why: str = ""


@dataclass(frozen=True)
class ExecResult:
    """What came of one request; results of calls that finished before a timeout or a crash are kept.

    Of standard output a script that ended well has `keep_bytes`; of other output there are 4 KiB, for a person to read.
    `results` has one entry per finished call, in order. `asserts` are the assertions of a test program, `completed`
    says that it ran to its end, `candidate_calls` how often it called the program. `exit_code` is for the log: no
    verdict rests on it.
    """

    status: Status
    reason: str = ""
    results: tuple[CallResult, ...] = ()
    asserts: tuple[AssertResult, ...] = ()
    completed: bool = False
    candidate_calls: int = 0
    stdout: bytes = b""
    stderr: bytes = b""
    exit_code: int | None = None
    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_mb: float = 0.0


@dataclass(frozen=True)
class Capabilities:
    """What a sandbox can do and how far it can be trusted."""

    level: str
    modes: tuple[str, ...]
    isolated: bool
    """Whether it protects the machine: False for limits alone."""
    workers: int
    time_scale: float = 1.0
    """Factor on time limits from the start-up calibration."""
    protects: tuple[str, ...] = ()
    does_not_protect: tuple[str, ...] = ()


@dataclass(frozen=True)
class SelfTest:
    """Outcome of a self-test: the name of each probe, and "" or what went wrong."""

    probes: dict[str, str]

    @property
    def ok(self) -> bool:
        return bool(self.probes) and not any(self.probes.values())

    def failures(self) -> str:
        return "; ".join(f"{name}: {problem}" for name, problem in self.probes.items() if problem)


@runtime_checkable
class Sandbox(Protocol):
    """Runs programs. The same for the levels of this machine and for remote services."""

    @property
    def capabilities(self) -> Capabilities: ...

    def run_many(self, requests: list[ExecRequest]) -> list[ExecResult]:
        """Results in the order of the requests; a request that cannot be run gives `infra_error`, never an
        exception.
        """
        ...

    def self_test(self) -> SelfTest: ...

    def close(self) -> None: ...
