"""A pool of zygotes: the local sandbox, at whatever level its zygotes are started."""

import os
import select
import threading
import time
import weakref
from collections import deque
from dataclasses import dataclass, field

from . import protocol
from .types import MIB, Capabilities, ExecRequest, ExecResult, SelfTest
from .worker import Files, Worker, WorkerLost, sealed_file

RECYCLE_AFTER = 1000
"""Jobs after which a zygote is replaced: what a long life might collect (fragmented memory, a leak) stays bounded."""
ATTEMPTS = 2


@dataclass
class _Job:
    index: int
    request: ExecRequest
    limit_s: float
    cells: list[Files] = field(default_factory=list)
    attempts: int = 0

    def close(self) -> None:
        while self.cells:
            self.cells.pop().close()


class Pool:
    """Runs requests on zygotes of this machine. Safe to call from several threads; their batches run one after the
    other.

    Args:
        level: Name, for records.
        confined: Whether programs put on Landlock and the system call filter.
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
        self.level, self.confined, self.launcher = level, confined, launcher
        self.count = workers or _processors()
        self.recycle_after = recycle_after
        self.time_scale = 1.0
        self._protects, self._does_not_protect = protects, does_not_protect
        self._lock, self._owner, self._closed, self._next = threading.Lock(), os.getpid(), False, 0
        self._workers: list[Worker] = []
        self._finalizer = weakref.finalize(self, _close_all, self._workers, self._owner)
        self._fill()
        self.hello = self._hello

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            level=self.level,
            modes=("function", "stdio", "check"),
            isolated=self.confined,
            workers=self.count,
            time_scale=self.time_scale,
            protects=self._protects,
            does_not_protect=self._does_not_protect,
        )

    def self_test(self) -> SelfTest:
        from .selftest import self_test

        return self_test(self)

    def calibrate(self) -> float:
        """Measure this machine against the reference and scale time limits by the result; returns the factor, 1 or
        more.
        """
        from .selftest import calibrate

        self.time_scale = calibrate(self)
        return self.time_scale

    def run_many(self, requests: list[ExecRequest]) -> list[ExecResult]:
        """Results in the order of the requests. What cannot be run gives `infra_error`; nothing is raised for one
        item.
        """
        self._belong_here()
        with self._lock:
            if self._closed:
                return [ExecResult("infra_error", "the sandbox is closed") for _ in requests]
            return _Batch(self, requests).run()

    def close(self) -> None:
        """End all zygotes and wait for them. May be called twice."""
        self._belong_here()
        with self._lock:
            self._closed = True
            self._finalizer()

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _belong_here(self) -> None:
        """After a fork of the trainer (a data loader's worker) the copy gets zygotes of its own: a socket has one
        reader.
        """
        if self._owner == os.getpid():
            return
        self._finalizer.detach()
        for worker in self._workers:
            worker.abandon()
        self._workers = []
        self._lock, self._owner = threading.Lock(), os.getpid()
        self._finalizer = weakref.finalize(self, _close_all, self._workers, self._owner)

    def _fill(self) -> None:
        """Start what is missing, all at once. Raises `WorkerLost` when not a single zygote is there in the end."""
        fresh, problem = [], None
        for _ in range(self.count - len(self._workers)):
            try:
                fresh.append(Worker(confined=self.confined, launcher=self.launcher))
            except WorkerLost as lost:
                problem = lost
        for worker in fresh:
            try:
                self._hello = worker.ready()
                self._workers.append(worker)
            except WorkerLost as lost:
                problem = lost
        if not self._workers:
            raise problem or WorkerLost("no zygote")

    def _next_job(self) -> int:
        self._next = self._next % 0xFFFFFFFF + 1
        return self._next


class _Batch:
    """One call of `run_many`."""

    def __init__(self, pool: Pool, requests: list[ExecRequest]) -> None:
        self.pool = pool
        self.results: list[ExecResult | None] = [None] * len(requests)
        self.waiting: deque[_Job] = deque()
        for index, request in enumerate(requests):
            try:
                self.waiting.append(_Job(index, request, float(request.timeout_s) * pool.time_scale))
            except (AttributeError, TypeError, ValueError) as problem:
                self.results[index] = ExecResult("infra_error", f"not a request: {problem}")
        self.running: dict[int, tuple[Worker, _Job]] = {}
        self.poll = select.poll()

    def run(self) -> list[ExecResult]:
        try:
            while self.waiting or self.running:
                self._hand_out()
                self._collect()
        finally:  # an interrupt leaves jobs in flight: their zygotes go, and take the jobs with them
            for worker, job in list(self.running.values()):
                self._drop(worker)
                job.close()
        return [result or ExecResult("infra_error", "never ran") for result in self.results]

    def _hand_out(self) -> None:
        if self.waiting and len(self.pool._workers) < self.pool.count:
            try:
                self.pool._fill()
            except WorkerLost as lost:
                while self.waiting:
                    self.results[self.waiting.popleft().index] = ExecResult("infra_error", str(lost))
                return
        busy = {id(worker) for worker, _ in self.running.values()}
        for worker in list(self.pool._workers):
            while self.waiting and id(worker) not in busy and not self._start(worker, self.waiting.popleft()):
                pass

    def _start(self, worker: Worker, job: _Job) -> bool:
        """Give a job to a worker; True when the worker is now taken (or gone)."""
        job.attempts += 1
        request = job.request
        try:
            self._open(job)
            worker.start(
                self.pool._next_job(),
                job.cells,
                timeout_s=job.limit_s,
                memory_bytes=request.memory_mb * MIB,
                file_bytes=request.max_output_bytes,
            )
        except WorkerLost as lost:
            self._lost(worker, job, lost)
            return True
        except Exception as problem:  # arguments that are not plain data, no descriptors left: this request's trouble
            job.close()
            self.results[job.index] = ExecResult("infra_error", f"cannot be sent: {type(problem).__name__}: {problem}")
            return False
        self.running[worker.fileno()] = (worker, job)
        self.poll.register(worker.fileno(), select.POLLIN)
        return True

    @staticmethod
    def _open(job: _Job) -> None:
        stdio = job.request.mode == "stdio"
        for payload in protocol.payloads(job.request):
            stdin = sealed_file(job.request.stdin) if stdio else None
            job.cells.append(Files(sealed_file(payload), stdin))

    def _collect(self) -> None:
        if not self.running:
            return
        patience = max(0.0, min(worker.busy_until for worker, _ in self.running.values()) - time.monotonic())
        for fd, _ in self.poll.poll(patience * 1000 + 1):
            worker, job = self._take(fd)
            try:
                report = worker.report()
            except WorkerLost as lost:
                self._lost(worker, job, lost)
                continue
            try:
                self.results[job.index] = protocol.read_result(job.request, report, job.cells, job.limit_s)
            except Exception as problem:  # a bug of ours must not look like a wrong program
                self.results[job.index] = ExecResult("infra_error", f"unreadable: {type(problem).__name__}: {problem}")
            job.close()
            if worker.jobs_done >= self.pool.recycle_after:
                self._drop(worker)
        now = time.monotonic()
        for fd in [fd for fd, (worker, _) in self.running.items() if worker.busy_until < now]:
            self._lost(*self._take(fd), WorkerLost("the zygote does not answer"))

    def _take(self, fd: int) -> tuple[Worker, _Job]:
        self.poll.unregister(fd)
        return self.running.pop(fd)

    def _lost(self, worker: Worker, job: _Job, why: WorkerLost) -> None:
        """A zygote died under a job: another one gets a try, and if that dies too the sandbox is what failed."""
        job.close()
        self._drop(worker, force=True)
        if job.attempts < ATTEMPTS:
            self.waiting.appendleft(job)
        else:
            self.results[job.index] = ExecResult("infra_error", str(why))

    def _drop(self, worker: Worker, *, force: bool = False) -> None:
        if worker in self.pool._workers:
            self.pool._workers.remove(worker)
        (worker.kill if force else worker.close)()


def _close_all(workers: list[Worker], owner: int) -> None:
    if os.getpid() != owner:
        return
    while workers:
        workers.pop().close()


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
