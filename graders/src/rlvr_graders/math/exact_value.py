"""The exact rational value of a formula, under limits: towers of powers and huge factorials are refused, never
computed.
"""

from fractions import Fraction
from math import comb, factorial, isqrt, prod

from rlvr_graders.math.tree import (
    Binomial,
    Constant,
    DoubleFactorial,
    Factorial,
    Function,
    Negative,
    Node,
    Number,
    Power,
    Product,
    Quotient,
    Root,
    Sum,
    Variable,
)

MAX_BITS = 60_000
"""Largest numerator or denominator that is computed exactly."""

MAX_ROOT_BITS = 20_000
"""Largest number of which a root is taken exactly: that is slower than any other operation here."""

MAX_FACTORIAL = 2_000


class TooLarge(ValueError):
    """A formula whose value must not be computed: a tower of powers, a huge factorial."""


def variables(node: Node) -> frozenset[str]:
    """Names of the variables in a tree."""
    if isinstance(node, Variable):
        return frozenset((node.name,))
    return frozenset[str]().union(*map(variables, node.operands()))


def exact_value(node: Node) -> Fraction | None:
    """The rational value of a tree, or None when it is irrational, complex, undefined or has variables.

    Raises:
        TooLarge: The value is rational but beyond the limits.
    """
    if isinstance(node, Number):
        return node.value
    if isinstance(node, Variable | Constant):
        return None
    values = [exact_value(operand) for operand in node.operands()]
    exact = [value for value in values if value is not None]
    if len(exact) < len(values):
        return None
    a, b = exact[0], exact[-1]
    match node:
        case Function(name="abs"):
            return abs(a)
        case Negative():
            return -a
        case Factorial() | DoubleFactorial():
            return _factorial(a, 1 if isinstance(node, Factorial) else 2)
        case Sum():
            return _bounded(a + b)
        case Product():
            return _bounded(a * b)
        case Quotient():
            return _bounded(a / b) if b else None
        case Power():
            return _power(a, b)
        case Root():
            return _power(a, 1 / b) if b > 0 and b.denominator == 1 and a >= 0 else None
        case Binomial():
            return _binomial(a, b)
    return None


def _factorial(value: Fraction, step: int) -> Fraction | None:
    if value.denominator != 1 or value < 0:
        return None
    if value > MAX_FACTORIAL:
        raise TooLarge("a huge factorial")
    return Fraction(factorial(int(value)) if step == 1 else prod(range(int(value), 0, -step)))


def _binomial(n: Fraction, k: Fraction) -> Fraction | None:
    if n.denominator != 1 or k.denominator != 1 or n < 0 or k < 0:
        return None
    if n > 10 * MAX_FACTORIAL:
        raise TooLarge("a huge binomial")
    return Fraction(comb(int(n), int(k)))


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
