"""s1K-1.1 (simplescaling/s1K-1.1): `question`, `solution` (the final answer or a text that boxes it),
`deepseek_thinking_trajectory` as the trace.
"""

from typing import Any

from g2rpo.data.trace import clean_trace
from g2rpo.types import Problem

LONGEST_ANSWER = 80
"""Characters; a longer `solution` without a box is prose, not an answer."""


def matches(columns: list[str]) -> bool:
    return {"question", "solution", "deepseek_thinking_trajectory"} <= set(columns)


def problem(row: dict[str, Any]) -> Problem:
    return Problem(key=f"s1k:{row['question']}", prompt=[{"role": "user", "content": row["question"]}],
                   answer=_answer(row["solution"] or ""), trace=clean_trace(row["deepseek_thinking_trajectory"] or "") or None,
                   source=row.get("source_type") or "s1k")  # fmt: skip


def _answer(solution: str) -> str | None:
    start = solution.rfind("\\boxed{")
    if start < 0:
        text = solution.strip()
        return text if text and len(text) <= LONGEST_ANSWER else None
    depth = 0
    for place in range(start + len("\\boxed"), len(solution)):
        depth += {"{": 1, "}": -1}.get(solution[place], 0)
        if depth == 0:
            return solution[start + len("\\boxed{") : place].strip() or None
    return None
