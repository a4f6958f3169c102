"""HumanEval (openai/openai_humaneval, 164 problems): `task_id`, `prompt` (the beginning of a program), `canonical_solution` (its
continuation), `test` (`def check(candidate)`), `entry_point`. Seen in the data itself (github.com/openai/human-eval).
"""

from typing import Any

from g2rpo.data.problem import Problem
from g2rpo.data.sources.cells import question, text


def matches(columns: list[str]) -> bool:
    return {"task_id", "prompt", "entry_point", "test"} <= set(columns) and "base_input" not in columns


def problem(row: dict[str, Any]) -> Problem:
    start = text(row, "prompt")
    tests = {"kind": "check", "entry": text(row, "entry_point"), "prompt": start, "test": text(row, "test")}
    if row.get("canonical_solution"):
        tests["solution"] = start + row["canonical_solution"]
    return Problem(key=text(row, "task_id"), prompt=question(start), tests=tests, source="humaneval")
