"""OpenR1-Math-220k (open-r1/OpenR1-Math-220k): `problem`, `answer`, `generations` with `is_reasoning_complete` and
`correctness_math_verify` per generation, `solution`, `source`, `uuid`. Seen in open-r1's and in the reproduction's scripts.

The traces are the complete generations that were verified as correct; without one, the written `solution`.
"""

from typing import Any

from g2rpo.data.problem import Problem
from g2rpo.data.sources.cells import answer, question, text
from g2rpo.data.trace_text import clean_trace

TIERS = ("cn_contest", "aops_forum", "amc_aime", "olympiads", "olympiads_ref")
"""The paper's curriculum, easy to hard."""


def matches(columns: list[str]) -> bool:
    return {"problem", "answer"} <= set(columns) and bool({"generations", "solution"} & set(columns))


def problem(row: dict[str, Any]) -> Problem:
    source = row.get("source") or "openr1"
    asked, found = text(row, "problem"), traces(row)
    return Problem(
        key=f"openr1:{row.get('uuid') or asked}",
        prompt=question(asked),
        answer=answer(row["answer"]),
        trace=min(found, key=len) if found else None,
        traces=tuple(found),
        difficulty=float(TIERS.index(source)) if source in TIERS else None,
        source=source,
    )


def traces(row: dict[str, Any]) -> list[str]:
    """The usable ones, in the order of the row."""
    generations = row.get("generations") or []
    if isinstance(generations, str):
        generations = [generations]
    complete = row.get("is_reasoning_complete") or [True] * len(generations)
    correct = row.get("correctness_math_verify") or [True] * len(generations)
    good = [clean_trace(g) for g, done, right in zip(generations, complete, correct, strict=False) if g and done and right]
    return [g for g in good if g] or [t for t in [clean_trace(row.get("solution") or "")] if t]
