"""Completions that something else produced: one JSON object per line, matched to a suite's problems by key or by place."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from g2rpo.data.problem import Problem
from g2rpo.errors import DataError, nearest


def read_completions(path: Path, problems: Sequence[Problem]) -> list[list[str]]:
    """The completions of each problem, in the order of the problems and, within one, of the lines.

    A line is `{"completion": ..., "key": ...}` or `{"completion": ..., "index": ...}` with the problem's place, from 0; other
    fields are not looked at.

    Raises:
        DataError: an unreadable line, an unknown problem, or problems with none or with unequal numbers of completions.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError("completions", str(path), expected=f"a readable file ({error})", then="Check the path.") from None
    place = {problem.key: number for number, problem in enumerate(problems)}
    found: list[list[str]] = [[] for _ in problems]
    for number, line in enumerate(lines, start=1):
        if line.strip():
            row = _row(line, f"line {number} of {path}")
            found[_place(row, place, len(problems), f"line {number} of {path}")].append(row["completion"])
    missing = [p.key for p, own in zip(problems, found, strict=True) if not own]
    if missing:
        raise DataError(
            f"completions of {missing[0][:80]!r} (and of {len(missing) - 1} more problems)",
            expected=f"one for each of the {len(problems)} problems",
            then="A part of a suite is another suite: add them, or grade the first so many problems with --limit.",
        )
    sizes = sorted({len(own) for own in found})
    if len(sizes) > 1:
        few = next(p.key for p, own in zip(problems, found, strict=True) if len(own) == sizes[0])
        raise DataError(
            f"completions of {few[:80]!r}",
            sizes[0],
            expected=f"as many for every problem; another has {sizes[-1]}",
            then="Add or drop some.",
        )
    return found


def _row(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(where, line[:100], expected="a JSON object", then=f"It does not parse: {error}.") from None
    if not isinstance(row, dict) or not isinstance(row.get("completion"), str):
        value = row.get("completion") if isinstance(row, dict) else row
        raise DataError(f"`completion` in {where}", value, expected="a string", then="Mend the line.")
    return row


def _place(row: dict[str, Any], place: dict[str, int], n: int, where: str) -> int:
    if "key" in row:
        if row["key"] not in place:
            raise DataError(
                f"`key` in {where}",
                row["key"],
                expected="the key of a problem of this suite",
                then=nearest(str(row["key"]), list(place)[:2000]),
            )
        return place[row["key"]]
    index = row.get("index")
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < n:
        raise DataError(
            f"`index` in {where}",
            index,
            expected=f"a number from 0 to {n - 1}, or a `key`",
            then="Say which problem it belongs to.",
        )
    return index
