"""The local sandbox: a pool of zygotes, at whatever level they are started.

`Pool` is the interface, `Zygotes` starts, replaces and ends the processes, and `Batch` schedules the requests of one call
on them. A batch uses the public methods of `Zygotes` and nothing of `Pool`.
"""

import os
import select
import threading
import time
import weakref
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from . import protocol
from .inside.zygote import STARVED_STRETCH
from .interface import MIB, Capabilities, ExecRequest, ExecResult, SelfTest
from .worker import GRACE_S, Files, Worker, WorkerLost, sealed_file

RECYCLE_AFTER = 1000
"""Jobs after which a zygote is replaced: this bounds what a long life could accumulate (fragmented memory, a leak)."""

ATTEMPTS = 2
"""Zygotes that may die under one job before the job's result is `infra_error`."""

MAX_LIMIT_S = 1e9
LONGEST_WAIT_S = 0.5
"""A batch wakes up at least this often, to see whether the pool is being closed."""


class Pool:
    """Runs requests on zygotes of this machine. Safe to call from several threads; their batches run one after the other.

    Args:
        level: Name, for records.
        confined: Whether programs are confined by Landlock and the system call filter.
        launcher: Command words before the interpreter, or none.
        workers: Zygotes, each running one job at a time; by default as many as this process may use processors.
        protects: What this level protects against, in words.
        does_not_protect: What it does not.
        recycle_after: Jobs after which a zygote is replaced.

    Raises:
        WorkerLost: No zygote can be started this way on this machine.
    """

    def __init__(
        self,
        *,
        level: str,
        confined: bool,
        launcher: tuple[str, ...] = (),
        workers: int | None = None,
        protects: tuple[str, ...] = (),
        does_not_protect: tuple[str, ...] = (),
        recycle_after: int = RECYCLE_AFTER,
    ) -> None:
        self.level, self.time_scale = level, 1.0
        self._protects, self._does_not_protect = protects, does_not_protect
        self._closed = False
        self.zygotes = Zygotes(workers or _processors(), confined=confined, launcher=launcher, recycle_after=recycle_after)
        self._own_process()
        self.zygotes.fill()

    def _own_process(self) -> None:
        self._owner, self._lock = os.getpid(), threading.Lock()
        self._finalizer = weakref.finalize(self, self.zygotes.close)

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            level=self.level,
            modes=("function", "stdio", "check"),
            isolated=self.zygotes.confined,
            workers=self.zygotes.count,
            time_scale=self.time_scale,
            protects=self._protects,
            does_not_protect=self._does_not_protect,
        )

    def self_test(self) -> SelfTest:
        from .selftest import self_test

        return self_test(self)

    def calibrate(self) -> float:
        """Measure this machine against the reference and scale time limits by the result; returns the factor, 1 or more."""
        from .selftest import calibrate

        self.time_scale = calibrate(self)
        return self.time_scale

    def run_many(self, requests: list[ExecRequest]) -> list[ExecResult]:
        """Results in the order of the requests. What cannot be run gives `infra_error`; nothing is raised for one item."""
        self._renew_after_fork()
        with self._lock:
            if self._closed:
                return [ExecResult("infra_error", "the sandbox is closed") for _ in requests]
            return Batch(self.zygotes, requests, self.time_scale).run()

    def close(self) -> None:
        """End all zygotes and wait for them; a batch that another thread runs ends with them. May be called twice."""
        self._renew_after_fork()
        self.zygotes.closing = True
        with self._lock:
            self._closed = True
            self._finalizer()

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _renew_after_fork(self) -> None:
        """A fork of the trainer (a data loader's worker) gets zygotes of its own: a socket has one reader."""
        if self._owner == os.getpid():
            return
        self._finalizer.detach()
        self.zygotes = self.zygotes.renewed_after_fork()
        self._own_process()


class Zygotes:
    """The processes of one pool. For one thread at a time; `closing` may be set by any.

    Args:
        count: How many there should be.
        confined: Whether programs are confined by Landlock and the system call filter.
        launcher: Command words before the interpreter, or none.
        recycle_after: Jobs after which one is due for replacement.
    """

    def __init__(self, count: int, *, confined: bool, launcher: tuple[str, ...], recycle_after: int) -> None:
        self.count, self.confined, self.launcher, self.recycle_after = count, confined, launcher, recycle_after
        self.workers: list[Worker] = []
        self.closing = False
        self.hello: dict[str, Any] = {}
        """What the zygote started last reported about itself."""
        self._owner, self._jobs = os.getpid(), 0

    def fill(self) -> None:
        """Start what is missing, all at once.

        Raises:
            WorkerLost: There is not a single zygote in the end.
        """
        for worker in [worker for worker in self.workers if worker.process.poll() is not None]:
            self.end(worker, force=True)
        fresh, problem = [], None
        for _ in range(self.count - len(self.workers)):
            try:
                fresh.append(Worker(confined=self.confined, launcher=self.launcher))
            except WorkerLost as lost:
                problem = lost
        for worker in fresh:
            try:
                self.hello = worker.ready()
                self.workers.append(worker)
            except WorkerLost as lost:
                problem = lost
        if not self.workers:
            raise problem or WorkerLost("no zygote")

    def is_due(self, worker: Worker, ahead: int = 0) -> bool:
        """Whether a zygote is to be replaced once it has done `ahead` more jobs."""
        return worker.jobs_done + ahead >= self.recycle_after

    def next_job(self) -> int:
        """The number of a job; each is used once within 2^32."""
        self._jobs = self._jobs % 0xFFFFFFFF + 1
        return self._jobs

    def end(self, worker: Worker, *, force: bool = False) -> None:
        """End one zygote and what it runs; with `force`, without waiting for it to leave by itself."""
        if worker in self.workers:
            self.workers.remove(worker)
        (worker.kill if force else worker.close)()

    def close(self) -> None:
        """End all of them; does nothing in a fork of the process that started them."""
        if os.getpid() == self._owner:
            while self.workers:
                self.workers.pop().close()

    def renewed_after_fork(self) -> "Zygotes":
        """The same settings with no process yet; those inherited from the parent are released without being ended."""
        for worker in self.workers:
            worker.abandon()
        return Zygotes(self.count, confined=self.confined, launcher=self.launcher, recycle_after=self.recycle_after)


@dataclass
class _Job:
    index: int
    request: ExecRequest
    limit_s: float
    cells: list[Files] = field(default_factory=list)
    attempts: int = 0

    def open(self) -> None:
        stdio = self.request.mode == "stdio"
        for payload in protocol.payloads(self.request):
            self.cells.append(Files(sealed_file(payload), sealed_file(self.request.stdin) if stdio else None))

    def close(self) -> None:
        while self.cells:
            self.cells.pop().close()


@dataclass
class _Slot:
    """A zygote with its jobs: the first one runs; a second one waits in the socket, so that the zygote is never idle."""

    worker: Worker
    jobs: deque[_Job] = field(default_factory=deque)
    deadline: float = 0.0

    def begin(self) -> None:
        if self.jobs:
            self.deadline = time.monotonic() + STARVED_STRETCH * self.jobs[0].limit_s + GRACE_S


class Batch:
    """The requests of one `run_many`, scheduled on zygotes.

    Args:
        zygotes: Where they run; missing ones are started.
        requests: What to run. One that is no request, or has an impossible time limit, gives `infra_error`.
        time_scale: Factor on the time limits of the requests.
    """

    def __init__(self, zygotes: Zygotes, requests: list[ExecRequest], time_scale: float) -> None:
        self.zygotes = zygotes
        self.results: list[ExecResult | None] = [None] * len(requests)
        self.waiting: deque[_Job] = deque()
        for index, request in enumerate(requests):
            try:
                limit_s = float(request.timeout_s) * time_scale
                if not 0 < limit_s < MAX_LIMIT_S:
                    raise ValueError(f"a time limit of {limit_s} s")
                self.waiting.append(_Job(index, request, limit_s))
            except (AttributeError, TypeError, ValueError, OverflowError) as problem:
                self.results[index] = ExecResult("infra_error", f"not a request: {problem}")
        self.slots: dict[int, _Slot] = {}
        self.poll = select.poll()

    def run(self) -> list[ExecResult]:
        """Results in the order of the requests."""
        try:
            while (self.waiting or self._busy()) and not self.zygotes.closing:
                self._start_jobs()
                self._collect()
        finally:  # after an interrupt or a close jobs still run: their zygotes are ended, and the jobs with them
            for slot in self._busy():
                self._end(slot)
                for job in slot.jobs:
                    job.close()
        return [result or ExecResult("infra_error", "never ran") for result in self.results]

    def _busy(self) -> list[_Slot]:
        return [slot for slot in self.slots.values() if slot.jobs]

    def _start_jobs(self) -> None:
        if self.waiting and len(self.zygotes.workers) < self.zygotes.count:
            try:
                self.zygotes.fill()
            except WorkerLost as lost:
                while self.waiting:
                    self.results[self.waiting.popleft().index] = ExecResult("infra_error", str(lost))
                return
        for worker in self.zygotes.workers:
            if worker.fileno() not in self.slots:
                self.slots[worker.fileno()] = _Slot(worker)
                self.poll.register(worker.fileno(), select.POLLIN)
        for depth in (0, 1):
            for slot in list(self.slots.values()):
                # No job is queued behind a running one near the end of a batch, since another zygote may be free sooner,
                # nor on a zygote that is due for replacement.
                due = depth and self.zygotes.is_due(slot.worker, ahead=depth)
                while not due and len(slot.jobs) == depth and len(self.waiting) > depth * len(self.slots):
                    if not self._start(slot, self.waiting.popleft()):
                        break

    def _start(self, slot: _Slot, job: _Job) -> bool:
        """Give a job to a zygote; False when the zygote turned out to be gone."""
        job.attempts += 1
        request = job.request
        try:
            job.open()
            slot.worker.start(
                self.zygotes.next_job(),
                job.cells,
                timeout_s=job.limit_s,
                memory_bytes=request.memory_mb * MIB,
                file_bytes=request.max_output_bytes,
            )
        except WorkerLost as lost:
            slot.jobs.append(job)
            self._lost(slot, lost)
            return False
        except Exception as problem:  # arguments that are not plain data, no descriptors left: a fault of this request
            job.close()
            self.results[job.index] = ExecResult("infra_error", f"cannot be sent: {type(problem).__name__}: {problem}")
            return True
        slot.jobs.append(job)
        if len(slot.jobs) == 1:
            slot.begin()
        return True

    def _collect(self) -> None:
        """Wait for the next reports and read their results; zygotes past their deadline count as lost."""
        busy = self._busy()
        if not busy:
            return
        patience = max(0.0, min(slot.deadline for slot in busy) - time.monotonic())
        for fd, _ in self.poll.poll(min(patience, LONGEST_WAIT_S) * 1000 + 1):
            slot = self.slots[fd]
            try:
                report = slot.worker.report()
            except WorkerLost as lost:
                self._lost(slot, lost)
                continue
            job = slot.jobs.popleft()
            slot.begin()
            try:
                self.results[job.index] = protocol.read_result(job.request, report, job.cells, job.limit_s)
            except Exception as problem:  # an error of this package must not look like a wrong program
                self.results[job.index] = ExecResult("infra_error", f"unreadable: {type(problem).__name__}: {problem}")
            job.close()
            if self.zygotes.is_due(slot.worker) and not slot.jobs:
                self._end(slot)
        now = time.monotonic()
        for slot in busy:
            if slot.jobs and slot.deadline < now:
                self._lost(slot, WorkerLost("the zygote does not answer"))

    def _lost(self, slot: _Slot, why: WorkerLost) -> None:
        """A zygote died under its jobs: they are run again elsewhere, up to `ATTEMPTS` times."""
        self._end(slot, force=True)
        for at, job in enumerate(slot.jobs):
            job.close()
            job.attempts -= at > 0  # the job that waited was not the cause
        for job in reversed(slot.jobs):
            if job.attempts < ATTEMPTS:
                self.waiting.appendleft(job)
            else:
                self.results[job.index] = ExecResult("infra_error", str(why))
        slot.jobs.clear()

    def _end(self, slot: _Slot, *, force: bool = False) -> None:
        fd = slot.worker.fileno()
        if fd in self.slots:
            self.poll.unregister(fd)
            del self.slots[fd]
        self.zygotes.end(slot.worker, force=force)


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
