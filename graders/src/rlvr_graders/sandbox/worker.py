"""One zygote as the trainer sees it: a child process, a control socket, a job that runs and one that waits behind it."""

import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .inside import zygote as remote

INSIDE = Path(__file__).parent / "inside"
START_DEADLINE_S = 30.0
GRACE_S = 5.0
"""What a zygote gets beyond the longest deadline of its job before it counts as lost."""


class WorkerLost(Exception):
    """The zygote died, does not answer, or never started; the message says which."""


@dataclass
class Files:
    """The files of one cell: sealed job and input, and the three that the program writes to and only we can read."""

    job: int
    stdin: int | None
    result: int = field(default_factory=lambda: _memory_file("result"))
    stdout: int = field(default_factory=lambda: _memory_file("stdout"))
    stderr: int = field(default_factory=lambda: _memory_file("stderr"))

    def __post_init__(self) -> None:
        self._given = [self.job, *map(_write_only, (self.result, self.stdout, self.stderr))]
        self._given += [] if self.stdin is None else [self.stdin]

    def descriptors(self) -> list[int]:
        """What the program gets."""
        return self._given

    def read(self, fd: int, limit: int) -> bytes:
        """The content, up to one byte more than the limit."""
        parts, at, size = [], 0, min(os.fstat(fd).st_size, limit + 1)
        while at < size and (part := os.pread(fd, min(1 << 20, size - at), at)):
            parts.append(part)
            at += len(part)
        return b"".join(parts)

    def close(self) -> None:
        for fd in (*self._given, self.result, self.stdout, self.stderr):
            os.close(fd)


@dataclass(frozen=True)
class Report:
    """How a job's processes ended, as told by the zygote."""

    job: int
    killed: int
    ready: int
    wall_s: float
    cpu_s: float
    peak_mb: float
    statuses: tuple[int, int]


class Worker:
    """Starts a zygote and talks to it.

    Args:
        confined: Whether children put on Landlock and the filter.
        launcher: Command words before the interpreter (bubblewrap and its options), or none.

    Raises:
        WorkerLost: It could not be started. `ready` tells whether it came up.
    """

    def __init__(self, *, confined: bool, launcher: tuple[str, ...] = ()) -> None:
        self.jobs_done = 0
        self.control, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._words = tempfile.TemporaryFile()  # noqa: SIM115
        with far:
            os.set_inheritable(far.fileno(), True)
            boot = (
                "import importlib.util as u, sys;"
                f"s = u.spec_from_file_location('inside', {str(INSIDE / '__init__.py')!r});"
                "m = u.module_from_spec(s); sys.modules['inside'] = m; s.loader.exec_module(m);"
                f"from inside import zygote; zygote.main({far.fileno()}, {confined})"
            )
            try:
                self.process = subprocess.Popen(
                    [*launcher, interpreter(), *INTERPRETER_OPTIONS, "-c", boot],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=self._words,
                    pass_fds=[far.fileno()],
                    env=environment(),
                    cwd="/",
                    start_new_session=True,
                )
            except OSError as problem:
                self.control.close()
                self._words.close()
                raise WorkerLost(f"the zygote could not be started: {problem}") from None

    def ready(self) -> dict[str, Any]:
        """Wait for the zygote's first words and return them. Raises `WorkerLost`."""
        try:
            self.control.settimeout(START_DEADLINE_S)
            (size,) = struct.unpack("<I", self._receive(4))
            hello = json.loads(self._receive(size))
        except (OSError, ValueError, WorkerLost) as problem:
            self.kill()
            self._words.seek(0)
            last = self._words.read(4096).decode(errors="replace").strip().splitlines()[-1:]
            raise WorkerLost(f"the zygote did not start: {' '.join([str(problem), *last])}") from None
        finally:
            self._words.close()
        if not hello.get("ok"):
            self.kill()
            raise WorkerLost(str(hello.get("reason")))
        self.control.settimeout(GRACE_S)
        return hello

    def _receive(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self.control.recv(size - len(data))
            if not part:
                raise WorkerLost("the zygote closed its control socket")
            data += part
        return data

    def fileno(self) -> int:
        return self.control.fileno()

    def start(self, job: int, cells: list[Files], *, timeout_s: float, memory_bytes: int, file_bytes: int) -> None:
        """Hand over one job. Raises `WorkerLost`."""
        flags = remote.HAS_STDIN if cells[0].stdin is not None else 0
        command = remote.COMMAND.pack(remote.RUN, len(cells), flags, job, timeout_s, timeout_s, memory_bytes, file_bytes)
        try:
            sent = socket.send_fds(self.control, [command], [fd for cell in cells for fd in cell.descriptors()])
            if sent < len(command):
                self.control.sendall(command[sent:])
        except OSError as problem:
            raise WorkerLost(f"the zygote is gone: {problem}") from None

    def report(self) -> Report:
        """The report of the job at hand; call it when the socket is readable. Raises `WorkerLost`."""
        try:
            fields = remote.REPORT.unpack(self._receive(remote.REPORT.size))
        except OSError as problem:
            raise WorkerLost(f"the zygote is gone: {problem}") from None
        job, killed, ready, _, wall_s, cpu_s, peak, *statuses = fields
        self.jobs_done += 1
        return Report(job, killed, ready, wall_s, cpu_s, peak / 1024, tuple(statuses))

    def close(self) -> None:
        """Let it end by itself (it kills and reaps its child first); by force when it does not."""
        with contextlib.suppress(OSError):
            self.control.close()
        try:
            self.process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it and what it started: children ask for the kernel's death signal when their zygote dies."""
        with contextlib.suppress(OSError):
            self.control.close()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def abandon(self) -> None:
        """Forget it without touching it: it belongs to the process that this one was forked from."""
        self.control.close()
        self.process.returncode = 0


INTERPRETER_OPTIONS = ("-s", "-S", "-P", "-B", "-X", "utf8")
"""`-I` without its `-E`: the environment is made here, word by word, and its one Python setting fixes the hash seed."""


def interpreter() -> str:
    """The real interpreter below a virtual environment, so that neither its start nor its imports look into the
    environment.
    """
    return os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)


def environment() -> dict[str, str]:
    """All that a zygote inherits. A fixed hash seed makes the order of sets, and with it a reward, the same in
    every run.
    """
    variables = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONHASHSEED": "0", "HOME": "/nonexistent"}
    if library_path := os.environ.get("LD_LIBRARY_PATH"):
        variables["LD_LIBRARY_PATH"] = library_path
    return variables


def _memory_file(name: str) -> int:
    """An anonymous file. Its size is bounded by the child's file size limit, and nobody has to read while the
    program runs.
    """
    if hasattr(os, "memfd_create"):
        return os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _write_only(fd: int) -> int:
    """Another descriptor of an anonymous file, for writing only, and no way to open it for reading.

    What can be read can be mapped as code: the program would write machine code and run it.
    """
    if not hasattr(os, "memfd_create"):
        return os.dup(fd)
    os.fchmod(fd, 0o200)
    return os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_CLOEXEC)


def sealed_file(data: bytes) -> int:
    """An anonymous file with this content that nobody can change."""
    fd = _memory_file("job")
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
    os.lseek(fd, 0, os.SEEK_SET)
    if hasattr(os, "memfd_create"):
        import fcntl

        seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd
