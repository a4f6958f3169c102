"""Every gold answer, reference solution and trace through the graders and the leak guard: what would go wrong in training,
listed."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from rlvr_graders.code import CodeGrade, grade_programs, parse_tests
from rlvr_graders.extract import extract_answer
from rlvr_graders.math import grade_math, parse_gold
from rlvr_graders.sandbox import Sandbox

from g2rpo.data.completion import STYLES, full_completion
from g2rpo.data.disappointments import Disappointment
from g2rpo.data.load import question_text
from g2rpo.data.problem import Problem
from g2rpo.data.steps import steps
from g2rpo.data.trace_choice import traces_of
from g2rpo.errors import DataError
from g2rpo.method.leak_guard import leak_start

KINDS = ("duplicate", "gold", "reference", "trace", "steps", "leak")
"""Stands there twice; cannot be read; is not graded as right; states another answer; does not segment; the guard lets the answer
through."""
BATCH = 64
_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?|\.\d+")


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with one problem."""

    key: str
    kind: str
    why: str


@dataclass
class Checked:
    """What a check looked at, and what it found."""

    problems: int = 0
    references: int = 0
    """Problems whose reference solution was graded."""
    traces: int = 0
    steps: int = 0
    concluding: int = 0
    """Taken traces that state the gold answer."""
    hidden: int = 0
    """Taken traces of which the guard reveals nothing: the answer stands in the first step."""
    faults: list[Fault] = field(default_factory=list)

    @property
    def counts(self) -> dict[str, int]:
        """Faults by kind."""
        found = Counter(fault.kind for fault in self.faults)
        return {kind: found[kind] for kind in KINDS}


def check(
    problems: Sequence[Problem], *, guard: str = "strict", sandbox: Sandbox | None = None, styles: Sequence[str] | None = None
) -> Checked:
    """Runs everything that can be run without a model.

    Args:
        problems: Of one split; duplicates kept.
        guard: The leak guard whose promise is checked.
        sandbox: Runs reference programs; needed where problems have tests.
        styles: Completion styles to write references in; all if not given.
    """
    result = Checked(problems=len(problems))
    asked: dict[str, str] = {}
    for problem in problems:
        twin = asked.setdefault(repr(problem.prompt), problem.key)
        if twin != problem.key:
            result.faults.append(Fault(problem.key, "duplicate", f"the same question as {twin}"))
        result.faults += [
            Fault(problem.key, *found)
            for found in (
                *_gold(problem),
                *_reference_text(problem, result, styles or list(STYLES)),
                *_traces(problem, guard, result),
            )
        ]
    if sandbox is not None:
        result.faults += _programs(problems, sandbox, result)
    return result


def _gold(problem: Problem) -> list[tuple[str, str]]:
    """Whether the gold answer or the tests can be read."""
    try:
        if problem.tests is not None:
            parse_tests(problem.tests)
        elif problem.answer is None:
            return [("gold", "neither an answer nor tests")]
        else:
            parse_gold(problem.answer)
    except DataError as error:
        return [("gold", str(error))]
    return []


def _reference_text(problem: Problem, result: Checked, styles: Sequence[str]) -> list[tuple[str, str]]:
    """Trace and answer as a completion, in each style: each must be graded as right."""
    if problem.answer is None:
        return []
    result.references += 1
    for name in styles:
        grade = grade_math(problem.answer, full_completion(problem, STYLES[name]))
        if grade.score != 1:
            return [("reference", f"written in the style {name}: {grade.reason} {grade.detail}".strip())]
    return []


def _traces(problem: Problem, guard: str, result: Checked) -> list[tuple[str, str]]:
    found = []
    for trace in traces_of(problem):
        result.traces += 1
        if wrong := other_answer(problem, trace):
            found.append(("trace", f"states {wrong!r} where {problem.answer!r} is right"))
    if not problem.trace:
        return found
    parts = steps(problem.trace)
    result.steps += len(parts)
    if "".join(parts) != problem.trace or not all(part.strip() for part in parts):
        found.append(("steps", f"{len(parts)} steps that are not the trace again"))
    if problem.answer is None:
        return found
    result.concluding += says(problem.trace, problem.answer)
    prefix = problem.trace[: leak_start(problem.trace, problem.answer, guard)]
    result.hidden += not prefix.strip()
    # "conclusion" lets earlier places pass by design; what it must hold back is the last one.
    if guard == "strict" and says(prefix, problem.answer):
        found.append(("leak", f"{problem.answer!r} stands in the first {len(prefix)} characters, which the guard would reveal"))
    elif guard == "conclusion" and prefix == problem.trace and says(problem.trace, problem.answer):
        found.append(("leak", "nothing of the trace is held back"))
    return found


def other_answer(problem: Problem, trace: str) -> str | None:
    """What a trace states as its final answer where that is not the gold answer; None where it is, or marks none."""
    stated = extract_answer(trace) if problem.answer is not None else None
    # Only marks count: "the answer is" in the middle of reasoning concludes nothing yet.
    if stated is None or stated.marker == "phrase" or grade_math(str(problem.answer), trace).score != 0:
        return None
    return stated.text


def says(text: str, answer: str) -> bool:
    """Whether an answer stands in a text: as a number of the same value, or letter for letter as words of its own.

    Written apart from the leak guard, which it checks. A choice letter is never found: it cannot be told from an article.
    """
    answer = answer.strip()
    bare = answer.lstrip("$").rstrip("%")
    if _NUMBER.fullmatch(bare.lstrip("-−")):
        value = Fraction(bare.lstrip("-−").replace(",", ""))
        sign = r"[-−]\s?\$?" if bare[0] in "-−" else ""
        places = re.finditer(sign + f"({_NUMBER.pattern})", text)
        return any(_same(place[1], value) for place in places)
    if re.fullmatch(r"\(?[A-Za-z]\)?\.?", answer) or not answer:
        return False
    words = r"\s*".join(map(re.escape, answer.split()))
    begin, end = (r"\b" if char.isalnum() else "" for char in (answer[0], answer[-1]))
    return re.search(begin + words + end, text, re.IGNORECASE) is not None


def _same(number: str, value: Fraction) -> bool:
    """`1,234` is one number; `3,4` in a list is two, neither of them 34."""
    if re.search(r",(?!\d{3}(?!\d))", number):
        return any(Fraction(part) == value for part in re.split(r",", number) if part)
    return Fraction(number.replace(",", "")) == value


def doubtful_traces(problems: Sequence[Problem]) -> list[Disappointment]:
    """Rows without a trace where others have one, and rows whose trace does not state their answer where most others do."""
    traced = [i for i, p in enumerate(problems) if p.trace]
    missing = tuple(i for i, p in enumerate(problems) if not p.trace) if traced else ()
    stated = [i for i in traced if problems[i].answer is not None]
    silent = tuple(i for i in stated if not says(str(problems[i].trace), str(problems[i].answer)))
    found = [
        Disappointment(
            "no trace",
            "Guided training needs guidance_missing_trace: unguided for them; SFT passes over them.",
            missing,
            len(problems),
            fault=False,
        ),
        Disappointment(
            "trace without its answer",
            "Most others state theirs: the trace stops short, writes it in another form, or trace or answer is wrong.",
            silent if 2 * len(silent) < len(stated) else (),
            len(problems),
            fault=False,
        ),
    ]
    return [one for one in found if one.rows]


def _programs(problems: Sequence[Problem], sandbox: Sandbox, result: Checked) -> list[Fault]:
    with_program = [p for p in problems if p.tests is not None and p.tests.get("solution")]
    faults = []
    for start in range(0, len(with_program), BATCH):
        batch = with_program[start : start + BATCH]
        readable, tests = [], []
        for problem in batch:
            try:
                tests.append(parse_tests(problem.tests or {}))
            except DataError:
                continue  # told as a fault of the gold
            readable.append(problem)
        programs = [str((problem.tests or {})["solution"]) for problem in readable]
        grades: list[CodeGrade] = grade_programs(programs, tests, sandbox, scoring="all", timeout_s=30.0)
        result.references += len(readable)
        faults += [
            Fault(p.key, "reference", f"{g.verdict}: {g.reason}") for p, g in zip(readable, grades, strict=True) if g.score != 1
        ]
    return faults


def shared(train: Sequence[Problem], test: Sequence[Problem]) -> list[Fault]:
    """Problems of the training set that are in the test set, by key or word for word."""
    keys, texts = {p.key for p in test}, {question_text(p) for p in test}
    return [Fault(p.key, "duplicate", "also in the test set") for p in train if p.key in keys or question_text(p) in texts]
