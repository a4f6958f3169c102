"""HumanEval+ and MBPP+ rows as function tests: inputs as data, expected values from the reference solution, run in the sandbox.

The data sets store inputs as JSON, so tuples and sets have become lists. The types of each argument are taken from the row
itself: from the literal calls of its assertions (MBPP+).
"""

import ast
from collections.abc import Sequence
from typing import Any

from rlvr_graders.code.equality import ATOL
from rlvr_graders.code.tests import Case, Digest, FunctionTests, ReferenceTests, RunnableTests, Tests
from rlvr_graders.errors import DataError
from rlvr_graders.sandbox import Call, ExecRequest, Sandbox

_AS_SETS = (
    "similar_elements",
    "find_char_long",
    "common_in_nested_lists",
    "extract_singly",
    "larg_nnum",
    "intersection_array",
    "find_dissimilar",
    "Diff",
)
_ONLY_WHETHER = ("check_str", "text_match_three", "text_starta_endb")
REFERENCE_TIMEOUT_S = 30.0


def inputs_of(row: dict[str, Any], *, plus: bool = True) -> list[tuple[Any, ...]]:
    """The arguments of each test of a row, with the types that its assertions show."""
    calls = list(row["base_input"]) + (list(row["plus_input"] or []) if plus else [])
    examples = _literal_calls(row.get("assertion") or "", row["entry_point"])
    if not examples:
        return [tuple(arguments) for arguments in calls]
    return [tuple(_like(value, [e[at] for e in examples if at < len(e)]) for at, value in enumerate(c)) for c in calls]


def _literal_calls(text: str, entry: str) -> list[list[Any]]:
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == entry:
            try:
                found.append([ast.literal_eval(argument) for argument in node.args])
            except ValueError:
                continue
    return found


def _like(value: Any, examples: list[Any], outer: type = list) -> Any:
    """A JSON value with the types of the examples at the same place; below the examples' depth, those of the level above."""
    if isinstance(value, list):
        containers = [example for example in examples if isinstance(example, (list, tuple, set))]
        kinds = {type(example) for example in containers}
        kind = kinds.pop() if len(kinds) == 1 else outer if not kinds else list
        inner = [part for example in containers for part in example]
        rows = [example for example in containers if not isinstance(example, set) and len(example) == len(value)]
        by_position = rows and len({type(part) for part in inner}) > 1
        # A record such as (name, marks) goes by position, a collection by all of its elements.
        parts = [_like(part, [row[at] for row in rows] if by_position else inner, kind) for at, part in enumerate(value)]
        return kind(parts)
    if isinstance(value, dict):
        inner = [part for example in examples if isinstance(example, dict) for part in example.values()]
        return {key: _like(part, inner, outer) for key, part in value.items()}
    if isinstance(value, str) and examples and not any(isinstance(example, str) for example in examples):
        try:
            return complex(value)  # the only other type that JSON had to spell as a string
        except ValueError:
            return value
    return value


def evalplus_tests(rows: list[dict[str, Any]], sandbox: Sandbox, *, plus: bool = True) -> list[FunctionTests | DataError]:
    """Tests of rows of HumanEval+ or MBPP+.

    Args:
        rows: Rows as published (`entry_point`, `prompt`, `canonical_solution`, `base_input`, `plus_input`, `atol`).
        sandbox: Runs the reference solutions.
        plus: With the added inputs, or with the base ones only.

    Returns:
        In order; a `DataError` in place of the tests where the reference solution fails on an input.
    """
    inputs = [inputs_of(row, plus=plus) for row in rows]
    requests = [
        ExecRequest(
            program_of(row, row["canonical_solution"]),
            entry=row["entry_point"],
            calls=tuple(_call(row, arguments) for arguments in arguments_of),
            timeout_s=REFERENCE_TIMEOUT_S,
            memory_mb=2048,
            max_output_bytes=64 << 20,
        )
        for row, arguments_of in zip(rows, inputs, strict=True)
    ]
    tests: list[FunctionTests | DataError] = []
    for row, arguments_of, result in zip(rows, inputs, sandbox.run_many(requests), strict=True):
        if result.status != "ok":
            tests.append(
                DataError(
                    f"The reference solution of {row['task_id']}",
                    f"{result.status}: {result.reason}",
                    expected="a value for every input",
                    then="Leave the row out.",
                )
            )
            continue
        compare = _comparison(row)
        values = [call.value() if call.digest is None else Digest(*call.digest) for call in result.results]
        cases = [Case(_call(row, a), value, compare) for a, value in zip(arguments_of, values, strict=True)]
        prompt = row["prompt"] if row["task_id"].startswith("HumanEval") else ""
        atol = float(row.get("atol") or 0) or ATOL
        tests.append(FunctionTests(tuple(cases), row["entry_point"], prompt=prompt, atol=atol, reference_s=result.wall_s))
    return tests


def resolve(tests: Sequence[Tests], sandbox: Sandbox) -> list[RunnableTests | DataError]:
    """The same tests, those of EvalPlus with their expected values: computed once and kept with them.

    A `DataError` stands in place of tests whose reference solution fails.
    """
    pending = list({id(one): one for one in tests if isinstance(one, ReferenceTests) and one.resolved is None}.values())
    failed: dict[int, DataError] = {}
    for one, made in zip(pending, evalplus_tests([one.row for one in pending], sandbox), strict=True):
        if isinstance(made, DataError):
            failed[id(one)] = made
        else:
            one.resolved = made
    return [(one.resolved or failed[id(one)]) if isinstance(one, ReferenceTests) else one for one in tests]


def program_of(row: dict[str, Any], solution: str) -> str:
    """A whole program: HumanEval's solutions continue the prompt, MBPP's stand alone."""
    return row["prompt"] + solution if row["task_id"].startswith("HumanEval") else solution


def _call(row: dict[str, Any], arguments: tuple[Any, ...]) -> Call:
    """A match object is no plain data; where only its being there matters, that is what is asked for."""
    if row["entry_point"] in _ONLY_WHETHER and not row["task_id"].startswith("HumanEval"):
        return Call(expr=f"{row['entry_point']}(*{arguments!r}) is not None")
    return Call(arguments)


def _comparison(row: dict[str, Any]) -> str:
    entry = row["entry_point"]
    if row["task_id"].startswith("HumanEval"):
        return "polynomial_root" if entry == "find_zero" else "python"
    return "set" if entry in _AS_SETS else "python"
