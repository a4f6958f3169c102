"""AMC 12, 2022 and 2023: `problem`, `answer` (a float), `id`, `url` (AI-MO/aimo-validation-amc, 83 problems); or `question`,
`answer` (math-ai/amc23, 40 problems). The choices were taken out by those who made the sets: answers are numbers. Seen in
evaluation scripts.
"""

from typing import Any

from g2rpo.data.problem import Problem
from g2rpo.data.sources.cells import answer, question, text


def matches(columns: list[str]) -> bool:
    return False


def problem(row: dict[str, Any]) -> Problem:
    asked = text(row, "problem", "question").strip()
    return Problem(key=f"amc:{asked}", prompt=question(asked), answer=answer(row.get("answer")), source="amc")
