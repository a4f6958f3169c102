r"""Is the stated final answer the gold answer? In layers, the certain and cheap ones first.

1. The final answer is extracted (`rewards/extract.py`); gold and answer are put into one spelling (`latex.py`).
2. Same text: equal.
3. Both are numbers: compared exactly, units included (`numbers.py`). This settles all of GSM8K in microseconds.
4. The answers are taken apart (`shapes.py`, `matching.py`) and their leaves compared: exactly where they are rational,
   otherwise in a worker process with a deadline (`worker.py`), where formulas are evaluated to many digits
   (`precision.py`) and math-verify reads what our strict grammar does not.
5. An "equal" of math-verify on numbers counts only when many digits confirm it.

A grade is a score and a reason. `score` None means *not scored*: the gold answer or the verifier failed, never the
model.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from rlvr_graders.errors import DataError
from rlvr_graders.exact import normalise_text
from rlvr_graders.extract import MAX_ANSWER_CHARS, choice_letter, choice_text, extract_answer
from rlvr_graders.grades import Grade
from rlvr_graders.math.latex import balanced, normalise
from rlvr_graders.math.leaves import Comparer, LimitReached, is_readable, is_words, read_leaf
from rlvr_graders.math.matching import same
from rlvr_graders.math.numbers import Quantity, parse_quantity, same_quantity
from rlvr_graders.math.shapes import Shape, parse_shape, scalar
from rlvr_graders.math.worker import WorkerFailed, WorkerTimeout

Verdict = Literal["equal", "different", "no_answer", "bad_gold", "timeout", "worker_failed"]

DEADLINE_S = 5.0
"""Longest time in seconds that one verdict may take in the worker."""


@dataclass(frozen=True)
class MathGrade(Grade):
    """A grade whose `reason` is one of `Verdict`; `detail` says which layer decided, or what went wrong."""

    detail: str = ""


@dataclass(frozen=True)
class Gold:
    """A gold answer that was read once: its text, its normalised spelling, and its value where it is a number."""

    text: str
    spelling: str
    quantity: Quantity | None
    choice: str | None
    shape: Shape
    words: bool = False
    """Meant as words: letter case does not matter."""


_GOLD_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}")
_NEXT_SENTENCE = re.compile(r"[.!?]\s+(?=[A-Z$\\])|[^\s\\]\s*\n\s*(?=\S)")
MAX_GOLD_WORDS = 20
"""An answer with more words is a solution."""


def is_solution(text: str) -> bool:
    """Whether a gold answer is a whole solution that marks no answer: nothing that a model states can equal it.

    It is one with more than `MAX_GOLD_WORDS` words, with several sentences or lines of words, or with several lines of equations.
    """
    if extract_answer(text) is not None:
        return False
    words, breaks = len(_GOLD_WORD.findall(text)), len(_NEXT_SENTENCE.findall(text.strip()))
    equations = sum("=" in line for line in text.splitlines()) if "\\begin" not in text else 0
    return words > MAX_GOLD_WORDS or (breaks > 0 and words >= 6) or (breaks > 0 and equations > 1)


def parse_gold(text: str) -> Gold:
    r"""Reads a gold answer, which may be a bare answer, or a solution that states one (`\boxed{…}`, `#### …`, "the answer is …").

    Raises:
        DataError: It is empty, too long, malformed, or a solution that states no answer; such a row must never reach training,
            for nothing can be right.
        WorkerFailed, WorkerTimeout: Only for a gold answer that math-verify alone could read.
    """
    read = _parsed(text) if isinstance(text, str) else _refusal(text)
    if isinstance(read, DataError):
        raise read
    return read


def _refusal(text: object) -> DataError:
    return DataError(
        "The gold answer", text, expected="an answer such as 42, \\frac{1}{2} or B", then="Correct the row or leave it out."
    )


@lru_cache(maxsize=65_536)
def _parsed(text: str) -> Gold | DataError:
    """The error is kept as well as the answer: many completions are graded against one gold answer."""
    if is_solution(text):
        return DataError(
            "The gold answer",
            text,
            expected="the final answer alone; this is a whole solution, and it marks no answer",
            then="Name the column of the answer instead, or mark the answer with \\boxed{} or ####.",
        )
    stated = extract_answer(text)
    answer = stated.text if stated else text.strip()
    if not answer or len(answer) > MAX_ANSWER_CHARS:
        return _refusal(text)
    spelling = normalise(answer)
    quantity = parse_quantity(spelling)
    if quantity is not None:
        return Gold(answer, spelling, quantity, None, scalar(spelling))
    shape = parse_shape(spelling)
    if not balanced(spelling) or not _readable(shape):
        return _refusal(text)
    return Gold(answer, spelling, None, choice_letter(spelling), shape, _is_worded(spelling))


def _is_worded(spelling: str) -> bool:
    leaf = read_leaf(spelling)
    return is_words(spelling) and leaf.tree is None and leaf.problem != "beyond"


def _readable(shape: Shape) -> bool:
    if shape.kind == "scalar":
        return is_readable(shape.text, DEADLINE_S)
    if shape.kind in ("equation", "inequality"):
        return all(is_readable(side, DEADLINE_S) for side in shape.sides)
    return shape.kind == "other" or all(_readable(part) for part in shape.parts)


def grade_math(gold: str, completion: str, *, deadline_s: float = DEADLINE_S) -> MathGrade:
    """Grades one completion against a gold answer; never raises for what either text contains.

    Args:
        gold: The gold answer as the data set has it.
        completion: The model's text.
        deadline_s: Longest time in seconds for the layers that run in the worker.

    Returns:
        Score 1 for `equal`; 0 for `different`, `no_answer` and `timeout`; None for `bad_gold` and `worker_failed`.
    """
    try:
        wanted = parse_gold(gold)
    except DataError as error:
        return MathGrade(None, "bad_gold", str(error))
    except (WorkerFailed, WorkerTimeout) as error:  # the worker was asked whether it can read the gold answer
        return MathGrade(None, "worker_failed", str(error))
    stated = extract_answer(completion)
    if stated is None or not stated.text.strip():
        return MathGrade(0.0, "no_answer")
    if len(stated.text) > MAX_ANSWER_CHARS:
        return MathGrade(0.0, "different", "answer too long")
    return _compare(wanted, stated.text, deadline_s)


def _compare(gold: Gold, answer: str, deadline_s: float) -> MathGrade:
    spelling = normalise(answer)
    if spelling == gold.spelling or (gold.words and normalise_text(spelling) == normalise_text(gold.spelling)):
        return MathGrade(1.0, "equal", "text")
    if gold.quantity is not None and (quantity := parse_quantity(spelling)) is not None:
        return _verdict(same_quantity(gold.quantity, quantity), "number")
    if gold.choice is not None and (letter := choice_letter(spelling)) is not None:
        return _verdict(letter == gold.choice, "choice")
    if gold.choice is not None and (text := choice_text(gold.spelling)) is not None:
        return _compare(parse_gold(text), answer, deadline_s)
    if gold.choice is None and (text := choice_text(spelling)) is not None:
        return _compare(gold, text, deadline_s)
    if not balanced(spelling):
        return MathGrade(0.0, "different", "unbalanced braces")
    comparer = Comparer(deadline_s)
    try:
        return _verdict(same(gold.shape, parse_shape(spelling), comparer), comparer.detail)
    except (WorkerTimeout, LimitReached) as error:
        return MathGrade(0.0, "timeout", str(error) or f"no verdict within {deadline_s} s")
    except WorkerFailed as error:
        return MathGrade(None, "worker_failed", str(error))


def _verdict(equal: bool, detail: str) -> MathGrade:
    return MathGrade(1.0, "equal", detail) if equal else MathGrade(0.0, "different", detail)
