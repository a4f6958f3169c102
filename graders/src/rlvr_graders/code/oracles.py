"""How an answer is compared where equality is not the question; names as they stand in the `compare` of a case.

The special cases are EvalPlus's (`evalplus/eval/_special_oracle.py` and `evalplus/eval/__init__.py`), written anew.
"""

import math
from collections.abc import Callable
from typing import Any

from rlvr_graders.code.equality import equal


def _as_sets(actual: Any, expected: Any, args: tuple[Any, ...], atol: float, rtol: float) -> bool:
    """The order and the number of equal elements do not matter."""
    kinds = (list, tuple, set, frozenset)
    try:
        return type(actual) in kinds and equal(set(actual), set(expected), strict=False)
    except TypeError:  # unhashable elements
        return False


def _is_something(actual: Any, expected: Any, args: tuple[Any, ...], atol: float, rtol: float) -> bool:
    """Only whether there is a result matters (a match or None)."""
    return (actual is not None) == (expected is not None if type(expected) is not bool else expected)


def _polynomial_root(actual: Any, expected: Any, args: tuple[Any, ...], atol: float, rtol: float) -> bool:
    """Any root of the polynomial whose coefficients, lowest power first, are the argument (HumanEval/32)."""
    if type(actual) not in (int, float):
        return False
    try:
        if not math.isfinite(actual):
            return False
        value = sum(coefficient * math.pow(actual, power) for power, coefficient in enumerate(args[0]))
    except (OverflowError, ValueError):
        return False
    return abs(value) <= max(atol, 1e-4)


def _exact(actual: Any, expected: Any, args: tuple[Any, ...], atol: float, rtol: float) -> bool:
    return equal(actual, expected, atol=atol, rtol=rtol)


def _python(actual: Any, expected: Any, args: tuple[Any, ...], atol: float, rtol: float) -> bool:
    """As `==` in an assertion: 0 is False."""
    return equal(actual, expected, atol=atol, rtol=rtol, strict=False)


ORACLES: dict[str, Callable[[Any, Any, tuple[Any, ...], float, float], bool]] = {
    "exact": _exact,
    "python": _python,
    "set": _as_sets,
    "not_none": _is_something,
    "polynomial_root": _polynomial_root,
}
"""Each takes the decoded answer, the expected value, the arguments, atol and rtol."""
