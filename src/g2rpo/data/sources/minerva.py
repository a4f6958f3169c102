"""Minerva Math (math-ai/minervamath, 272 university problems): `question` (or `problem`), `answer`, sometimes `solution` that
boxes it.

Seen in several evaluation scripts; some copies have the other names. The columns say too little to recognise it by.
"""

from typing import Any

from g2rpo.data.problem import Problem
from g2rpo.data.sources.cells import answer, question, text
from g2rpo.data.trace_text import boxed


def matches(columns: list[str]) -> bool:
    return False


def problem(row: dict[str, Any]) -> Problem:
    asked = text(row, "question", "problem").strip()
    solution = (row.get("solution") or "").strip()
    return Problem(
        key=f"minerva:{asked}",
        prompt=question(asked),
        answer=answer(row.get("answer")) or boxed(solution),
        trace=solution or None,
        source="minerva",
    )
