"""Cells of a row, read with the same care everywhere: what is missing or of the wrong type is a sentence, not a traceback."""

import math
import re
from typing import Any

from g2rpo.errors import DataError

_FENCED = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)\n?```", re.DOTALL | re.IGNORECASE)


def text(row: dict[str, Any], *columns: str) -> str:
    """The first of these columns that the row has, which must hold text.

    Raises:
        DataError: none of them, or something else than text.
    """
    for column in columns:
        if column in row:
            if not isinstance(row[column], str) or not row[column].strip():
                raise DataError(f"column {column!r}", row[column], expected="text", then="Fill the cell or drop the row.")
            return str(row[column])
    raise DataError(
        f"column {columns[0]!r}",
        expected=f"it among the columns {', '.join(row)}",
        then="For data of another shape, name the columns in the recipe's `columns`.",
    )


def answer(value: Any) -> str | None:
    """A gold answer as text: 4.0 from a column of floats is 4. None stays None, and so does an empty cell."""
    refuse_nan(value, "answer")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return None if value is None else str(value).strip() or None


def refuse_nan(value: Any, what: str) -> None:
    """An empty cell that became a number on its way: as text it would be an answer that nobody can give.

    Raises:
        DataError: nan or an infinity.
    """
    if isinstance(value, float) and not math.isfinite(value):
        raise DataError(
            what,
            value,
            expected="the final answer",
            then="Fill the cell or drop the row; nan is what tables make of an empty one.",
        )


def question(content: str) -> list[dict[str, str]]:
    """A conversation of one question."""
    return [{"role": "user", "content": content}]


def first(row: dict[str, Any], *columns: str) -> Any:
    """The first of these columns that holds anything; None without one."""
    return next((row[column] for column in columns if row.get(column) not in (None, "")), None)


def program(cell: str | None) -> str | None:
    """A program, freed from the Markdown fence around it; None for none."""
    if not cell or not cell.strip():
        return None
    fenced = _FENCED.search(cell)
    return fenced.group(1) if fenced else cell
