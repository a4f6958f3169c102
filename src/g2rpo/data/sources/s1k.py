"""s1K-1.1 (simplescaling/s1K-1.1): `question`, `solution` (the final answer or a text that boxes it),
`deepseek_thinking_trajectory` as the trace, `deepseek_attempt` and `deepseek_grade`, which says whether the attempt is right.

A trace that was graded as wrong is not used. Where the solution is prose, the box of an attempt graded as right is the answer;
without any answer there is no trace either, for nothing could keep it from being given away.
"""

from typing import Any

from g2rpo.data.problem import Problem
from g2rpo.data.sources.cells import question, text
from g2rpo.data.trace_text import boxed, clean_trace

LONGEST_ANSWER = 80
"""Characters; a longer `solution` without a box is prose, not an answer."""


def matches(columns: list[str]) -> bool:
    return {"question", "solution", "deepseek_thinking_trajectory"} <= set(columns)


def problem(row: dict[str, Any]) -> Problem:
    grade = str(row.get("deepseek_grade") or "").strip().lower()
    answer = _answer(row["solution"] or "")
    if answer is None and grade == "yes":
        answer = boxed(row.get("deepseek_attempt") or "")
    trace = None if answer is None or grade == "no" else clean_trace(row["deepseek_thinking_trajectory"] or "") or None
    asked = text(row, "question")
    return Problem(key=f"s1k:{asked}", prompt=question(asked), answer=answer, trace=trace, source=row.get("source_type") or "s1k")


def _answer(solution: str) -> str | None:
    if "\\boxed{" in solution:
        return boxed(solution)
    text = solution.strip()
    return text if text and len(text) <= LONGEST_ANSWER else None
