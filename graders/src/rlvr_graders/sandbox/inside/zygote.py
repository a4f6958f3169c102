"""Forks one jailed child per job and reaps it. Started by `exec`, single-threaded, and without any job's data.

Jobs, inputs and results are files that pass through here as descriptors and are never read, so that a child, which
inherits a copy of this process's memory, inherits nobody else's data. Commands and reports are records of fixed
size: nothing to parse.
"""

import contextlib
import gc
import json
import os
import select
import signal
import socket
import struct
import sys
import time

RUN = 1
COMMAND = struct.Struct("<BBHIddQQ")
"""Operation, cells, flags, job, wall_s, cpu_s, memory_bytes, file_bytes."""
REPORT = struct.Struct("<IBBHddQii")
"""Job, why it was killed, cells that were ready, padding, wall_s, cpu_s, peak memory in KiB, wait status of each
cell.
"""
HAS_STDIN = 1
BY_ITSELF, BY_DEADLINE, BY_CLOSE, BY_THREADS = range(4)

FIRST_FREE, LAST_FREE, READY = 10, 64, 7
MAX_THREADS = 64
POLL_S = 0.02
"""How often deadlines and threads are looked at."""
BLIND_POLL_S = 0.002
"""The same where the end of a child cannot be polled for (a kernel without `pidfd_open`, macOS)."""
STARVED_STRETCH = 3.0

PRELOADED = (
    "abc",
    "array",
    "ast",
    "base64",
    "bisect",
    "builtins",
    "cmath",
    "collections",
    "contextlib",
    "copy",
    "dataclasses",
    "datetime",
    "decimal",
    "enum",
    "fractions",
    "functools",
    "hashlib",
    "heapq",
    "inspect",
    "io",
    "itertools",
    "json",
    "math",
    "numbers",
    "operator",
    "queue",
    "random",
    "re",
    "statistics",
    "string",
    "sys",
    "textwrap",
    "threading",
    "time",
    "traceback",
    "types",
    "typing",
    "unicodedata",
)


class Cell:
    """One child of a job; `status` is its wait status once it is reaped, `fd` tells when it has ended (-1: cannot)."""

    __slots__ = ("fd", "pid", "status")

    def __init__(self, pid: int) -> None:
        self.pid, self.status = pid, None
        try:
            self.fd = os.pidfd_open(pid)
        except (OSError, AttributeError):
            self.fd = -1


class Zygote:
    """The loop: one job at a time, of one cell or, for a test program, of two."""

    def __init__(self, control: socket.socket, jail, run_job) -> None:
        self.control, self.jail, self.run_job = control, jail, run_job
        self.pid = os.getpid()
        self.cells: list[Cell] = []
        self.job, self.killed, self.cpu_s, self.peak = 0, BY_ITSELF, 0.0, 0
        self.wall_s = self.cpu_limit_s = self.started = self.interval_s = 0.0
        self.ready_r, self.ready_w = os.pipe()
        os.set_blocking(self.ready_r, False)
        self.poll = select.poll()
        # While a job runs, a command that came early stays in the socket; only its closing is looked for.
        self.closed = getattr(select, "POLLRDHUP", select.POLLHUP)
        self.poll.register(control, select.POLLIN | self.closed)

    def serve(self) -> None:
        """Until the other end closes, which is also what happens when the trainer dies."""
        while True:
            timeout = None if not self.cells else max(0.0, min(self.interval_s, self._left())) * 1000
            for fd, events in self.poll.poll(timeout):
                if fd == self.control.fileno() and (events & (self.closed | select.POLLHUP) or not self._command()):
                    self._kill(BY_CLOSE)
                    self._reap(block=True)
                    return
            self._reap()
            if self.cells:
                self._watch()

    def _left(self) -> float:
        return self.started + self.wall_s - time.monotonic()

    def _command(self) -> bool:
        data, fds, _, _ = socket.recv_fds(self.control, COMMAND.size, 16)
        if not data:
            return False
        while len(data) < COMMAND.size:
            data += self.control.recv(COMMAND.size - len(data))
        operation, cells, flags, job, wall_s, cpu_s, memory, file_bytes = COMMAND.unpack(data)
        if operation != RUN or self.cells:
            return False
        self.job, self.wall_s, self.cpu_limit_s = job, wall_s, cpu_s
        self.killed, self.cpu_s, self.peak = BY_ITSELF, 0.0, 0
        self.started = time.monotonic()
        limits = {"cpu_s": max(1, int(-(-cpu_s // 1))), "memory_bytes": memory, "file_bytes": file_bytes}
        pipes = [] if cells == 1 else [os.pipe(), os.pipe()]
        for index in range(cells):
            own = [fds.pop(0) for _ in range(4)]
            # Without input, a file of its own too: flags that a program sets on ours would reach the next one.
            own.append(fds.pop(0) if flags & HAS_STDIN else os.open("/dev/null", os.O_RDWR))
            # Cell 0 is the candidate (reads calls, writes answers), cell 1 the test program (the other way round).
            between = () if not pipes else (pipes[0][0], pipes[1][1]) if index == 0 else (pipes[0][1], pipes[1][0])
            self.cells.append(self._fork([own[4], own[2], own[3], own[1], own[0]], between, limits))
            for fd in own:
                os.close(fd)
        for fd in (end for pipe in pipes for end in pipe):
            os.close(fd)
        self.interval_s = POLL_S
        for cell in self.cells:
            if cell.fd >= 0:
                self.poll.register(cell.fd, select.POLLIN)
            else:
                self.interval_s = BLIND_POLL_S
        self.poll.modify(self.control, self.closed)
        return True

    def _fork(self, fds: list, between: tuple, limits: dict) -> Cell:
        pid = os.fork()
        if pid:
            return Cell(pid)
        try:
            for target, fd in enumerate(fds):
                os.dup2(fd, target)
            if between:
                calls, answers = between
                os.dup2(calls, 5)
                os.dup2(answers, 6)
            else:
                os.closerange(5, 7)
            os.dup2(self.ready_w, READY)
            self.jail.put_on(self.pid, **limits)
            os.closerange(READY + 1, LAST_FREE)
            os.write(READY, struct.pack("<i", os.getpid()))
            os.close(READY)  # from here on nobody can claim that the jail failed
            self.run_job()
        except BaseException as problem:
            with contextlib.suppress(OSError):
                os.write(2, f"{type(problem).__name__}: {problem}".encode())
        finally:
            os._exit(1)

    def _watch(self) -> None:
        """Deadlines and thread counts. A job that was runnable but starved of processor time gets a longer deadline."""
        if self._left() <= 0:
            used = sum(map(_cpu_used, (cell.pid for cell in self.cells if cell.status is None)), self.cpu_s)
            elapsed = time.monotonic() - self.started
            starved = 0.1 * elapsed < used < 0.9 * min(self.cpu_limit_s, self.wall_s)
            if not starved or elapsed >= STARVED_STRETCH * self.cpu_limit_s:
                self._kill(BY_DEADLINE)
            else:
                self.wall_s = elapsed + 0.25 * self.cpu_limit_s
        for cell in self.cells:
            if cell.status is None and _threads(cell.pid) > MAX_THREADS:
                self._kill(BY_THREADS)

    def _kill(self, why: int) -> None:
        if self.killed == BY_ITSELF:
            self.killed = why
        for cell in self.cells:
            if cell.status is None:
                os.kill(cell.pid, signal.SIGKILL)

    def _reap(self, *, block: bool = False) -> None:
        for cell in self.cells:
            if cell.status is None:
                pid, status, usage = os.wait4(cell.pid, 0 if block else os.WNOHANG)
                if pid:
                    cell.status = status
                    if cell.fd >= 0:
                        self.poll.unregister(cell.fd)
                        os.close(cell.fd)
                    self.cpu_s += usage.ru_utime + usage.ru_stime
                    self.peak = max(self.peak, usage.ru_maxrss)
        if len(self.cells) == 2 and self.cells[1].status is not None and self.cells[0].status is None:
            os.kill(self.cells[0].pid, signal.SIGKILL)  # the test program is done: so is its candidate
        if self.cells and all(cell.status is not None for cell in self.cells):
            self._report()

    def _report(self) -> None:
        wall_s = time.monotonic() - self.started
        ready = set()
        with contextlib.suppress(BlockingIOError):
            data = os.read(self.ready_r, 4096)
            ready = {pid for (pid,) in struct.iter_unpack("<i", data)}
        count = sum(cell.pid in ready for cell in self.cells)
        statuses = [cell.status for cell in self.cells] + [0] * (2 - len(self.cells))
        self.cells.clear()
        report = REPORT.pack(self.job, self.killed, count, 0, wall_s, self.cpu_s, self.peak, *statuses)
        with contextlib.suppress(OSError):
            self.control.sendall(report)
        self.poll.modify(self.control, select.POLLIN | self.closed)


def _cpu_used(pid: int) -> float:
    """Processor seconds of another process, by its clock (`clock_getcpuclockid(3)`); 0 where there is no such clock."""
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except (OSError, AttributeError):
        return 0.0


def _threads(pid: int) -> int:
    try:
        return os.stat(f"/proc/{pid}/task").st_nlink - 2
    except OSError:
        return 1


def main(control_fd: int, confined: bool) -> None:
    """Say hello on the control socket (or say why not), then serve."""
    # The standard library's hooks make up for threads that a fork lost, and there are none here; they take as long as
    # half of a job. What `random` wants at a fork is done below.
    register_at_fork, os.register_at_fork = os.register_at_fork, lambda **hooks: None
    for name in PRELOADED:
        __import__(name)
    import random

    from . import checker, guest  # noqa: F401  the checker now: no file of ours can be read from inside a jail
    from .jail import Jail

    os.register_at_fork = register_at_fork
    null = os.open("/dev/null", os.O_RDWR)
    placeholders = [null]
    while placeholders[-1] < FIRST_FREE - 1:
        placeholders.append(os.dup(null))
    # The trainer's number may be anything; from here on all descriptors are between FIRST_FREE and LAST_FREE, where a
    # child closes them.
    control = socket.socket(fileno=os.dup(control_fd))
    if control_fd < FIRST_FREE:
        os.dup2(null, control_fd)
    else:
        os.close(control_fd)
    os.closerange(LAST_FREE, 65536)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    guest.open_streams()
    guest.warm_up()
    random.seed(0)  # the same program and input give the same answer in every run
    try:
        jail = Jail(confined=confined)
        served = Zygote(control, jail, guest.main)
        jail.prepare()
    except OSError as problem:
        _hello(control, {"ok": False, "reason": str(problem)})
        return
    _hello(control, {"ok": True, "pid": os.getpid(), "abi": jail.abi})
    gc.collect()
    gc.freeze()
    gc.disable()
    served.serve()


def _hello(control: socket.socket, message: dict) -> None:
    data = json.dumps(message).encode()
    control.sendall(struct.pack("<I", len(data)) + data)


if __name__ == "__main__":
    sys.exit("started by its parent only")
