"""Whether two formulas have the same value, by arithmetic of many digits. Runs inside the worker only: mpmath can be
slow.

A closed formula is evaluated at two precisions: a true zero of the difference shrinks with the precision, a small
number does not. The precision grows with the literals, so that pi + 10^-40 is not pi. Formulas with variables are
compared at fixed rational points, positive and negative, small and large, where identities of other formulas do not hold by
chance.
"""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

from mpmath import mp
from mpmath.libmp.libhyper import NoConvergence

from rlvr_graders.math.exact_value import TooLarge, exact_value, variables
from rlvr_graders.math.tree import (
    Binomial,
    Constant,
    Factorial,
    Function,
    Logarithm,
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

BASE_DIGITS = 60
MAX_DIGITS = 2_500
"""Formulas whose literals ask for more digits than this are not decided."""

MAX_POINT_DIGITS = 400
"""Once most small points have spoken, a large point that asks for more digits than this is left out."""

MAX_SHIFT = Fraction(10**9)
"""Larger exponents count as this one: they ask for too many digits in any case, and may be larger than a float."""

_POINTS = (  # numerators and denominators: primes, so that no small identity is met
    (1009, 733),
    (2003, 859),
    (3001, 2221),
    (613, 997),
    (4001, 1223),
    (1511, 2897),
    (-1013, 751),
    (-2011, 863),
    (-617, 991),
    (-3011, 2213),
    (10007, 733),
    (-12007, 857),
    (1000000007, 991),
    (-1000000009, 983),
)
_FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "sin": mp.sin,
    "cos": mp.cos,
    "tan": mp.tan,
    "cot": mp.cot,
    "sec": mp.sec,
    "csc": mp.csc,
    "arcsin": mp.asin,
    "arccos": mp.acos,
    "arctan": mp.atan,
    "sinh": mp.sinh,
    "cosh": mp.cosh,
    "tanh": mp.tanh,
    "ln": mp.log,
    "abs": mp.fabs,
}
_CONSTANTS: dict[str, Callable[[], Any]] = {"pi": lambda: +mp.pi, "e": lambda: +mp.e, "i": lambda: mp.mpc(0, 1)}
_UNDEFINED = (ZeroDivisionError, ValueError, OverflowError, NoConvergence, TypeError)


_spreads: list[float] = []
"""Decades between the parts of each sum of the evaluation that runs: what a precision must span to see the smaller."""


class Undefined(ValueError):
    """The formula has no value here."""


def evaluate(node: Node) -> Any:
    """Value of a closed tree at the current precision of mpmath.

    Raises:
        TooLarge: It must not be computed. Undefined: It has no value.
    """
    if isinstance(node, Number):
        return mp.mpf(node.value.numerator) / node.value.denominator
    if isinstance(node, Constant):
        return _CONSTANTS[node.name]()
    if isinstance(node, Variable):
        raise Undefined("a variable")
    values = [evaluate(operand) for operand in node.operands()]
    a, b = values[0], values[-1]
    match node:
        case Function(name):
            return _function(name, a)
        case Negative():
            return -a
        case Sum():
            if a != 0 and b != 0:
                _spreads.append(abs(_decades(a) - _decades(b)))
            return a + b
        case Product():
            return a * b
        case Quotient():
            if b == 0:
                raise Undefined("division by zero")
            return a / b
        case Power():
            return _power(a, b)
        case Root():
            return _root(a, b)
        case Logarithm():
            if a == 0 or b in (0, 1):
                raise Undefined("logarithm")
            return mp.log(a) / mp.log(b)
        case Factorial():
            return _factorial(a)
        case Binomial():
            return _factorial(a) / (_factorial(b) * _factorial(a - b))
    raise Undefined(type(node).__name__)


def _decades(value: Any) -> float:
    return float(mp.log10(abs(value)))


def _function(name: str, x: Any) -> Any:
    if x != 0:
        # cos x is 1 - x^2/2, arctan x is pi/2 - 1/x, tanh x is 1 - 2 exp(-2x): small and large arguments hide in sums.
        hyperbolic = name in ("sinh", "cosh", "tanh") and abs(x) > 1
        _spreads.append(float(0.9 * abs(x)) if hyperbolic else 2 * abs(_decades(x)))
    if name == "exp":
        return _power(+mp.e, x)
    if abs(x) > mp.mpf(10) ** 50 and name not in ("abs", "ln"):
        raise TooLarge(f"{name} of a huge number")
    if name in ("sinh", "cosh", "tanh") and abs(x) > 10**6:
        raise TooLarge(name)
    if name == "ln" and x == 0:
        raise Undefined("logarithm of zero")
    return _FUNCTIONS[name](x)


def _power(base: Any, exponent: Any) -> Any:
    if base == 0:
        if mp.re(exponent) > 0:
            return mp.mpf(0)
        raise Undefined("zero to a power that is not positive")
    logarithm = mp.log(base)
    if abs(exponent) * (abs(logarithm) + 1) > 10**7:
        raise TooLarge("a tower of powers")
    if 0 < abs(exponent * logarithm) < 0.1:  # 1 and a small part
        _spreads.append(-_decades(exponent * logarithm))
    return mp.power(base, exponent)


def _root(value: Any, index: Any) -> Any:
    if index == 0:
        raise Undefined("zeroth root")
    real_odd = mp.im(value) == 0 and mp.re(value) < 0 and mp.im(index) == 0 and mp.isint(mp.re(index)) and int(mp.re(index)) % 2
    # The sign of an odd root of a negative number follows the real convention, as in school.
    return -mp.root(-mp.re(value), int(mp.re(index))) if real_odd else _power(value, 1 / index)


def _factorial(x: Any) -> Any:
    if x != 0:  # x + 1 is a sum, too
        _spreads.append(abs(_decades(x)))
    return _gamma(x + 1)


def _gamma(x: Any) -> Any:
    if abs(x) > 10**6 or (mp.dps > 600 and not mp.isint(x)):  # which would take seconds
        raise TooLarge("a huge factorial")
    return mp.gamma(x)


def digits_needed(node: Node) -> float:
    """Digits that the literals of a tree can shift its value by: their own length, and powers multiply."""
    if isinstance(node, Number):
        return (node.value.numerator.bit_length() + node.value.denominator.bit_length()) * 0.302
    total = sum(map(digits_needed, node.operands()), start=0.0)
    if isinstance(node, Power):
        exponent = exact_value(node.right)
        if exponent is not None:
            total += float(min(abs(exponent), MAX_SHIFT)) * (digits_needed(node.left) + 1)
    if isinstance(node, Function) and node.name in ("exp", "sinh", "cosh"):
        inner = exact_value(node.argument)
        total += float(min(abs(inner), MAX_SHIFT)) if inner is not None else 0.0
    return total


def _values(nodes: tuple[Node, ...], digits: int) -> list[Any]:
    with mp.workdps(digits):
        try:
            values = [evaluate(node) for node in nodes]
        except _UNDEFINED as error:
            if isinstance(error, TooLarge):
                raise
            raise Undefined(str(error)) from None
        if not all(mp.isfinite(value) for value in values):
            raise Undefined("infinite")
        return values


def _resolved(nodes: tuple[Node, ...], digits: int) -> tuple[int, list[Any], list[Any]]:
    """Values at `digits` and twice as many, digits raised until every small part of a sum is seen.

    A part that is truly zero shows as noise, whose size follows the precision; a part that is merely small does not.
    """
    while digits <= MAX_DIGITS:
        _spreads.clear()
        rough = _values(nodes, digits)
        before = list(_spreads)
        _spreads.clear()
        fine = _values(nodes, 2 * digits)
        pairs = zip(before, _spreads, strict=False)
        needed = max((b for a, b in pairs if abs(a - b) <= 5 + 0.05 * b), default=0.0)
        if needed + BASE_DIGITS // 2 <= digits:
            return digits, rough, fine
        digits = int(needed) + BASE_DIGITS
    raise TooLarge("needs too many digits")


def _is_real(value: Any, digits: int) -> bool:
    return abs(mp.im(value)) <= abs(value) * mp.mpf(10) ** (-digits // 2)


def same_closed(a: Node, b: Node) -> tuple[bool, bool, bool]:
    """For two trees without variables: whether they are equal, and whether each is real.

    Raises:
        TooLarge, Undefined: See `evaluate`; TooLarge also when more than `MAX_DIGITS` digits would be needed.
    """
    digits = BASE_DIGITS + int(digits_needed(a) + digits_needed(b))
    digits, (a1, b1), (a2, b2) = _resolved((a, b), digits)
    with mp.workdps(2 * digits):
        rough, fine, scale = abs(a1 - b1), abs(a2 - b2), max(abs(a2), abs(b2))
        small = mp.mpf(10) ** (-digits // 3)
        equal = fine == 0 or (rough == 0 and fine <= scale * small**4) or fine < rough * small
        return bool(equal), _is_real(a2, digits), _is_real(b2, digits)


def nearest_double(node: Node) -> float | None:
    """The double nearest to a closed real formula; None where it has variables or is not real.

    Raises:
        TooLarge, Undefined: See `evaluate`.
    """
    if variables(node):
        return None
    digits = BASE_DIGITS + int(digits_needed(node))
    digits, _, (value,) = _resolved((node,), digits)
    return float(mp.re(value)) if _is_real(value, digits) else None


def substituted(node: Node, values: dict[str, Fraction]) -> Node:
    """The tree with numbers in place of its variables."""
    if isinstance(node, Variable):
        return Number(values[node.name])
    return node.with_operands(*(substituted(operand, values) for operand in node.operands()))


def points(names: list[str]) -> list[dict[str, Fraction]]:
    """Rational sample points: six with all variables positive, four with changing signs, four large ones of both signs."""
    out = []
    for shift in range(len(_POINTS)):
        values = {}
        for index, name in enumerate(names):
            block = _POINTS[:6] if shift < 6 else _POINTS[6:10] if shift < 10 else _POINTS[10:]
            numerator, denominator = block[(shift + index) % len(block)]
            if shift >= 6 and index and (shift >> (index - 1)) & 1:  # not all of them negative
                numerator = -numerator
            values[name] = Fraction(numerator + 2 * index, denominator)
        out.append(values)
    return out


def same_value(a: Node, b: Node) -> bool | None:
    """Whether two trees are the same number or the same function of their variables; None when it cannot be decided.

    Functions count as equal when they agree wherever both are real and are real at the same points; functions that are
    real at few points are compared as complex ones, too.

    Raises:
        TooLarge: Nothing may be computed.
    """
    names = sorted(variables(a) | variables(b))
    if not names:
        try:
            return same_closed(a, b)[0]
        except Undefined:
            return None
    real = unreal = apart = 0
    for values in points(names):
        pair = substituted(a, values), substituted(b, values)
        if real + unreal >= 8 and sum(map(digits_needed, pair)) > MAX_POINT_DIGITS:
            continue
        try:
            equal, a_real, b_real = same_closed(*pair)
        except (Undefined, TooLarge):
            continue
        if a_real != b_real:
            return False
        if a_real and not equal:
            return False
        real += a_real
        unreal += not a_real and equal
        apart += not a_real and not equal
    if real >= 4:
        return True
    return True if unreal >= 4 and not (real and apart) else None


def same_relation(a: Node, b: Node, positive: bool) -> bool | None:
    """Whether a = 0 and b = 0 say the same because b is a constant multiple of a (a positive one, for inequalities).

    None when it cannot be decided. Equations that are equivalent for deeper reasons count as different.
    """
    names = sorted(variables(a))
    if not names or names != sorted(variables(b)):
        return None
    ratios = []
    for values in points(names):
        pair = substituted(a, values), substituted(b, values)
        try:
            digits = BASE_DIGITS + int(sum(map(digits_needed, pair)))
            if digits > MAX_DIGITS:
                continue
            left, right = _values(pair, digits)
        except (Undefined, TooLarge):
            continue
        if abs(left) < mp.mpf(10) ** -30 or abs(right) < mp.mpf(10) ** -30:
            if abs(left - right) > mp.mpf(10) ** -30:
                return False
            continue
        with mp.workdps(BASE_DIGITS):
            ratios.append(right / left)
            if abs(ratios[-1] - ratios[0]) > abs(ratios[0]) * mp.mpf(10) ** -40:
                return False
    if len(ratios) < 4:
        return None
    return not positive or bool(mp.im(ratios[0]) == 0 and mp.re(ratios[0]) > 0)
