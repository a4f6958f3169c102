"""Programs: write a small Python function that applies a row of simple operations; graded by hidden tests.

    x is a list of integers. Write a Python function f(x) that does this and returns the result:
    add 3 to each number; reverse the list; take the sum (0 if empty).
    x=[i+3 for i in x]: [4,7] -> [7,10]
    x=x[::-1]: [7,10] -> [10,7]
    [10,7] -> 17

A worked step is the line of code of one operation and what it does to an example. The code of the last operation stands nowhere
in the trace, so that whoever is shown all of it still has to do the last step, and the program as a whole stands in `solution` of
the tests alone. Every operation is computed twice, here and by its line of code: `run` gives the expected values, `code` the
reference solution.

A problem is drawn so that its tests tell: none of its operations can be left out unnoticed, and no constant passes more than half
of the tests. The trace's example is not a test. Two problems with equal operations are one, whatever their example and tests.
"""

import ast
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

from g2rpo.data.problem import Problem

ENTRY = "f"
CASES = 8
"""Hidden tests per problem, edge cases first."""
LIMIT = 10**6
"""Largest absolute value of a number, on every test and after every operation."""
LENGTH = 40
"""Most items of a list and characters of a string, likewise."""
SHOWN = 12
"""Most characters of a value after an operation in the trace."""

Value = int | str | list


@dataclass(frozen=True)
class Operation:
    """One thing done to x: in words, in Python (`x` is the value before), and as we compute it."""

    takes: str
    gives: str
    words: str
    code: str
    run: Callable[[Any], Any]

    @property
    def kind(self) -> str:
        """The operation without its numbers and letters."""
        return re.sub(r"'.'|\d+", "_", self.words)


START = {"list": "a list of integers", "int": "an integer", "str": "a string"}
EDGES: dict[str, tuple[Value, ...]] = {"list": ([], [0], [-3, -3]), "int": (0, -1, 10), "str": ("", "a", "Ab a")}
LETTERS = "abcde"


def _distinct(values: list) -> list:
    seen: list = []
    for value in values:
        if value not in seen:
            seen.append(value)
    return seen


def _list_operations(n: int) -> list[Operation]:
    to = lambda gives, words, code, run: Operation("list", gives, words, code, run)  # noqa: E731
    return [
        to("list", f"add {n} to each number", f"[i+{n} for i in x]", lambda v: [e + n for e in v]),
        to("list", f"multiply each number by {n + 1}", f"[i*{n + 1} for i in x]", lambda v: [e * (n + 1) for e in v]),
        to("list", f"keep the numbers above {n}", f"[i for i in x if i>{n}]", lambda v: [e for e in v if e > n]),
        to("list", f"add {n} at the end", f"x+[{n}]", lambda v: [*v, n]),
        to("list", f"drop the first {n}", f"x[{n}:]", lambda v: [e for i, e in enumerate(v) if i >= n]),
        to("list", f"keep the first {n + 1}", f"x[:{n + 1}]", lambda v: [e for i, e in enumerate(v) if i <= n]),
        to("list", "keep the even numbers", "[i for i in x if i%2==0]", lambda v: [e for e in v if not e & 1]),
        to("list", "keep the odd numbers", "[i for i in x if i%2]", lambda v: [e for e in v if e & 1]),
        to("list", "square each number", "[i*i for i in x]", lambda v: [e**2 for e in v]),
        to("list", "reverse the list", "x[::-1]", lambda v: list(reversed(v))),
        to("list", "sort from low to high", "sorted(x)", lambda v: sorted(v)),
        to("list", "keep the first of equal numbers", "list(dict.fromkeys(x))", _distinct),
        to("list", "keep every second, from the first on", "x[::2]", lambda v: [e for i, e in enumerate(v) if not i % 2]),
        to("int", "take the sum (0 if empty)", "sum(x)", lambda v: sum(v)),
        to("int", "take the length", "len(x)", lambda v: sum(1 for _ in v)),
        to("int", "take the largest (0 if empty)", "max(x,default=0)", lambda v: sorted(v)[-1] if v else 0),
        to("int", "take the smallest (0 if empty)", "min(x,default=0)", lambda v: sorted(v)[0] if v else 0),
    ]


def _int_operations(n: int) -> list[Operation]:
    to = lambda gives, words, code, run: Operation("int", gives, words, code, run)  # noqa: E731
    return [
        to("int", f"add {n}", f"x+{n}", lambda v: v + n),
        to("int", f"subtract {n}", f"x-{n}", lambda v: v - n),
        to("int", f"multiply by {n + 1}", f"x*{n + 1}", lambda v: v * (n + 1)),
        to("int", f"take the remainder by {n + 4}", f"x%{n + 4}", lambda v: v - (n + 4) * (v // (n + 4))),
        to("int", "take the absolute value", "abs(x)", lambda v: v if v >= 0 else -v),
        to("int", "square it", "x*x", lambda v: v**2),
        to(
            "list",
            "list its digits, without sign",
            "[int(c) for c in str(abs(x))]",
            lambda v: [int(c) for c in str(v).strip("-")],
        ),
        to("str", "write it as a string", "str(x)", lambda v: format(v, "d")),
    ]


def _str_operations(n: int) -> list[Operation]:
    to = lambda gives, words, code, run: Operation("str", gives, words, code, run)  # noqa: E731
    one, other = LETTERS[n % 5], LETTERS[(n + 2) % 5]
    return [
        to("str", "reverse the string", "x[::-1]", lambda v: "".join(reversed(v))),
        to("str", "make it upper case", "x.upper()", lambda v: "".join(c.upper() for c in v)),
        to("str", f"replace {one!r} by {other!r}", f"x.replace({one!r},{other!r})", lambda v: other.join(v.split(one))),
        to("str", f"remove {one!r}", f"x.replace({one!r},'')", lambda v: "".join(c for c in v if c != one)),
        to("str", f"keep the first {n + 1} characters", f"x[:{n + 1}]", lambda v: "".join(c for i, c in enumerate(v) if i <= n)),
        to("str", f"append {one!r}", f"x+{one!r}", lambda v: "".join([v, one])),
        to("str", "append it to itself", "x*2", lambda v: v + v),
        to("int", "take the length", "len(x)", lambda v: sum(1 for _ in v)),
        to("int", f"count {one!r}", f"x.count({one!r})", lambda v: sum(c == one for c in v)),
        to("list", "list the lengths of its words", "[len(w) for w in x.split()]", lambda v: list(map(len, v.split()))),
    ]


@lru_cache(maxsize=1)
def operations() -> dict[str, dict[str, tuple[Operation, ...]]]:
    """All operations by the type they take and by kind."""
    made: dict[str, dict[str, dict[str, Operation]]] = {name: {} for name in START}
    for family in (_list_operations, _int_operations, _str_operations):
        for n in range(1, 10):
            for op in family(n):
                made[op.takes].setdefault(op.kind, {})[op.words] = op
    return {name: {kind: tuple(ops.values()) for kind, ops in kinds.items()} for name, kinds in made.items()}


def problem(rng: random.Random, steps: int) -> Problem:
    """One function of `steps` operations (difficulty)."""
    while True:
        takes = rng.choice(sorted(START))
        example, inputs = _input(rng, takes, 3), [*EDGES[takes], *(_input(rng, takes, 6) for _ in range(CASES - 3))]
        grown = None if example in inputs else _grow(rng, takes, steps, [example, *inputs])
        if grown is None or any(grown[0][-1].code in op.code for op in grown[0][:-1]):
            continue
        if _tells(grown[0], inputs, grown[1][-1][1:]):
            break
    row, values = grown
    question = _question(row)
    return Problem(
        key=f"programs:{question}",
        prompt=[{"role": "user", "content": question}],
        trace=trace(row, example),
        tests={
            "kind": "function",
            "entry": ENTRY,
            "cases": [{"args": [one], "expected": value} for one, value in zip(inputs, values[-1][1:], strict=True)],
            "solution": solution(row),
        },
        difficulty=float(steps),
        source="programs",
    )


def random_program(rng: random.Random) -> str:
    """A program of one operation, whatever was asked for."""
    kinds = operations()[rng.choice(sorted(START))]
    return solution([rng.choice(kinds[rng.choice(sorted(kinds))])])


def _grow(rng: random.Random, takes: str, steps: int, values: list[Value]) -> tuple[list[Operation], list[list[Value]]] | None:
    """Operations, no two of one kind in a row, and the values before and after each; None where it led nowhere."""
    row: list[Operation] = []
    rows = [values]
    for _ in range(steps):
        kinds = operations()[row[-1].gives if row else takes]
        for _ in range(10):
            # First the kind of operation, then its number: each kind is as frequent as the others.
            kind = rng.choice([kind for kind in kinds if not row or kind != row[-1].kind])
            op = rng.choice(kinds[kind])
            after = [op.run(value) for value in rows[-1]]
            if _fits(rows[-1], after):
                break
        else:
            return None
        row.append(op)
        rows.append(after)
    return row, rows


def _fits(before: list[Value], after: list[Value]) -> bool:
    """Whether the example (the first) is changed and short, all values are small, and no constant is half of the others."""
    if after[0] == before[0] or len(_text(after[0])) > SHOWN:
        return False
    for value in after:
        if not isinstance(value, int) and len(value) > LENGTH:
            return False
        if not isinstance(value, str) and any(abs(n) > LIMIT for n in (value if isinstance(value, list) else [value])):
            return False
    return 2 * max(after[1:].count(value) for value in after[1:]) <= len(after) - 1


def _question(row: list[Operation]) -> str:
    told = "; ".join(op.words for op in row)
    return f"x is {START[row[0].takes]}. Write a Python function {ENTRY}(x) that does this and returns the result: {told}."


def trace(row: list[Operation], example: Value) -> str:
    """A line per operation: its code and what it does to the example; of the last one, only what it does."""
    values = [example]
    for op in row:
        values.append(op.run(values[-1]))
    effects = [f"{_text(before)} -> {_text(after)}" for before, after in pairwise(values)]
    return "\n".join([*(f"x={op.code}: {effect}" for op, effect in zip(row, effects[:-1], strict=False)), effects[-1]])


def row_of(problem: Problem) -> list[Operation]:
    """The operations that a problem asks for, read back from its question."""
    question = problem.prompt[0]["content"]
    kind = next(name for name, words in START.items() if question.startswith(f"x is {words}."))
    row: list[Operation] = []
    for words in question.rpartition(": ")[2].removesuffix(".").split("; "):
        known = {op.words: op for ops in operations()[kind].values() for op in ops}
        row.append(known[words])
        kind = row[-1].gives
    return row


def example_of(problem: Problem) -> Value:
    """The value that a problem's trace begins with."""
    return ast.literal_eval(problem.trace.split("\n")[0].rpartition(": ")[2].partition(" -> ")[0])


def shown(row: list[Operation], example: Value) -> bool:
    """Whether a trace of these operations can be told: every step changes the example and leaves it short."""
    value = example
    for op in row:
        before, value = value, op.run(value)
        if value == before or len(_text(value)) > SHOWN:
            return False
    return True


def passes(row: list[Operation], tests: dict[str, Any]) -> bool:
    """Whether these operations give what a problem's tests expect."""
    return all(_last(row, case["args"][0]) == case["expected"] for case in tests["cases"])


def solution(row: list[Operation]) -> str:
    """The operations as a function."""
    lines = [f"x={op.code}" for op in row[:-1]] + [f"return {row[-1].code}"]
    return "\n".join([f"def {ENTRY}(x):", *(f"    {line}" for line in lines)])


def _input(rng: random.Random, kind: str, size: int) -> Value:
    if kind == "list":
        return [rng.randint(-9, 9) for _ in range(rng.randint(2, size))]
    if kind == "int":
        return rng.randint(-60, 99)
    return "".join(rng.choice(LETTERS + LETTERS.upper()[:2] + " ") for _ in range(rng.randint(2, 2 * size)))


def _tells(row: list[Operation], inputs: list[Value], expected: list[Value]) -> bool:
    """Whether the tests notice every operation that is left out."""
    for number, op in enumerate(row):
        rest = row[:number] + row[number + 1 :]
        if op.takes == op.gives and all(_last(rest, one) == value for one, value in zip(inputs, expected, strict=True)):
            return False
    return True


def _last(row: list[Operation], value: Value) -> Value:
    for op in row:
        value = op.run(value)
    return value


def _text(value: Value) -> str:
    """As Python writes it; lists without blanks."""
    return repr(value).replace(" ", "") if isinstance(value, list) else repr(value)
