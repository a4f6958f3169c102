"""Is this value the expected one? By type and value, on plain data that was decoded outside of the sandbox.

The rules, which are EvalPlus's (`evalplus/eval/__init__.py`: `==`, then a float tolerance) made exact about types:

- bool equals bool only (unless `strict` is off); None, str and bytes equal their own kind only;
- numbers equal by value, `1 == 1.0`; where a float is expected within `atol + rtol * |expected|` (1e-6 and 1e-7, as
there),
  at any depth; NaN equals an expected NaN, an infinity the same infinity;
- list and tuple are different, element by element and of equal length; set equals frozenset; dict by keys and values.
"""

import math
from collections import deque
from decimal import Decimal
from fractions import Fraction
from typing import Any

ATOL, RTOL = 1e-6, 1e-7
_NUMBERS = (int, float, complex, Decimal, Fraction)
_SEQUENCES = (list, tuple, deque)
_SETS = (set, frozenset)


def equal(actual: Any, expected: Any, *, atol: float = ATOL, rtol: float = RTOL, strict: bool = True) -> bool:
    """Whether `actual`, decoded plain data, is `expected`. Never raises for plain data of any size or depth that
    decodes.

    With `strict` off, True equals 1 and False equals 0, as they do in Python and so in the assertions of a data set.
    """
    if not strict:
        actual, expected = (int(value) if type(value) is bool else value for value in (actual, expected))
    kind, wanted = type(actual), type(expected)
    settings: Any = {"atol": atol, "rtol": rtol, "strict": strict}
    if wanted is bool or kind is bool:
        return kind is wanted and actual == expected
    if wanted in _NUMBERS:
        return kind in _NUMBERS and _same_number(actual, expected, atol, rtol)
    if wanted in _SEQUENCES:
        return (
            kind is wanted
            and len(actual) == len(expected)
            and all(equal(a, e, **settings) for a, e in zip(actual, expected, strict=True))
        )
    if wanted in _SETS:
        key = _typed if strict else _as_is
        return kind in _SETS and set(map(key, actual)) == set(map(key, expected))
    if wanted is dict:
        if kind is not dict or len(actual) != len(expected):
            return False
        key = _typed if strict else _as_is
        found = {key(name): value for name, value in actual.items()}
        return all(key(name) in found and equal(found[key(name)], value, **settings) for name, value in expected.items())
    return kind is wanted and actual == expected


def _typed(key: Any) -> Any:
    """A hashable stand-in that tells True from 1, at any depth of tuples and frozen sets."""
    if type(key) in (tuple, frozenset):
        return type(key)(map(_typed, key))
    return (bool, key) if type(key) is bool else key  # no plain data holds a type


def _as_is(key: Any) -> Any:
    return key


def _same_number(actual: Any, expected: Any, atol: float, rtol: float) -> bool:
    try:
        if type(expected) is float:
            if math.isnan(expected):
                return type(actual) is float and math.isnan(actual)
            if type(actual) is complex or math.isinf(expected):
                return actual == expected
            return abs(float(actual) - expected) <= atol + rtol * abs(expected)
        if type(expected) is complex:
            return abs(complex(actual) - expected) <= atol + rtol * abs(expected)
        return actual == expected
    except (OverflowError, ValueError, ArithmeticError):  # an int beyond floats, a signalling Decimal
        return False


def same_text(actual: bytes, expected: str) -> bool:
    """Whether a program's standard output is the expected text.

    The bytes must be valid UTF-8. All lines are compared, without white space at their ends; blank lines at the end
    of the text do not count, blank lines elsewhere do.
    """
    try:
        text = actual.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return _lines(text) == _lines(expected)


def _lines(text: str) -> list[str]:
    lines = [line.rstrip() for line in text.replace("\r\n", "\n").split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def brief(value: Any, limit: int = 80) -> str:
    """A value for a reason, cut, whatever its size: `repr` refuses ints of more than 4300 digits."""
    try:
        text = repr(value)
    except (ValueError, RecursionError, MemoryError):
        text = f"<{type(value).__name__}>"
    return text if len(text) <= limit else text[: limit - 1] + "…"
