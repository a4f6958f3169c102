"""Grading completions while the others of their batch are still being written.

A trainer that decodes row by row tells a reward what is finished (`ahead`); it is graded in a thread, and handed out when the reward is
asked for that same pair of completion and columns. Whatever is never asked for is dropped: grading ahead changes when, not what.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
G = TypeVar("G")


class Ahead(Generic[K, G]):
    """Items that are graded in the background, as many at a time as have come in.

    Args:
        grade: Grades of a batch of items, in order; called in one thread at a time.
    """

    def __init__(self, grade: Callable[[Sequence[K]], Sequence[G]]) -> None:
        self._alone = Lock()

        def grade_alone(items: Sequence[K]) -> Sequence[G]:
            with self._alone:
                return grade(items)

        self._grade = grade_alone
        self._waiting: list[tuple[K, Future]] = []
        self._known: defaultdict[K, list[Future]] = defaultdict(list)
        self._lock, self._thread = Lock(), ThreadPoolExecutor(1, thread_name_prefix="grading")

    def submit(self, item: K) -> None:
        future: Future = Future()
        self._known[item].append(future)
        with self._lock:
            self._waiting.append((item, future))
        self._thread.submit(self._work)

    def grades(self, items: Sequence[K]) -> list[G]:
        """Of all items, in order: those graded ahead, and now the others. Forgets what was submitted and is not among them.

        Raises:
            Whatever `grade` raises, for these items or for those submitted with them.
        """
        futures = [self._known[item].pop(0) if self._known.get(item) else None for item in items]
        self._known.clear()
        rest = [item for item, future in zip(items, futures, strict=True) if future is None]
        now = iter(self._grade(rest) if rest else ())
        return [next(now) if future is None else future.result() for future in futures]

    def _work(self) -> None:
        with self._lock:
            batch, self._waiting = self._waiting, []
        if not batch:
            return
        try:
            grades = self._grade([item for item, _ in batch])
        except BaseException as error:
            for _, future in batch:
                future.set_exception(error)
            return
        for (_, future), grade in zip(batch, grades, strict=True):
            future.set_result(grade)

    def close(self) -> None:
        self._thread.shutdown(cancel_futures=True)
