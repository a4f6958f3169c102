"""GSM8K (openai/gsm8k, config main): `question`, and `answer` = worked steps with `<<calculator>>` marks, then `#### number`.

Seen in the data itself (github.com/openai/grade-school-math). The number of lines of the solution is the difficulty.
"""

from typing import Any

from g2rpo.data.problem import Problem
from g2rpo.data.sources.cells import question, text
from g2rpo.data.trace_text import strip_calculator_marks
from g2rpo.errors import DataError


def matches(columns: list[str]) -> bool:
    return set(columns) >= {"question", "answer"} and not {"trace", "solution"} & set(columns)


def problem(row: dict[str, Any]) -> Problem:
    asked = text(row, "question").strip()
    given = row["answer"]
    if given is not None and (not isinstance(given, str) or "####" not in given):
        raise DataError(
            "column 'answer'",
            given,
            expected="worked steps that end in '#### number', as in GSM8K",
            then="For data of another shape, name the columns in the recipe's `columns`, or the source that reads it.",
        )
    steps, _, answer = text(row, "answer").rpartition("####")
    trace = strip_calculator_marks(steps).strip()
    return Problem(
        key=f"gsm8k:{asked}",
        prompt=question(asked),
        answer=answer.strip().replace(",", ""),
        trace=trace,
        difficulty=float(len(trace.splitlines())),
        source="gsm8k",
    )
