"""The errors of this package are those of the graders: one root and one shape for all."""

from collections.abc import Iterable, Sequence

from rlvr_graders.errors import ConfigError, DataError, RunError, SandboxError, UserError, nearest

G2RPOError = UserError
"""The root of them all: `except G2RPOError` catches every mistake that a person can mend."""

__all__ = ["ConfigError", "DataError", "G2RPOError", "RunError", "SandboxError", "UserError", "nearest", "one_of", "rows_from_1"]


def one_of(name: str, value: object, known: Iterable[str]) -> None:
    """Raises `ConfigError` where a setting has none of its known values; names the nearest."""
    known = tuple(known)
    if value not in known:
        raise ConfigError(name, value, expected=f"one of {', '.join(known)}", then=nearest(str(value), known))


def rows_from_1(numbers: Sequence[int], shown: int = 5) -> str:
    """How every message names rows of data, given as Python counts them: from 1, as an editor does.

    Row 1 is the first line of a JSONL file, and the first row below the column names of a CSV file.
    """
    told = [str(number + 1) for number in numbers[:shown]]
    if len(numbers) > shown:
        told.append("…")
    elif len(told) > 1:
        told[-2:] = [" and ".join(told[-2:])]
    return f"row{'s' if len(numbers) > 1 else ''} {', '.join(told)} (counted from 1)"
