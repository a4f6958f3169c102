"""The caller's side of the math worker: a separate interpreter, so that a hang, a memory leak or a crash does not affect the
caller.

math-verify limits itself by signals (main thread only) or not at all, and sympy can hold the interpreter lock for
minutes. So it runs in a process of its own, started as `python -I` on a file, never forked from the trainer. The
caller waits on a pipe, which releases the lock, and kills the process when the deadline has passed. Any thread may
ask; a process forked from the trainer (a data loader) forgets the inherited workers and starts its own.
"""

import atexit
import json
import os
import selectors
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

MAX_MESSAGE_BYTES = 65_536
START_DEADLINE_S = 120.0
"""Longest time for the interpreter and its imports to come up; not part of any verdict's deadline."""

MAX_WORKERS = 2
"""Processes at most, per trainer process; more threads than this wait for one another."""

RECYCLE_AFTER = 5_000
"""Requests after which a worker is replaced: sympy's caches only grow."""


class WorkerTimeout(Exception):
    """No reply within the deadline; the worker was killed."""


class WorkerFailed(Exception):
    """No reply because the worker could not start, died or broke the protocol."""


class MathWorker:
    """One worker process, started on first use. Not safe to share between threads; `ask` below is."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._greeted = False
        self._served = 0

    @property
    def ready(self) -> bool:
        """Whether it is up: a request would not wait for the interpreter to start."""
        if self._process is None or self._process.stdout is None or self._process.poll() is not None:
            return False
        if self._greeted:
            return True
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            return bool(selector.select(0))

    def start(self) -> None:
        """Starts the process without waiting for it to come up."""
        if self._process is not None:
            return
        child = Path(__file__).with_name("worker_child.py")
        keep = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "SYSTEMROOT", "HOME")
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", str(child)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                start_new_session=True,  # Ctrl-C is for the trainer
                env={name: os.environ[name] for name in keep if name in os.environ},
            )
        except (OSError, TypeError) as error:
            raise WorkerFailed(f"the math worker could not start: {error}") from error
        self._greeted, self._served = False, 0

    def ask(self, request: dict[str, Any], deadline_s: float) -> dict[str, Any]:
        """The worker's reply.

        Raises:
            WorkerTimeout, WorkerFailed: The process is gone; the next call starts a new one.
        """
        body = json.dumps(request).encode()
        if len(body) > MAX_MESSAGE_BYTES:
            return {"equal": False, "detail": "too long"}
        self.start()
        try:
            if not self._greeted:
                self._receive(time.monotonic() + START_DEADLINE_S)
                self._greeted = True
        except WorkerTimeout as error:
            self.kill()
            raise WorkerFailed("the math worker did not come up") from error
        deadline = time.monotonic() + deadline_s
        try:
            process = self._alive()
            process.stdin.write(struct.pack(">II", len(body), int(deadline_s * 1000)) + body)
            reply = self._receive(deadline)
        except WorkerTimeout:
            self.kill()
            self.start()  # it comes up while the trainer goes on
            raise
        except (OSError, ValueError) as error:
            self.kill()
            raise WorkerFailed(f"the math worker died: {error}") from error
        except WorkerFailed:
            self.kill()
            raise
        self._served += 1
        if self._served >= RECYCLE_AFTER:
            self.kill()
            self.start()
        return reply

    def _receive(self, deadline: float) -> dict[str, Any]:
        size = struct.unpack(">I", self._read(4, deadline))[0]
        if size > MAX_MESSAGE_BYTES:
            raise WorkerFailed("the math worker broke the protocol")
        reply = json.loads(self._read(size, deadline))
        if not isinstance(reply, dict):
            raise WorkerFailed("the math worker broke the protocol")
        return reply

    def _read(self, count: int, deadline: float) -> bytes:
        pipe, data = self._alive().stdout.fileno(), b""
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            while len(data) < count:
                left = deadline - time.monotonic()
                if left <= 0 or not selector.select(left):
                    raise WorkerTimeout
                chunk = os.read(pipe, count - len(data))
                if not chunk:
                    raise WorkerFailed("the math worker died")
                data += chunk
        return data

    def _alive(self) -> Any:
        if self._process is None:  # `close` came in from another thread
            raise WorkerFailed("the math worker was closed")
        return self._process

    def kill(self) -> None:
        """Ends the process and collects it; harmless when there is none."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    def forget(self) -> None:
        """Drops an inherited process after a fork: it belongs to the parent."""
        process, self._process = self._process, None
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        process.returncode = 0  # not ours to wait for


class _Pool:
    def __init__(self) -> None:
        self._free = threading.Semaphore(MAX_WORKERS)
        self._lock = threading.Lock()
        self._idle: list[MathWorker] = []
        self._all: list[MathWorker] = []

    def ask(self, request: dict[str, Any], deadline_s: float) -> dict[str, Any]:
        with self._free:
            with self._lock:
                worker = self._pick()
            try:
                return worker.ask(request, deadline_s)
            except WorkerTimeout:
                self._add_spare()
                raise
            finally:
                with self._lock:
                    self._idle.append(worker)

    def _pick(self) -> MathWorker:
        """An idle worker that is up, else any idle one, else a new one."""
        for index, worker in enumerate(self._idle):
            if worker.ready:
                return self._idle.pop(index)
        if self._idle:
            return self._idle.pop(0)
        worker = MathWorker()
        self._all.append(worker)
        return worker

    def _add_spare(self) -> None:
        # Hostile answers come in rows: with a second worker up, a kill costs nobody the wait for a new start.
        with self._lock:
            if len(self._all) < MAX_WORKERS:
                self._start_one()

    def start_first(self) -> None:
        with self._lock:
            if not self._all:
                self._start_one()

    def _start_one(self) -> None:
        worker = MathWorker()
        worker.start()
        self._all.append(worker)
        self._idle.append(worker)

    def close(self) -> None:
        with self._lock:
            workers, self._all, self._idle = self._all, [], []
        for worker in workers:
            worker.kill()

    def forget(self) -> None:
        for worker in self._all:
            worker.forget()


_pool = _Pool()


def ask(request: dict[str, Any], deadline_s: float) -> dict[str, Any]:
    """The reply of a worker to a request of `worker_child`, from any thread of any process.

    Args:
        request: At most 64 KiB as JSON.
        deadline_s: Seconds for the worker's own time; starting a worker and waiting for a free one come on top.

    Raises:
        WorkerTimeout: Nothing came back in time. WorkerFailed: No worker could answer, also not a second, fresh one.
    """
    try:
        return _pool.ask(request, deadline_s)
    except WorkerFailed:
        return _pool.ask(request, deadline_s)


def warm_up(*, wait: bool = True) -> None:
    """Starts a worker now, so that the first verdict does not wait about a second for its imports.

    Args:
        wait: Return when it is up; otherwise it comes up while the caller goes on.

    Raises:
        WorkerFailed: It could not be started.
    """
    if wait:
        ask({"op": "readable", "text": "1"}, START_DEADLINE_S)
    else:
        _pool.start_first()


def close() -> None:
    """Ends all workers of this process; the next `ask` starts new ones."""
    _pool.close()


def _after_fork() -> None:
    global _pool
    inherited, _pool = _pool, _Pool()
    inherited.forget()


atexit.register(close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
