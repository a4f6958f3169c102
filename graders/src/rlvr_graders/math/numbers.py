r"""Numbers as people write them, exactly: every value is a `Fraction`, so 0.1 + 0.2 is 0.3 and 1/2^99 is not 1/2^98.

Read here: integers, decimals, repeating decimals (`0.\overline{3}`), thousands separators, fractions, mixed numbers
(`2 2/3`), percents, scientific notation, numbers in a base (`1011_2`), number words up to ninety-nine, and a unit or
currency beside any of them. Everything works on text that `latex.normalise` has put into one spelling.
"""

import re
from dataclasses import dataclass
from fractions import Fraction

from rlvr_graders.math.latex import UNIT
from rlvr_graders.math.units import Unit, parse_unit

MAX_DIGITS = 4_000
"""Longer literals are not numbers to us; Python itself refuses to read more than 4,300 digits."""

MAX_EXPONENT = 10_000
"""Largest power of ten in scientific notation."""

_UNSIGNED = (
    r"(?:[0-9]{1,3}(?:(?:,[0-9]{3})+|(?:'[0-9]{3})+)(?![0-9])(?:\.[0-9]+)?|[0-9]{1,3}(?: [0-9]{3})+(?![0-9/])"
    r"|[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
)
_LITERAL = re.compile(_UNSIGNED)
_REPEATING = re.compile(r"([0-9]*)\.([0-9]*)\\(?:overline|bar) ?\{? ?([0-9]+) ?\}?")
_SCIENTIFIC = re.compile(rf"({_UNSIGNED})[eE]([+-]?[0-9]{{1,6}})(?![0-9A-Za-z])")
_TIMES_TEN = re.compile(rf"({_UNSIGNED}) ?\* ?10 ?\^ ?(?:\{{ ?([+-]?[0-9]{{1,6}}) ?\}}|([+-]?[0-9]{{1,6}})(?![0-9^!]))")
_LATEX_FRACTION = re.compile(rf"\\frac ?\{{ ?([+-]?{_UNSIGNED}) ?\}} ?\{{ ?([+-]?{_UNSIGNED}) ?\}}")
_PLAIN_FRACTION = re.compile(rf"({_UNSIGNED}) ?/ ?(-?{_UNSIGNED})(?![0-9^!])")
_MIXED = re.compile(r"([0-9]+)(?: (?:and )?([0-9]+) ?/ ?([0-9]+)| ?\\frac ?\{ ?([0-9]+) ?\} ?\{ ?([0-9]+) ?\})(?![0-9^!])")
_BASE = re.compile(r"([0-9][0-9A-Za-z]*|[0-9A-F]{2,}) ?_ ?(?:\{ ?([0-9]{1,2}) ?\}|([0-9]{1,2}))(?![0-9])")
_BETWEEN = re.compile(r",? and |, | (?=[0-9])")
_SCALES = {"hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12}
_SCALE = re.compile(rf" ?({'|'.join(_SCALES)})s?\b", re.IGNORECASE)
_PART = re.compile(r"[ -](?:half|halves|(?:third|fourth|fifth|sixth|seventh|eighth|ninth|tenth)s?)(?: of\b| *$)", re.IGNORECASE)
_PERCENT = re.compile(r" ?(?:%|percent\b|per cent\b|pct\b)", re.IGNORECASE)
_CURRENCY = re.compile(r"([$€£¥₹]|USD |US\$|EUR |GBP |INR |Rs\.?(?= ?[0-9]))\s?")
_SMALL = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = dict(zip(["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"], range(20, 100, 10), strict=True))
_WORDS = {word: value for value, word in enumerate(_SMALL)} | _TENS
_WORDS |= {f"{ten}-{_SMALL[d]}": value + d for ten, value in _TENS.items() for d in range(1, 10)}
_WORD = re.compile(r"([A-Za-z]+(?:-[A-Za-z]+)?)(?![A-Za-z])")


_ONE = Fraction(1)
_DOUBLE_DIGITS = range(15, 18)
"""Significant digits with which programs show a double."""
_DECIMAL = re.compile(r"([0-9]+(?:[,' ][0-9]{3})*|)\.([0-9]+)")


@dataclass(frozen=True)
class Quantity:
    """A number with the unit it was given in; `percent` says that a percent sign was written (the value holds it)."""

    value: Fraction
    unit: Unit | None = None
    percent: bool = False
    step: Fraction | None = None
    """Value of one in the last digit, for a decimal with as many significant digits as a double shows (15 to 17)."""


def _plain(text: str) -> Fraction | None:
    text = text.replace(",", "").replace(" ", "").replace("'", "")
    if len(text) > MAX_DIGITS:
        return None
    return Fraction(text.removesuffix(".") if text != "." else "0")


def parse_base(digits: str, base: int) -> Fraction | None:
    """Value of a numeral in a base from 2 to 36; None when a digit does not exist in that base."""
    try:
        return Fraction(int(digits, base)) if 2 <= base <= 36 and len(digits) <= 500 else None
    except ValueError:
        return None


def read_atom(text: str, start: int = 0) -> tuple[Fraction, int] | None:
    """The unsigned literal without a division sign that starts at `start`: what stays together inside a formula.

    Mixed numbers count (`2 2/3` is one number), fractions do not: `1/2^99` is one over a power.
    """
    if match := _MIXED.match(text, start):
        whole, a, b, c, d = match.groups()
        numerator, denominator = int((a or c)[:MAX_DIGITS]), int((b or d)[:MAX_DIGITS])
        # `2 2/3` is a mixed number; `2\frac{5}{3}` is no number anyone writes, so it is left to be a product.
        if 0 < numerator < denominator and len(match.group()) <= MAX_DIGITS:
            return int(whole) + Fraction(numerator, denominator), match.end()
    if match := _BASE.match(text, start):
        value = parse_base(match.group(1), int(match.group(2) or match.group(3)))
        if value is not None:  # else `2x_1`, a product
            return value, match.end()
    if match := _REPEATING.match(text, start):
        whole, fixed, period = match.groups()
        if len(match.group()) > 500:
            return None
        shift = Fraction(1, 10 ** len(fixed))
        tail = Fraction(int(period), 10 ** len(period) - 1) * shift
        return Fraction(int(whole or 0)) + (Fraction(int(fixed)) * shift if fixed else 0) + tail, match.end()
    if match := _SCIENTIFIC.match(text, start):
        exponent = int(match.group(2))
        base = _plain(match.group(1))
        if base is None or abs(exponent) > MAX_EXPONENT:
            return None
        return base * Fraction(10) ** exponent, match.end()
    if match := _LITERAL.match(text, start):
        value = _plain(match.group())
        return None if value is None else (value, match.end())
    return None


def read_number(text: str, start: int = 0) -> tuple[Fraction, int] | None:
    """The unsigned number that starts at `start`, fractions and powers of ten included, and where it ends, or None."""
    if match := _LATEX_FRACTION.match(text, start):
        return _ratio(match)
    if match := _TIMES_TEN.match(text, start):
        exponent, base = int(match.group(2) or match.group(3)), _plain(match.group(1))
        return None if base is None or abs(exponent) > MAX_EXPONENT else (base * Fraction(10) ** exponent, match.end())
    if not _MIXED.match(text, start) and (match := _PLAIN_FRACTION.match(text, start)):
        return _ratio(match)
    return read_atom(text, start)


def _ratio(match: re.Match[str]) -> tuple[Fraction, int] | None:
    numerator, denominator = _plain(match.group(1)), _plain(match.group(2))
    if numerator is None or not denominator:
        return None
    return numerator / denominator, match.end()


def parse_quantity(text: str) -> Quantity | None:
    """The number that a normalised answer is, with its unit; None when the answer is anything else or more than that.

    >>> parse_quantity("2 2/3").value
    Fraction(8, 3)
    >>> parse_quantity("50%").value
    Fraction(1, 2)
    """
    if len(text) > 2 * MAX_DIGITS:
        return None
    quantity = _single(text)
    return _compound(text) if quantity is None and " " in text and text[:1].isdigit() else quantity


def _compound(text: str) -> Quantity | None:
    """`4 hours and 30 minutes`, `5 feet 3 inches`: known units of one kind, each smaller than the one before."""
    pieces = _BETWEEN.split(text, maxsplit=4)
    if len(pieces) < 2:
        return None
    total, first, last = Fraction(0), None, None
    for piece in pieces:
        quantity = _single(piece)
        if quantity is None or quantity.unit is None or not quantity.unit.known or quantity.percent:
            return None
        unit = quantity.unit
        if last is not None and not (last.dimension == unit.dimension and last.factor > unit.factor):
            return None
        first, last = first or unit, unit
        total += quantity.value * unit.factor
    return None if first is None else Quantity(total / first.factor, first)


def _single(text: str) -> Quantity | None:
    rest, sign, unit = text.replace(UNIT, ""), 1, None
    for attempt in range(2):  # the sign stands before or behind the currency
        if rest[:1] in ("-", "+") and (attempt == 0 or unit is not None):
            sign = -sign if rest[0] == "-" else sign
            rest = rest[1:].lstrip()
        if unit is None and (currency := _CURRENCY.match(rest)):
            unit = parse_unit(currency.group(1).strip())
            rest = rest[currency.end() :]
    if not rest or rest[0] in "+-":
        return None
    found = read_number(rest)
    if found is None:
        word = _WORD.match(rest)
        if word is None or word.group(1).lower() not in _WORDS:
            return None
        found = Fraction(_WORDS[word.group(1).lower()]), word.end()
    value, end = found
    value *= sign
    if _PART.match(rest, end):  # two thirds are not two of something
        return None
    while scale := _SCALE.match(rest, end):
        value *= _SCALES[scale.group(1).lower()]
        end = scale.end()
    percent = False
    if mark := _PERCENT.match(rest, end):
        value, percent, end = value / 100, True, mark.end()
    tail, step = rest[end:], _step(rest, value)
    if not tail.strip():
        return Quantity(value, unit, percent, step)
    # One letter glued to a number is a variable (`5m`), with a space before it a unit (`5 m`).
    if unit is not None or (len(tail) == 1 and tail.isalpha()):
        return Quantity(value, unit, percent, step) if unit is not None and _same_currency(unit, tail) else None
    unit = parse_unit(tail.strip())
    if unit is None or not _WORDS.keys().isdisjoint(unit.words):  # `five six` is no count of sixes
        return None
    return Quantity(value, unit, percent, step)


def _step(text: str, value: Fraction) -> Fraction | None:
    literal = _DECIMAL.match(text)
    digits = re.sub("[^0-9]", "", literal.group()).lstrip("0") if literal else ""
    return abs(value) / int(digits) if len(digits) in _DOUBLE_DIGITS else None


def _same_currency(unit: Unit, tail: str) -> bool:
    said_again = parse_unit(tail.strip())  # `$5 dollars`, `$18 per day`
    return said_again is not None and (said_again == unit or tail.strip().startswith(("per ", "/", "a ", "each", "total")))


def _is_short_for(plain: Unit, full: Unit) -> bool:
    # `$18` is how people write 18 dollars per day, and 20° may be a temperature.
    if plain.words == ("degree",):
        return full.words in (("celsius",), ("fahrenheit",))
    return plain.words == ("$",) and full.words[:2] == ("$", "/")


def double_shown(value: float) -> Fraction:
    """The decimal that programs show for a double: the shortest one that reads back as the same double."""
    return Fraction(repr(value))


def _shown(value: Fraction, decimal: Fraction, step: Fraction) -> bool:
    """Whether a decimal is what a double shows of a rational value: its first 15 or 16 digits, rounded or cut off, or the
    double's own."""
    if len(str(int(abs(decimal) / step))) < _DOUBLE_DIGITS[-1] and abs(value - decimal) < step:
        return True
    try:
        return double_shown(float(value)) == decimal
    except OverflowError:
        return False


def _same_value(gold: Quantity, answer: Quantity, gold_factor: Fraction = _ONE, answer_factor: Fraction = _ONE) -> bool:
    a, b = gold.value * gold_factor, answer.value * answer_factor
    if a == b or (gold.step is None) == (answer.step is None):
        return a == b
    return _shown(b, a, gold.step * gold_factor) if gold.step is not None else _shown(a, b, answer.step * answer_factor)  # type: ignore[operator]


def same_quantity(gold: Quantity, answer: Quantity) -> bool:
    """Whether two quantities are the same number of the same thing.

    - Values are compared exactly: 0.333 is not 1/3. A decimal with as many digits as a double shows stands for the fraction
      of which a double shows it: 0.0833333333333333 for 1/12.
    - A unit that only one side names is not held against the other: the question fixed it.
    - Units of one dimension convert (2 hours is 120 minutes); units of different dimensions differ (5 cm, 5 m, 5
      apples).
    - `50%` is 0.5. A bare number above 1 may stand for that many percent, for "what percentage" is asked that way; no
      amount with a unit may (50 cm).
    """
    if gold.percent != answer.percent:
        bare, marked = (answer, gold) if gold.percent else (gold, answer)
        if bare.unit is not None and marked.unit is None:
            return False
        if bare.unit is None and abs(bare.value) > 1 and _same_value(bare, marked, answer_factor=Fraction(100)):
            return True
    if gold.unit is None or answer.unit is None or gold.unit.words == answer.unit.words:
        return _same_value(gold, answer)
    if _is_short_for(gold.unit, answer.unit) or _is_short_for(answer.unit, gold.unit):
        return _same_value(gold, answer)
    if gold.unit.known and answer.unit.known:
        same_kind = gold.unit.dimension == answer.unit.dimension
        return same_kind and _same_value(gold, answer, gold.unit.factor, answer.unit.factor)
    return gold.unit.agrees(answer.unit) and _same_value(gold, answer)
