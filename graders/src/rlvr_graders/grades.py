"""A verdict with its reason, and the watch over verdicts that were not reached.

A verifier that fails often must stop the run: what it does not score teaches nothing, and quietly.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from rlvr_graders.errors import SandboxError

WINDOW, AT_LEAST = 200, 50


@dataclass(frozen=True)
class Grade:
    """A verdict with its reason. `score` None means *not scored*: the verifier failed, which is never the model's fault."""

    score: float | None
    reason: str


@dataclass
class UnscoredWatch:
    """Watches the share of the last 200 grades whose score is None, once there are 50."""

    max_share: float
    what: str
    """What is graded, as a plural."""
    then: str
    """What to do when it fails."""
    _recent: deque[bool] = field(init=False, default_factory=lambda: deque(maxlen=WINDOW))

    def see(self, grades: Sequence[Grade]) -> None:
        """Counts a batch.

        Raises:
            SandboxError: More than `max_share` of the window went unscored.
        """
        self._recent.extend(grade.score is None for grade in grades)
        unscored = sum(self._recent)
        if len(self._recent) < AT_LEAST or unscored <= self.max_share * len(self._recent):
            return
        last = next((grade for grade in reversed(grades) if grade.score is None), None)
        said = "none in this batch" if last is None else ": ".join(filter(None, (last.reason, getattr(last, "detail", ""))))
        raise SandboxError(
            f"The share of the last {len(self._recent)} {self.what} that could not be graded",
            unscored / len(self._recent),
            expected=f"at most {self.max_share}",
            then=f"The last one: {said}. {self.then}",
        )
