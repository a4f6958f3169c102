"""One batch of requests on its way through a pool's zygotes."""

import select
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from . import protocol
from .inside.zygote import STARVED_STRETCH
from .interface import MIB, ExecRequest, ExecResult
from .worker import GRACE_S, Files, Worker, WorkerLost, sealed_file

if TYPE_CHECKING:
    from .pool import Pool

ATTEMPTS = 2
"""How many zygotes may die under a job before the sandbox counts as what failed."""

MAX_LIMIT_S = 1e9
LONGEST_WAIT_S = 0.5
"""Whoever waits longer waits again, and sees in between whether the pool is being closed."""


@dataclass
class Job:
    index: int
    request: ExecRequest
    limit_s: float
    cells: list[Files] = field(default_factory=list)
    attempts: int = 0

    def close(self) -> None:
        while self.cells:
            self.cells.pop().close()


@dataclass
class Seat:
    """A worker with its jobs: the first one runs, a second one waits in its socket so that it never has to wait for us."""

    worker: Worker
    jobs: deque[Job] = field(default_factory=deque)
    deadline: float = 0.0

    def begin(self) -> None:
        if self.jobs:
            self.deadline = time.monotonic() + STARVED_STRETCH * self.jobs[0].limit_s + GRACE_S


class Batch:
    """One call of `run_many`."""

    def __init__(self, pool: "Pool", requests: list[ExecRequest]) -> None:
        self.pool = pool
        self.results: list[ExecResult | None] = [None] * len(requests)
        self.waiting: deque[Job] = deque()
        for index, request in enumerate(requests):
            try:
                limit_s = float(request.timeout_s) * pool.time_scale
                if not 0 < limit_s < MAX_LIMIT_S:
                    raise ValueError(f"a time limit of {limit_s} s")
                self.waiting.append(Job(index, request, limit_s))
            except (AttributeError, TypeError, ValueError, OverflowError) as problem:
                self.results[index] = ExecResult("infra_error", f"not a request: {problem}")
        self.seats: dict[int, Seat] = {}
        self.poll = select.poll()

    def run(self) -> list[ExecResult]:
        try:
            while (self.waiting or self._busy()) and not self.pool.closing:
                self._hand_out()
                self._collect()
        finally:  # an interrupt or a closing leaves jobs in flight: their zygotes go, and take the jobs with them
            for seat in self._busy():
                self._leave(seat)
                for job in seat.jobs:
                    job.close()
        return [result or ExecResult("infra_error", "never ran") for result in self.results]

    def _busy(self) -> list[Seat]:
        return [seat for seat in self.seats.values() if seat.jobs]

    def _hand_out(self) -> None:
        if self.waiting and len(self.pool._workers) < self.pool.count:
            try:
                self.pool._fill()
            except WorkerLost as lost:
                while self.waiting:
                    self.results[self.waiting.popleft().index] = ExecResult("infra_error", str(lost))
                return
        for worker in self.pool._workers:
            if worker.fileno() not in self.seats:
                self.seats[worker.fileno()] = Seat(worker)
                self.poll.register(worker.fileno(), select.POLLIN)
        for depth in (0, 1):
            for seat in list(self.seats.values()):
                # Nothing is put behind a running job near the end of a batch: another worker may be free sooner.
                # Nor before a zygote that is due to be replaced.
                due = depth and seat.worker.jobs_done + depth >= self.pool.recycle_after
                while not due and len(seat.jobs) == depth and len(self.waiting) > depth * len(self.seats):
                    if not self._start(seat, self.waiting.popleft()):
                        break

    def _start(self, seat: Seat, job: Job) -> bool:
        """Give a job to a worker; False when the worker turned out to be gone."""
        job.attempts += 1
        request = job.request
        try:
            self._open(job)
            seat.worker.start(
                self.pool._next_job(),
                job.cells,
                timeout_s=job.limit_s,
                memory_bytes=request.memory_mb * MIB,
                file_bytes=request.max_output_bytes,
            )
        except WorkerLost as lost:
            seat.jobs.append(job)
            self._lost(seat, lost)
            return False
        except Exception as problem:  # arguments that are not plain data, no descriptors left: this request's trouble
            job.close()
            self.results[job.index] = ExecResult("infra_error", f"cannot be sent: {type(problem).__name__}: {problem}")
            return True
        seat.jobs.append(job)
        if len(seat.jobs) == 1:
            seat.begin()
        return True

    @staticmethod
    def _open(job: Job) -> None:
        stdio = job.request.mode == "stdio"
        for payload in protocol.payloads(job.request):
            stdin = sealed_file(job.request.stdin) if stdio else None
            job.cells.append(Files(sealed_file(payload), stdin))

    def _collect(self) -> None:
        busy = self._busy()
        if not busy:
            return
        patience = max(0.0, min(seat.deadline for seat in busy) - time.monotonic())
        for fd, _ in self.poll.poll(min(patience, LONGEST_WAIT_S) * 1000 + 1):
            seat = self.seats[fd]
            try:
                report = seat.worker.report()
            except WorkerLost as lost:
                self._lost(seat, lost)
                continue
            job = seat.jobs.popleft()
            seat.begin()
            try:
                self.results[job.index] = protocol.read_result(job.request, report, job.cells, job.limit_s)
            except Exception as problem:  # a bug of ours must not look like a wrong program
                self.results[job.index] = ExecResult("infra_error", f"unreadable: {type(problem).__name__}: {problem}")
            job.close()
            if seat.worker.jobs_done >= self.pool.recycle_after and not seat.jobs:
                self._leave(seat)
        now = time.monotonic()
        for seat in busy:
            if seat.jobs and seat.deadline < now:
                self._lost(seat, WorkerLost("the zygote does not answer"))

    def _lost(self, seat: Seat, why: WorkerLost) -> None:
        """A zygote died under its jobs: another one gets a try, and if that dies too the sandbox is what failed."""
        self._leave(seat, force=True)
        for at, job in enumerate(seat.jobs):
            job.close()
            job.attempts -= at > 0  # the one behind was not the cause
        for job in reversed(seat.jobs):
            if job.attempts < ATTEMPTS:
                self.waiting.appendleft(job)
            else:
                self.results[job.index] = ExecResult("infra_error", str(why))
        seat.jobs.clear()

    def _leave(self, seat: Seat, *, force: bool = False) -> None:
        fd = seat.worker.fileno()
        if fd in self.seats:
            self.poll.unregister(fd)
            del self.seats[fd]
        if seat.worker in self.pool._workers:
            self.pool._workers.remove(seat.worker)
        (seat.worker.kill if force else seat.worker.close)()
