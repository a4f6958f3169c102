"""G2RPO-A/Code-CoT: 1,086 problems of verifiable-coding-problems-python, with traces of QwQ-32B-Preview and tests.

Its card could not be opened. The authors' `src/grpo.py` (T-Lab-CUHKSZ/G2RPO-A) reads `problem` and the trace from `generations`,
or from `solution`, and their reward is open-r1's, which reads `verification_info`: these are the columns understood here. Other
names can be mapped.
"""

from typing import Any

from g2rpo.data.problem import Problem
from g2rpo.data.sources import verifiable_coding
from g2rpo.data.sources.cells import first


def matches(columns: list[str]) -> bool:
    return {"verification_info", "generations"} <= set(columns)


def problem(row: dict[str, Any]) -> Problem:
    return verifiable_coding.problem({**row, "generations": first(row, "generations", "solution")})
