"""The graders of training, without training's knobs: no partial credit, no format rewards, no shaping."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from g2rpo.data.problem import Problem
from g2rpo.errors import DataError


@dataclass(frozen=True)
class Judgement:
    """`score` is 1, 0, or None where the verifier failed; `answer` is what the completion states, where answers are stated."""

    score: float | None
    verdict: str
    answer: str | None = None


Grade = Callable[[Sequence[Problem], Sequence[str]], list[Judgement]]
"""One judgement per completion, in order."""


def by_reward(reward: Callable[..., list[float | None]]) -> Grade:
    """Grades by a reward in TRL's signature: the data's own."""

    def grade(problems: Sequence[Problem], texts: Sequence[str]) -> list[Judgement]:
        columns = {name: [getattr(p, name) for p in problems] for name in ("answer", "tests")}
        scores = reward(completions=[[{"role": "assistant", "content": text}] for text in texts], **columns)
        return [Judgement(score, "scored" if score is not None else "unscored") for score in scores]

    return grade


class Grader:
    """Grades completions of a suite's problems."""

    votes = True
    """Whether answers can be compared with each other, so that a majority exists."""

    def __call__(self, problems: Sequence[Problem], texts: Sequence[str]) -> list[Judgement]:
        """One judgement per completion, in order."""
        raise NotImplementedError

    def check(self, problem: Problem) -> None:
        """Raises DataError where the problem's gold answer or tests cannot be read."""
        raise NotImplementedError

    def equal(self, a: str, b: str) -> bool:
        """Whether two stated answers are the same answer."""
        return a == b

    def close(self) -> None:
        """Ends what it started: a sandbox, for example."""


class MathGrader(Grader):
    """Mathematical equality with the gold answer (graders/docs/rewards.md); also numbers and the letters of choices."""

    def __call__(self, problems: Sequence[Problem], texts: Sequence[str]) -> list[Judgement]:
        from rlvr_graders.extract import extract_answer
        from rlvr_graders.math import grade_math

        judged = []
        for problem, text in zip(problems, texts, strict=True):
            grade, stated = grade_math(str(problem.answer), text), extract_answer(text)
            judged.append(Judgement(grade.score, grade.reason, stated.text if stated else None))
        return judged

    def check(self, problem: Problem) -> None:
        from rlvr_graders.math import MathReward

        MathReward().check_row({"answer": problem.answer})

    def equal(self, a: str, b: str) -> bool:
        from rlvr_graders.math import grade_math

        return a == b or grade_math(a, f"\\boxed{{{b}}}").score == 1


class ExactGrader(Grader):
    """The same text, up to case and white space."""

    def __call__(self, problems: Sequence[Problem], texts: Sequence[str]) -> list[Judgement]:
        from rlvr_graders.extract import extract_answer

        judged = []
        for problem, text in zip(problems, texts, strict=True):
            stated = extract_answer(text)
            if stated is None:
                judged.append(Judgement(0.0, "no_answer"))
                continue
            right = self.equal(stated.text, str(problem.answer))
            judged.append(Judgement(float(right), "equal" if right else "different", stated.text))
        return judged

    def check(self, problem: Problem) -> None:
        if not (problem.answer or "").strip():
            raise DataError("answer", problem.answer, expected="a gold answer", then="Drop the row or fill its answer.")

    def equal(self, a: str, b: str) -> bool:
        from rlvr_graders.exact import normalise_text

        return normalise_text(a) == normalise_text(b)


class CodeGrader(Grader):
    """1 where the program in the completion passes all tests, run in the sandbox (graders/docs/sandbox.md)."""

    votes = False

    def __init__(self) -> None:
        from rlvr_graders.code import CodeReward

        self.reward = CodeReward(scoring="all")

    def __call__(self, problems: Sequence[Problem], texts: Sequence[str]) -> list[Judgement]:
        tests: list[dict[str, Any] | str] = [p.tests or {} for p in problems]
        return [Judgement(grade.score, grade.verdict) for grade in self.reward.grade(texts, tests)]

    def check(self, problem: Problem) -> None:
        self.reward.check_row({"tests": problem.tests})

    def close(self) -> None:
        self.reward.close()


GRADERS: Mapping[str, Callable[[], Grader]] = {"math": MathGrader, "exact": ExactGrader, "code": CodeGrader}


class Graders:
    """One grader of a kind for all suites: a sandbox is opened once."""

    def __init__(self) -> None:
        self.made: dict[str, Grader] = {}

    def get(self, name: str) -> Grader:
        if name not in self.made:
            self.made[name] = GRADERS[name]()
        return self.made[name]

    def close(self) -> None:
        for grader in self.made.values():
            grader.close()


def check_problems(problems: Sequence[Problem], grader: Grader, suite: str) -> None:
    """Refuses a suite of which a problem could never be solved, before anything is sampled.

    Raises:
        DataError: names the problem.
    """
    if not problems:
        raise DataError(f"suite {suite}", expected="at least one problem", then="Check --limit and the data.")
    for number, problem in enumerate(problems):
        try:
            grader.check(problem)
        except DataError as error:
            raise DataError(
                f"problem {number} of {suite} ({problem.key[:60]!r}): {error.what}",
                error.value,
                expected=error.expected,
                then="Mend or drop the row.",
            ) from error
