"""OpenR1-Math-220k (open-r1/OpenR1-Math-220k) and sets cut from it (G2RPO-A/Math-Curriculum-1K): `problem`, `answer`,
`generations` with `is_reasoning_complete` and `correctness_math_verify` per generation, `solution`, `source`.

The trace is the shortest complete generation that was verified as correct; without one, the written `solution`.
"""

from typing import Any

from g2rpo.data.trace import clean_trace
from g2rpo.types import Problem

TIERS = ("cn_contest", "aops_forum", "amc_aime", "olympiads", "olympiads_ref")
"""The paper's curriculum, easy to hard."""


def matches(columns: list[str]) -> bool:
    return {"problem", "answer"} <= set(columns) and bool({"generations", "solution"} & set(columns))


def problem(row: dict[str, Any]) -> Problem:
    source = row.get("source") or "openr1"
    return Problem(key=f"openr1:{row.get('uuid') or row['problem']}", prompt=[{"role": "user", "content": row["problem"]}],
                   answer=None if row["answer"] is None else str(row["answer"]).strip(), trace=_trace(row),
                   difficulty=float(TIERS.index(source)) if source in TIERS else None, source=source)  # fmt: skip


def _trace(row: dict[str, Any]) -> str | None:
    generations = row.get("generations") or []
    if isinstance(generations, str):
        return clean_trace(generations) or None
    complete = row.get("is_reasoning_complete") or [True] * len(generations)
    correct = row.get("correctness_math_verify") or [True] * len(generations)
    good = [clean_trace(g) for g, done, right in zip(generations, complete, correct, strict=False) if g and done and right]
    good = [g for g in good if g]
    if good:
        return min(good, key=len)
    return clean_trace(row.get("solution") or "") or None
