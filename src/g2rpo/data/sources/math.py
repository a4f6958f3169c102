"""MATH (Hendrycks et al. 2021): `problem`, `solution` that boxes the answer, `level` ("Level 3") and `type`; and MATH-500
(HuggingFaceH4/MATH-500): the same with `answer`, `subject`, `level` as a number and `unique_id`.

Seen in lm-evaluation-harness' and lighteval's task files and in scripts that read EleutherAI/hendrycks_math,
DigitalLearningGmbH/MATH-lighteval, nlile/hendrycks-MATH-benchmark and HuggingFaceH4/MATH-500. The level is the difficulty; a
level that is no number ("Level ?") is none.
"""

import re
from typing import Any

from g2rpo.data.problem import Problem
from g2rpo.data.sources.cells import answer, question, text
from g2rpo.data.trace_text import boxed


def matches(columns: list[str]) -> bool:
    return {"problem", "solution", "level"} <= set(columns) and bool({"type", "subject"} & set(columns))


def problem(row: dict[str, Any]) -> Problem:
    asked = text(row, "problem").strip()
    solution = (row.get("solution") or "").strip()
    level = re.search(r"\d+", str(row.get("level") or ""))
    return Problem(
        key=f"math:{row.get('unique_id') or asked}",
        prompt=question(asked),
        answer=answer(row.get("answer")) or boxed(solution),
        trace=solution or None,
        difficulty=float(level[0]) if level else None,
        source=str(row.get("subject") or row.get("type") or "math"),
    )
