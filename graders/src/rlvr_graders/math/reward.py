"""The math grader in TRL's reward signature."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from rlvr_graders.errors import DataError
from rlvr_graders.extract import completion_text
from rlvr_graders.grades import UnscoredWatch
from rlvr_graders.math import worker
from rlvr_graders.math.grade import DEADLINE_S, grade_math, parse_gold


class MathReward:
    """`grade_math` in TRL's reward signature, counting its verdicts.

    Args:
        deadline_s: As in `grade_math`.
        max_unscored: Share of the last 200 completions that may go unscored before the run is stopped.

    Attributes:
        counts: How often each verdict was given, since the object was made.

    Raises:
        SandboxError: On a call, when too many completions could not be scored.
    """

    __name__ = "accuracy_reward"
    drives_guidance = True

    def __init__(self, deadline_s: float = DEADLINE_S, max_unscored: float = 0.2) -> None:
        if deadline_s <= 0:
            raise ValueError(f"deadline_s is {deadline_s}, expected a positive number of seconds")
        self.deadline_s = deadline_s
        self.counts: Counter[str] = Counter()
        self._watch = UnscoredWatch(
            max_unscored, "answers", "Check the gold answers: `parse_gold` raises DataError for one that cannot be read."
        )

    def warm_up(self) -> None:
        """Starts the worker in the background: called when a run begins, so that its first grade is not late."""
        worker.warm_up(wait=False)

    def check_row(self, row: Mapping[str, Any]) -> None:
        """Raises DataError when the row's gold answer cannot be read: asked of every row before training."""
        if row.get("answer") is None:
            raise DataError("answer", None, expected="a gold answer", then="Drop the row or fill its answer.")
        parse_gold(str(row["answer"]))

    def __call__(
        self, completions: list[Any], answer: list[str], log_metric: Callable[[str, float], None] | None = None, **columns: Any
    ) -> list[float | None]:
        """One score in {0, 1} per completion, or None where it was not scored."""
        grades = [
            grade_math(str(gold), completion_text(completion), deadline_s=self.deadline_s)
            for completion, gold in zip(completions, answer, strict=True)
        ]
        self.counts.update(grade.reason for grade in grades)
        if log_metric is not None and grades:
            for reason in ("no_answer", "bad_gold", "timeout", "worker_failed"):
                log_metric(f"math/{reason}", sum(g.reason == reason for g in grades) / len(grades))
        self._watch.see(grades)
        return [grade.score for grade in grades]


def math_accuracy(completions: list[Any], answer: list[str], **columns: Any) -> list[float | None]:
    """`MathReward()` as a function without state: 1 equal, 0 not, None not scored."""
    return MathReward()(completions, answer, **columns)


math_accuracy.__name__ = "accuracy_reward"
math_accuracy.drives_guidance = True  # type: ignore[attr-defined]
