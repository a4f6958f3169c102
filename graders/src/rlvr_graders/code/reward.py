"""The code reward: does the program in the answer pass its tests? In TRL's reward signature.

The program runs in a sandbox that the expected values never enter; see `rlvr_graders.sandbox`. A completion that
could not be judged because the sandbox failed is None (not scored), counted, and too many of them stop the run.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from rlvr_graders.ahead import Ahead
from rlvr_graders.code.extract import extract_code
from rlvr_graders.code.grade import CodeGrade, Scoring, grade_programs
from rlvr_graders.code.signals import SIGNALS
from rlvr_graders.code.tests import Tests, parse_tests
from rlvr_graders.errors import ConfigError, DataError
from rlvr_graders.extract import completion_text
from rlvr_graders.grades import UnscoredWatch
from rlvr_graders.sandbox import Sandbox, open_sandbox

_PROBLEMS = ("no_code", "error", "crash", "timeout", "incomplete", "output_limit", "protocol_error", "infra_error")


class CodeReward:
    """Runs the program of each completion against the tests of its row.

    Args:
        scoring: `fraction` of the tests that hold (dense), or 1 only when `all` of them do.
        level: Sandbox level, `auto` by default; see `open_sandbox`.
        timeout_s: Time limit in seconds per run, scaled by the sandbox's calibration.
        memory_mb: Memory limit in MiB per run.
        workers: Programs that run at the same time; the number of processors by default.
        allow_unsafe: Accept a machine without isolation.
        max_unscored: Share of the last 200 completions that may go unscored before the run is stopped.
        sandbox: One that is open already (a remote one, for example); it is then yours to close.

    Attributes:
        counts: How often each verdict was given, and each hack signal as `signal/<name>`, since the object was made.

    Raises:
        SandboxError: On creation, when no safe sandbox works here; on a call, when it fails too often.
    """

    __name__ = "code_reward"
    drives_guidance = True

    def __init__(
        self,
        scoring: Scoring = "fraction",
        *,
        level: str = "auto",
        timeout_s: float = 5.0,
        memory_mb: int = 512,
        workers: int | None = None,
        allow_unsafe: bool = False,
        max_unscored: float = 0.2,
        sandbox: Sandbox | None = None,
    ) -> None:
        if scoring not in ("fraction", "all"):
            raise ConfigError("scoring", scoring, expected="'fraction' or 'all'", then="Choose one of them.")
        self.scoring: Scoring = scoring
        self.timeout_s, self.memory_mb = timeout_s, memory_mb
        self.counts: Counter[str] = Counter()
        self._watch = UnscoredWatch(max_unscored, "programs", "Run `rlvr-graders self-test`.")
        self._own = sandbox is None
        # Opened here and not on the first call: before CUDA and the trainer's threads are there.
        self.sandbox = sandbox or open_sandbox(level, workers=workers, allow_unsafe=allow_unsafe)
        self._ahead: Ahead[tuple[str, str], CodeGrade] = Ahead(self._grade)

    def grade(self, completions: Sequence[Any], tests: Sequence[dict[str, Any] | str]) -> list[CodeGrade]:
        """Verdicts with reasons, in order. Raises `DataError` for a row without valid tests."""
        return self._ahead.grades([_item(*pair) for pair in zip(completions, tests, strict=True)])

    def ahead(self, completion: Any, tests: dict[str, Any] | str, **columns: Any) -> None:
        """Begins to grade a completion that is finished; `grade` or a call will ask for it soon."""
        self._ahead.submit(_item(completion, tests))

    def _grade(self, items: Sequence[tuple[str, str]]) -> list[CodeGrade]:
        return grade_programs(
            [extract_code(text) for text, _ in items],
            [_parsed(tests) for _, tests in items],
            self.sandbox,
            scoring=self.scoring,
            timeout_s=self.timeout_s,
            memory_mb=self.memory_mb,
        )

    def check_row(self, row: Mapping[str, Any]) -> None:
        """Raises `DataError` when the row's tests are missing or cannot be read: asked of every row before training."""
        tests = row.get("tests")
        if tests is None:
            raise DataError("tests", None, expected="the tests of the program", then="Fill them or drop the row.")
        _parsed(_text(tests))

    def __call__(
        self,
        completions: list[Any],
        tests: list[dict[str, Any] | str],
        log_metric: Callable[[str, float], None] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        """One score in [0, 1] per completion, or None where it was not scored."""
        grades = self.grade(completions, tests)
        self.counts.update(grade.verdict for grade in grades)
        self.counts.update(f"signal/{name}" for grade in grades for name in grade.signals)
        if log_metric is not None and grades:
            for name in _PROBLEMS:
                log_metric(f"code/{name}", sum(grade.verdict == name for grade in grades) / len(grades))
            for name in SIGNALS:
                log_metric(f"code/signal/{name}", sum(name in grade.signals for grade in grades) / len(grades))
        self._watch.see(grades)
        return [grade.score for grade in grades]

    def close(self) -> None:
        """Stop the sandbox, when it was opened here."""
        self._ahead.close()
        if self._own:
            self.sandbox.close()


def _item(completion: Any, tests: dict[str, Any] | str) -> tuple[str, str]:
    return completion_text(completion), _text(tests)


def _text(tests: dict[str, Any] | str) -> str:
    return tests if isinstance(tests, str) else json.dumps(tests, sort_keys=True)


@lru_cache(maxsize=4096)
def _parsed(tests: str) -> Tests:
    return parse_tests(tests)
