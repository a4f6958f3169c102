"""DeepMath-103K (zwhe99/DeepMath-103K): `question`, `final_answer`, `difficulty` (a number, mostly 5 to 9), `topic`, and three
solutions of DeepSeek-R1, `r1_solution_1` to `r1_solution_3`. Seen in scripts that prepare it and in its repository's README.
"""

from typing import Any

from g2rpo.data.problem import Problem
from g2rpo.data.sources.cells import answer, question, text
from g2rpo.data.trace_text import clean_trace

TRACES = ("r1_solution_1", "r1_solution_2", "r1_solution_3")


def matches(columns: list[str]) -> bool:
    return {"question", "final_answer"} <= set(columns)


def problem(row: dict[str, Any]) -> Problem:
    asked = text(row, "question").strip()
    found = [t for t in (clean_trace(row.get(column) or "") for column in TRACES) if t]
    difficulty = row.get("difficulty")
    return Problem(
        key=f"deepmath:{asked}",
        prompt=question(asked),
        answer=answer(row["final_answer"]),
        trace=min(found, key=len) if found else None,
        traces=tuple(found),
        difficulty=None if difficulty is None else float(difficulty),
        source=row.get("topic") or "deepmath",
    )
