r"""HumanEval+ and MBPP+ (EvalPlus): many more inputs for the problems of HumanEval and MBPP.

The release files (github.com/evalplus/humanevalplus_release, …/mbppplus_release) have `task_id`, `prompt`, `entry_point`,
`canonical_solution`, `base_input`, `plus_input`, `atol` and, for MBPP+, `assertion`: inputs without expected values, which the
reference solution gives, in the sandbox, when the tests are first used (`kind: evalplus`). Seen in the data itself.

The copies on the hub (evalplus/humanevalplus, evalplus/mbppplus) have a test program instead, in which `inputs` and `results`
are written out; where they can be read as plain values they become assertions. Seen in scripts that read them.
"""

import ast
from typing import Any

from g2rpo.data.problem import Problem
from g2rpo.data.sources.cells import program, question, text
from g2rpo.errors import DataError

FIELDS = ("task_id", "prompt", "entry_point", "canonical_solution", "base_input", "plus_input", "atol", "assertion")


def matches(columns: list[str]) -> bool:
    release = {"task_id", "prompt", "entry_point", "base_input"} <= set(columns)
    return release or {"task_id", "prompt", "test", "test_list"} <= set(columns)


def problem(row: dict[str, Any]) -> Problem:
    name, start = str(row["task_id"]), text(row, "prompt")
    source = "humanevalplus" if name.startswith("HumanEval") else "mbppplus"
    if "base_input" in row:
        tests: dict[str, Any] | None = _released(row, source)
    else:
        name = name if "/" in name else f"Mbpp/{name}"
        tests = _written_out(row, source)
    return Problem(
        key=f"{name}+", prompt=question(start.strip("\n") if source == "mbppplus" else start), tests=tests, source=source
    )


def _released(row: dict[str, Any], source: str) -> dict[str, Any]:
    if not row["base_input"]:
        raise DataError(
            "column 'base_input'",
            row["base_input"],
            expected="at least one input: without one, nothing can be right",
            then="Drop the row.",
        )
    solution = text(row, "canonical_solution")
    whole = row["prompt"] + solution if source == "humanevalplus" else solution
    return {"kind": "evalplus", **{name: row[name] for name in FIELDS if row.get(name) is not None}, "solution": whole}


def _written_out(row: dict[str, Any], source: str) -> dict[str, Any] | None:
    found: dict[str, Any] = {}
    for node in ast.walk(ast.parse(text(row, "test"))):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id in ("inputs", "results"):
            try:
                found[node.targets[0].id] = ast.literal_eval(node.value)
            except ValueError:
                return None  # values that only a program can make
    if not found.get("inputs") or len(found["inputs"]) != len(found.get("results", ())):
        return None
    entry = row.get("entry_point") or _called(row["test_list"][0])
    asserts = [
        f"assert {entry}(*{given!r}) == {wanted!r}" for given, wanted in zip(found["inputs"], found["results"], strict=True)
    ]
    start = row["prompt"] if source == "humanevalplus" else ""
    solution = start + row["canonical_solution"] if start else program(row.get("code"))
    return {"kind": "assert", "asserts": asserts, "setup": "", "entry": entry, "prompt": start, "solution": solution}


def _called(line: str) -> str:
    names = [
        node.func.id
        for node in ast.walk(ast.parse(line.strip()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    ]
    return next(name for name in names if name not in ("set", "sorted", "len", "list", "tuple"))
