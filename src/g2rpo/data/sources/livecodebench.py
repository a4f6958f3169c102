"""LiveCodeBench, code generation (livecodebench/code_generation_lite): `question_content`, `question_id`, `starter_code`,
`difficulty` (easy, medium, hard), `public_test_cases` as JSON, `private_test_cases` as JSON or as base64 of zlib of a pickled
string, and `metadata` with `func_name`. Seen in LiveCodeBench's own loader (lcb_runner/benchmarks/code_generation.py).

A test is `{input, output, testtype}`: `stdin` for whole programs, `functional` for a method of `class Solution` whose arguments
stand one per line. The pickle is read by an unpickler that knows no class and no function, so it can hold nothing but the string.
"""

import base64
import binascii
import io
import json
import pickle
import zlib
from typing import Any

from g2rpo.data.problem import Problem
from g2rpo.data.sources.cells import question, text
from g2rpo.errors import DataError

IMPORTS = """from typing import *
from collections import *
from itertools import *
from functools import *
from heapq import *
from bisect import *
from math import *
import bisect, collections, functools, heapq, itertools, math, operator, random, re, string, sys
"""
"""What a solution may take for granted: LiveCodeBench puts such imports before every program, for starter code names `List`."""
LEVELS = {"easy": 0.0, "medium": 1.0, "hard": 2.0}


def matches(columns: list[str]) -> bool:
    return {"question_content", "public_test_cases", "private_test_cases"} <= set(columns)


def problem(row: dict[str, Any]) -> Problem:
    starter = (row.get("starter_code") or "").strip("\n")
    asked = text(row, "question_content").strip() + (f"\n\n```python\n{starter}\n```" if starter.strip() else "")
    level = str(row.get("difficulty") or "")
    return Problem(
        key=f"livecodebench:{text(row, 'question_id')}",
        prompt=question(asked),
        tests=_tests(row),
        difficulty=LEVELS.get(level),
        source=row.get("platform") or "livecodebench",
    )


def _tests(row: dict[str, Any]) -> dict[str, Any]:
    cases = _decoded(row["public_test_cases"], "public_test_cases") + _decoded(row["private_test_cases"], "private_test_cases")
    if not cases:
        raise DataError(
            "column 'public_test_cases'", row["public_test_cases"], expected="at least one test", then="Drop the row."
        )
    if cases[0].get("testtype") != "functional":
        return {"kind": "stdio", "cases": [{"stdin": case["input"], "stdout": case["output"]} for case in cases]}
    name = json.loads(row.get("metadata") or "{}").get("func_name")
    if not name:
        raise DataError(
            "column 'metadata'", row.get("metadata"), expected="func_name, the method that the tests call", then="Drop the row."
        )
    try:
        return {
            "kind": "function",
            "entry": name,
            "prompt": IMPORTS,
            "cases": [{"call": _call(name, case["input"]), "expected": json.loads(case["output"])} for case in cases],
        }
    except ValueError as error:
        raise DataError("tests", cases[0], expected="arguments and results as JSON", then=f"{error}. Drop the row.") from error


def _decoded(cell: str | list[Any] | None, column: str) -> Any:
    if not isinstance(cell, str):
        return cell or []
    try:
        if cell.lstrip()[:1] == "[":
            return json.loads(cell)
        return json.loads(_PlainUnpickler(io.BytesIO(zlib.decompress(base64.b64decode(cell)))).load())
    except (ValueError, TypeError, binascii.Error, zlib.error, pickle.UnpicklingError, EOFError) as error:
        raise DataError(
            f"column {column!r}",
            cell,
            expected="tests as JSON, or as LiveCodeBench packs them",
            then=f"{type(error).__name__}: {error}",
        ) from error


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"{module}.{name} in a place where only text belongs")


def _call(name: str, lines: str) -> str:
    """The call of one case, whose arguments are JSON, one per line."""
    arguments = (repr(json.loads(line)) for line in lines.split("\n") if line.strip())
    return f"Solution().{name}({', '.join(arguments)})"
