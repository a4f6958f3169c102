"""G2RPO-A/Math-Curriculum-1K: 1,000 rows of OpenR1-Math-220k in five tiers by `source`, easy to hard, with one verified trace
each.

Its card could not be opened; the columns `problem`, `answer`, `generations` (one text), `source` are those of the independent
reproduction's builder of the same set (Jungle728/G2RPO-A, scripts/build_math_cl_subset.py) and of the authors' `src/grpo.py`.
That builder writes the answer in dollar signs and keeps the bare one as `answer_raw`.
"""

import dataclasses
from typing import Any

from g2rpo.data.problem import Problem
from g2rpo.data.sources import openr1
from g2rpo.data.sources.cells import answer


def matches(columns: list[str]) -> bool:
    return {"problem", "answer_raw", "tier_index"} <= set(columns)


def problem(row: dict[str, Any]) -> Problem:
    read = openr1.problem(row)
    bare = answer(row.get("answer_raw"))
    return read if bare is None else dataclasses.replace(read, answer=bare)
