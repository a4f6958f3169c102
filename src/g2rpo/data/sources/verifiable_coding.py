"""verifiable-coding-problems-python (open-r1/…): `problem_statement` (`problem` in the 10k set), `gold_standard_solution`,
`problem_id`, `source`, and `verification_info` = `{language, test_cases: [{fn_name, input, output, type}]}`. Seen in open-r1's
code reward and in scripts that read the set. Tests of type `stdin_stdout` are programs' input and output; the few of type
`function_call` have arguments that are not given one by one: where they cannot be read, the row has no tests and is left out.
"""

import json
from typing import Any

from g2rpo.data.problem import Problem
from g2rpo.data.sources.cells import first, program, question, text
from g2rpo.data.trace_text import clean_trace
from g2rpo.errors import DataError

TRACES = ("generations", "reasoning", "trace")


def matches(columns: list[str]) -> bool:
    return "verification_info" in columns and bool({"problem_statement", "problem"} & set(columns))


def problem(row: dict[str, Any]) -> Problem:
    asked = text(row, "problem_statement", "problem").strip()
    worked = first(row, *TRACES)
    found = [t for t in map(clean_trace, [worked] if isinstance(worked, str) else worked or []) if t]
    return Problem(
        key=f"code:{row.get('problem_id') or asked}",
        prompt=question(asked),
        tests=_tests(row),
        trace=min(found, key=len) if found else None,
        traces=tuple(found),
        source=row.get("source") or "verifiable_coding",
    )


def _tests(row: dict[str, Any]) -> dict[str, Any] | None:
    info = row["verification_info"]
    try:
        cases = (json.loads(info) if isinstance(info, str) else info)["test_cases"]
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(
            "column 'verification_info'", info, expected="an object with test_cases", then=f"{type(error).__name__}: {error}"
        ) from error
    if not cases:
        raise DataError(
            "column 'verification_info'",
            info,
            expected="at least one test case: without one, nothing can be right",
            then="Drop the row.",
        )
    named = next((case["fn_name"] for case in cases if case.get("fn_name")), None)
    tests = _function(named, cases) if named else _stdio(cases)
    solution = program(row.get("gold_standard_solution"))
    return tests if tests is None or solution is None else {**tests, "solution": solution}


def _stdio(cases: list[dict[str, Any]]) -> dict[str, Any]:
    return {"kind": "stdio", "cases": [{"stdin": _text(case["input"]), "stdout": _text(case["output"])} for case in cases]}


def _function(entry: str, cases: list[dict[str, Any]]) -> dict[str, Any] | None:
    read = []
    for case in cases:
        try:
            arguments, expected = (
                json.loads(cell) if isinstance(cell, str) else cell for cell in (case["input"], case["output"])
            )
        except ValueError:
            return None
        if not isinstance(arguments, list):
            return None
        read.append({"args": arguments, "expected": expected})
    return {"kind": "function", "entry": entry, "cases": read}


def _text(cell: Any) -> str:
    return cell if isinstance(cell, str) else "\n".join(map(str, cell)) if isinstance(cell, list) else str(cell)
