"""AIME 2024 and 2025, thirty problems each, answers from 0 to 999. Every copy has its own names: `problem`, `answer`
(HuggingFaceH4/aime_2024, with `solution`, `id`, `url`, `year`; math-ai/aime25), `Problem`, `Answer`, `Solution`, `ID`
(Maxwell-Jia/AIME_2024), `question`, `answer` (opencompass/AIME2025), or the answer only as a boxed `solution` (math-ai/aime24).
Seen in the scripts of evaluations that read them.
"""

from typing import Any

from g2rpo.data.problem import Problem
from g2rpo.data.sources.cells import answer, first, question, text
from g2rpo.data.trace_text import boxed
from g2rpo.errors import DataError


def matches(columns: list[str]) -> bool:
    return {"ID", "Problem", "Answer"} <= set(columns)


def problem(row: dict[str, Any]) -> Problem:
    asked = text(row, "problem", "Problem", "question").strip()
    solution = str(first(row, "solution", "Solution") or "").strip()
    gold = answer(first(row, "answer", "Answer")) or boxed(solution)
    if gold is None or not gold.isdigit():
        raise DataError(
            "answer",
            gold,
            expected="a whole number from 0 to 999, as in the AIME",
            then="For data of another shape, name the columns in the recipe's `columns`.",
        )
    worked = solution if solution and solution != f"\\boxed{{{gold}}}" else None
    return Problem(key=f"aime:{asked}", prompt=question(asked), answer=str(int(gold)), trace=worked, source="aime")
