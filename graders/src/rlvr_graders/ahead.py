"""Grades completions while the others of their batch are still being generated.

A trainer that decodes row by row passes each finished completion to the reward's `ahead`. It is graded in a thread, and the grade
is returned when the reward is called with the same completion and columns. Other grades are dropped, so only the time of grading
changes.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from threading import Lock, Thread
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
G = TypeVar("G")


class Ahead(Generic[K, G]):
    """Grades items in the background, all that are waiting in one batch. For use by one thread.

    Args:
        grade: Grades of a batch of items, in order; called in one thread at a time.
    """

    def __init__(self, grade: Callable[[Sequence[K]], Sequence[G]]) -> None:
        self._grade, self._closed = grade, False
        self._start_afresh()

    def _start_afresh(self) -> None:
        self._owner = os.getpid()
        self._known: defaultdict[K, list[Future[G]]] = defaultdict(list)
        self._waiting: list[tuple[K, Future[G]]] = []
        self._thread: Thread | None = None
        self._lock, self._alone = Lock(), Lock()

    def _belong_here(self) -> None:
        """After a fork, the copy has no thread, and its locks may be held for ever."""
        if self._owner != os.getpid():
            self._start_afresh()

    def submit(self, item: K) -> None:
        """Queues an item for grading; does nothing after `close`."""
        self._belong_here()
        if self._closed:
            return
        future: Future[G] = Future()
        self._known[item].append(future)
        with self._lock:
            self._waiting.append((item, future))
            if self._thread is None:
                # A daemon: a program that runs for long does not hold up whoever ends the process.
                self._thread = Thread(target=self._work, name="grading", daemon=True)
                self._thread.start()

    def grades(self, items: Sequence[K]) -> list[G]:
        """Grades of all items, in order; those not graded ahead are graded now. Drops submitted items that are not among them.

        Raises:
            Exception: whatever `grade` raises, for these items or for those submitted with them.
        """
        self._belong_here()
        futures = [self._known[item].pop(0) if self._known.get(item) else None for item in items]
        self._known.clear()
        with self._lock:
            self._waiting = [pair for pair in self._waiting if pair[1] in futures]
        rest = [item for item, future in zip(items, futures, strict=True) if future is None]
        now: Sequence[G] = ()
        if rest:
            with self._alone:
                now = self._grade(rest)
        graded = iter(now)
        return [next(graded) if future is None else future.result() for future in futures]

    def close(self) -> None:
        """Drops the queue; a batch that is being graded runs to its end and is discarded."""
        self._belong_here()
        self._closed = True
        with self._lock:
            self._waiting = []
        self._known.clear()

    def _work(self) -> None:
        while True:
            with self._lock:
                batch, self._waiting = self._waiting, []
                if not batch:
                    self._thread = None
                    return
            try:
                with self._alone:
                    grades = self._grade([item for item, _ in batch])
                for (_, future), grade in zip(batch, grades, strict=True):
                    future.set_result(grade)
            except BaseException as error:
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
