"""The exact rational value of a formula, under limits: towers of powers and huge factorials are refused, never
computed.
"""

from fractions import Fraction
from math import comb, factorial, isqrt, prod

from rlvr_graders.math.expressions import Node

MAX_BITS = 60_000
"""Largest numerator or denominator that is computed exactly."""

MAX_ROOT_BITS = 20_000
"""Largest number of which a root is taken exactly: that is slower than any other operation here."""

MAX_FACTORIAL = 2_000


class TooLarge(ValueError):
    """A formula whose value must not be computed: a tower of powers, a huge factorial."""


def variables(node: Node) -> frozenset[str]:
    """Names of the variables in a tree."""
    if node[0] == "var":
        return frozenset((node[1],))
    return frozenset().union(*(variables(child) for child in node[1:] if isinstance(child, tuple)))


def exact_value(node: Node) -> Fraction | None:
    """The rational value of a tree, or None when it is irrational, complex, undefined or has variables.

    Raises:
        TooLarge: The value is rational but beyond the limits.
    """
    kind = node[0]
    if kind == "num":
        return node[1]
    if kind in ("var", "const"):
        return None
    if kind == "fun":
        inner = exact_value(node[2])
        return abs(inner) if inner is not None and node[1] == "abs" else None
    values = [exact_value(child) for child in node[1:]]
    if any(value is None for value in values):
        return None
    a: Fraction = values[0]  # type: ignore[assignment]
    if kind == "neg":
        return -a
    if kind in ("fac", "fac2"):
        if a.denominator != 1 or a < 0:
            return None
        if a > MAX_FACTORIAL:
            raise TooLarge("a huge factorial")
        return Fraction(factorial(int(a)) if kind == "fac" else prod(range(int(a), 0, -2)))
    b: Fraction = values[1]  # type: ignore[assignment]
    if kind == "add":
        return _bounded(a + b)
    if kind == "mul":
        return _bounded(a * b)
    if kind == "div":
        return _bounded(a / b) if b else None
    if kind == "pow":
        return _power(a, b)
    if kind == "root":
        return _power(a, 1 / b) if b > 0 and b.denominator == 1 and a >= 0 else None
    if kind == "binom":
        if a.denominator != 1 or b.denominator != 1 or a < 0 or b < 0:
            return None
        if a > 10 * MAX_FACTORIAL:
            raise TooLarge("a huge binomial")
        return Fraction(comb(int(a), int(b)))
    return None


def _bounded(value: Fraction) -> Fraction:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > MAX_BITS:
        raise TooLarge("a huge number")
    return value


def _power(base: Fraction, exponent: Fraction) -> Fraction | None:
    if exponent.denominator != 1:
        root = _root(base, exponent.denominator)
        return None if root is None else _power(root, Fraction(exponent.numerator))
    if base == 0:
        return Fraction(0) if exponent > 0 else None
    if base in (1, -1):
        return base if exponent.numerator % 2 else Fraction(1)
    bits = max(base.numerator.bit_length(), base.denominator.bit_length())
    if bits * abs(exponent.numerator) > MAX_BITS:
        raise TooLarge("a tower of powers")
    return base**exponent.numerator


def _root(value: Fraction, index: int) -> Fraction | None:
    """The exact positive root, or None when it is irrational (or the value negative, where roots are complex)."""
    if value < 0 or index > 64:
        return None
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > MAX_ROOT_BITS:
        raise TooLarge("a root of a huge number")
    numerator, denominator = _integer_root(value.numerator, index), _integer_root(value.denominator, index)
    return None if numerator is None or denominator is None else Fraction(numerator, denominator)


def _integer_root(value: int, index: int) -> int | None:
    if value < 2:
        root = value
    elif index == 2:
        root = isqrt(value)
    else:  # Newton's steps fall from above until they would rise, doubling the digits that are right
        root, lower = 0, 1 << -(-value.bit_length() // index)
        while root == 0 or lower < root:
            root = lower
            lower = ((index - 1) * root + value // root ** (index - 1)) // index
    return root if root**index == value else None
