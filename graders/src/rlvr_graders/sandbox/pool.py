"""A pool of zygotes: the local sandbox, at whatever level its zygotes are started."""

import os
import threading
import weakref

from .batch import Batch
from .interface import Capabilities, ExecRequest, ExecResult, SelfTest
from .worker import Worker, WorkerLost

RECYCLE_AFTER = 1000
"""Jobs after which a zygote is replaced: what a long life might collect (fragmented memory, a leak) stays bounded."""


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
        self.closing = False
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
            return Batch(self, requests).run()

    def close(self) -> None:
        """End all zygotes and wait for them; a batch that another thread runs ends with them. May be called twice."""
        self._belong_here()
        self.closing = True
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
        for worker in [worker for worker in self._workers if worker.process.poll() is not None]:
            worker.kill()
            self._workers.remove(worker)
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


def _close_all(workers: list[Worker], owner: int) -> None:
    if os.getpid() != owner:
        return
    while workers:
        workers.pop().close()


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
