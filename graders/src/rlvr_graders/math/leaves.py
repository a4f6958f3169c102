r"""Comparing two scalars: text, exact value, and only then the worker.

A leaf is a number with its unit, a formula, or words. Everything that has an exact rational value is decided here, in
microseconds; formulas with roots, constants, functions or variables go to the worker, within what is left of the
deadline.
"""

import json
import re
import time
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from typing import Any

from rlvr_graders.math import worker
from rlvr_graders.math.exact_value import TooLarge, exact_value
from rlvr_graders.math.expressions import Malformed, Unsupported, parse_expression
from rlvr_graders.math.latex import UNIT, balanced
from rlvr_graders.math.numbers import Quantity, parse_quantity, same_quantity
from rlvr_graders.math.tree import Node
from rlvr_graders.math.units import Unit, parse_unit

MAX_LEAF_CHARS = 1_000
_LOOSE_SPACE = re.compile(r"(?<![0-9A-Za-z]) | (?![0-9A-Za-z])")
_ENDLESS = re.compile(r"[+-]? ?\\infty|\\ldots")
_DATE = re.compile(r"[0-9]{4}([-/])[0-9]{1,2}\1[0-9]{1,2}|[0-9]{1,2}(?:([-/])[0-9]{1,2}\2[0-9]{4}|/[0-9]{1,2}/[0-9]{2})")
_WORDS = re.compile(
    r"[A-Za-z][A-Za-z '’-]*[A-Za-z][A-Za-z0-9 .,:;()&'’/%-]*|[0-9]{1,2}:[0-9]{2}(?: ?[apAP]\.?[mM])?|[0-9]{1,2} ?[apAP]\.?[mM]|[0-9]+ ?: ?[0-9]+"  # noqa: E501
)
# What math-verify must never see: it would compute it.
_NEVER = re.compile(
    r"\^ ?[{(]? ?-? ?[0-9]+ ?\^ ?[{(]? ?-? ?[0-9]|\^ ?[{(]? ?-? ?[0-9]{6,}"
    r"|[0-9]{5,} ?[)}]? ?!|[)}!] ?!|[0-9] ?! ?[)}] ?!"
)
_TRIGONOMETRY = re.compile(r"(?<!arc)(?<!a)(?:sin|cos|tan|cot|sec|csc)(?!h)[^)]*$")
_LONG_WORD = re.compile(r"[A-Za-z]{2,}")


@dataclass(frozen=True)
class Leaf:
    """A scalar that was read once: `text` in canonical spacing, then as far as it goes a quantity or a tree with its
    unit.
    """

    text: str
    quantity: Quantity | None = None
    tree: Node | None = None
    unit: Unit | None = None
    formula: str = ""
    problem: str = ""
    """Why there is no tree: "beyond" (for math-verify), or what is malformed."""


@lru_cache(maxsize=16_384)
def read_leaf(text: str) -> Leaf:
    """Reads a normalised scalar; never raises."""
    text = text.strip()
    canonical = _LOOSE_SPACE.sub("", text.replace(UNIT, ""))
    if len(text) > MAX_LEAF_CHARS:
        return Leaf(canonical, problem="too long")
    quantity = parse_quantity(text)
    if quantity is not None:
        return Leaf(canonical, quantity, formula=text)
    if not balanced(text):
        return Leaf(canonical, problem="unbalanced braces")
    if _DATE.fullmatch(text):
        return Leaf(canonical, problem="a date")
    formula, unit = _without_unit(text)
    try:
        tree = parse_expression(formula)
    except Unsupported:
        if _NEVER.search(formula):
            return Leaf(canonical, formula=formula, unit=unit, problem="a tower of powers or a huge factorial")
        return Leaf(canonical, formula=formula, unit=unit, problem="beyond")
    except Malformed as error:
        return Leaf(canonical, problem=str(error))
    try:
        value = exact_value(tree)
    except TooLarge as error:
        return Leaf(canonical, tree=tree, unit=unit, formula=formula, problem=str(error))
    quantity = Quantity(value, unit) if value is not None else None
    return Leaf(canonical, quantity, tree, unit, formula)


def _without_unit(text: str) -> tuple[str, Unit | None]:
    """Splits `12\\pi cm^2` or `2^5 apples` before its unit: a known one, or a noun that no formula could hold."""
    if text.startswith("$"):
        return text[1:].strip(), parse_unit("$")
    if UNIT in text:
        formula, _, phrase = text.partition(UNIT)
        unit = parse_unit(phrase)
        return (formula.strip(), unit) if unit is not None else (text.replace(UNIT, ""), None)
    for match in re.finditer(r"(?<=[0-9A-Za-z})!]) +(?=[A-Za-z])", text):
        phrase = text[match.end() :]
        first = _LONG_WORD.match(phrase)
        unit = parse_unit(phrase) if first else None
        if unit is not None and unit.words == ("degree",) and _TRIGONOMETRY.search(text[: match.start()]):
            continue  # `\\sin 15 degrees`: the degrees belong to the argument
        if unit is not None and (unit.known or len(first.group()) > 3):  # type: ignore[union-attr]
            return text[: match.start()], unit
    return text, None


def is_words(text: str) -> bool:
    """Whether an answer is meant as words, a clock time, a date or a ratio: compared as text, nothing else."""
    return _WORDS.fullmatch(text) is not None or _DATE.fullmatch(text) is not None


def is_readable(text: str, deadline_s: float) -> bool:
    """Whether a gold scalar can be compared with anything: a value, a formula, words, or what math-verify can read."""
    leaf = read_leaf(text)
    if not any(char.isalnum() for char in text):
        return False
    if leaf.quantity is not None or leaf.tree is not None or _ENDLESS.fullmatch(text) or is_words(text):
        return True
    if leaf.problem != "beyond":
        return False
    return bool(worker.ask({"op": "readable", "text": leaf.formula}, deadline_s).get("equal"))


# The members of a group often give the same answer, and the worker takes milliseconds: what it said is kept.
_replies: dict[str, dict[str, Any]] = {}
MAX_REPLIES = 20_000


class LimitReached(Exception):
    """The worker ran out of memory on an answer."""


@dataclass
class Comparer:
    """Compares leaves within one deadline; `detail` names the layer that decided."""

    deadline_s: float
    detail: str = "text"
    _until: float = field(init=False)

    def __post_init__(self) -> None:
        self._until = time.monotonic() + self.deadline_s

    def left_s(self) -> float:
        """Seconds until the deadline.

        Raises:
            WorkerTimeout: It has passed.
        """
        left = self._until - time.monotonic()
        if left <= 0:
            raise worker.WorkerTimeout
        return left

    def scalars(self, gold: str, answer: str) -> bool:
        """Whether two normalised scalars are equal."""
        a, b = read_leaf(gold), read_leaf(answer)
        if a.text == b.text:
            self.detail = "text"
            return bool(a.text)
        if a.quantity is not None and b.quantity is not None:
            self.detail = "number"
            return same_quantity(a.quantity, b.quantity)
        if _ENDLESS.fullmatch(a.text) or _ENDLESS.fullmatch(b.text):
            self.detail = "text"
            return a.text.removeprefix("+") == b.text.removeprefix("+")
        for leaf in (a, b):
            if not leaf.formula:
                self.detail = "words" if is_words(leaf.text) else f"malformed: {leaf.problem}"
                return a.text.casefold() == b.text.casefold() if is_words(a.text) and is_words(b.text) else False
        angles = _in_radians(a, b)
        if angles is not None and self.ask({"op": "value", "gold": angles[0], "answer": angles[1]})["equal"]:
            return True
        factor = _unit_factor(a, b)
        if factor is None:
            self.detail = "unit"
            return False
        return self._by_worker(a, b, factor)

    def _by_worker(self, a: Leaf, b: Leaf, factor: Fraction) -> bool:
        formula = b.formula if factor == 1 else f"({b.formula})*{factor.numerator}/{factor.denominator}"
        for leaf in (a, b):
            if leaf.problem and leaf.problem != "beyond":  # a tower of powers: never computed
                self.detail = leaf.problem
                return False
        # A rational number is no formula with variables, unless they cancel; the worker sees to that.
        if self.ask({"op": "value", "gold": a.formula, "answer": formula})["equal"]:
            return True
        decimals = [leaf.quantity is not None and leaf.quantity.step is not None for leaf in (a, b)]
        if factor != 1 or sum(decimals) != 1:
            return False
        decimal, other = (a, b) if decimals[0] else (b, a)
        value = str(decimal.quantity.value)  # type: ignore[union-attr]
        return bool(self.ask({"op": "double", "text": other.formula, "shown": value})["equal"])

    def relations(self, gold: tuple[str, ...], answer: tuple[str, ...], positive: bool) -> bool:
        """Whether two equations (or inequalities, if `positive`) are constant multiples of one another."""
        request = {"op": "relation", "gold": list(gold), "answer": list(answer), "positive": positive}
        return bool(self.ask(request)["equal"])

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """A reply of the worker, within the deadline."""
        key = json.dumps(request)
        reply = _replies.get(key) or worker.ask(request, self.left_s())
        if reply.get("limit"):
            raise LimitReached(reply.get("detail", ""))
        if reply.get("failed"):
            raise worker.WorkerFailed(reply.get("detail", ""))
        if len(_replies) >= MAX_REPLIES:
            _replies.clear()
        _replies[key] = reply
        self.detail = reply.get("detail", "")
        return reply


def _unit(leaf: Leaf) -> Unit | None:
    return leaf.quantity.unit if leaf.quantity is not None else leaf.unit


def _in_radians(a: Leaf, b: Leaf) -> tuple[str, str] | None:
    """Two angles in radians, where one is in degrees and the other a formula without unit or in radians; else None."""
    words = [unit.words if unit is not None else () for unit in (_unit(a), _unit(b))]
    if sorted(words) not in ([(), ("degree",)], [("degree",), ("radian",)]) or any(leaf.problem for leaf in (a, b)):
        return None
    formulas = [leaf.formula if leaf.quantity is None else f"({leaf.quantity.value})" for leaf in (a, b)]
    at = words.index(("degree",))
    formulas[at] = f"({formulas[at]})*\\pi/180"
    return formulas[0], formulas[1]


def _unit_factor(a: Leaf, b: Leaf) -> Fraction | None:
    """What b's value must be multiplied with to be in a's unit; None when the units differ in kind."""
    gold, answer = _unit(a), _unit(b)
    if gold is None or answer is None or gold.words == answer.words:
        return Fraction(1)
    if gold.known and answer.known:
        return answer.factor / gold.factor if gold.dimension == answer.dimension else None
    return Fraction(1) if gold.agrees(answer) else None


def exact(text: str) -> Fraction | None:
    """The exact value of a normalised scalar without unit, if it has one."""
    leaf = read_leaf(text)
    return leaf.quantity.value if leaf.quantity is not None and leaf.quantity.unit is None else None
