"""Units of a number. Known ones have a dimension and an exact factor; any other noun is compared by its words."""

import re
from dataclasses import dataclass
from fractions import Fraction

from rlvr_graders.math.vocabulary import word_set

_TABLE = {
    "length": {
        "mm millimeter millimetre": "1/1000",
        "cm centimeter centimetre": "1/100",
        "dm decimeter decimetre": "1/10",
        "m meter metre": "1",
        "km kilometer kilometre": "1000",
        "in inch inches": "0.0254",
        "ft foot feet": "0.3048",
        "yd yard": "0.9144",
        "mi mile": "1609.344",
    },
    "mass": {
        "mg milligram": "1/1000000",
        "g gram": "1/1000",
        "kg kilogram kilo": "1",
        "t ton tonne": "1000",
        "lb lbs pound": "0.45359237",
        "oz ounce": "0.028349523125",
    },
    "time": {
        "ms millisecond": "1/1000",
        "s sec second": "1",
        "min minute": "60",
        "h hr hrs hour": "3600",
        "day": "86400",
        "week": "604800",
    },
    "calendar": {"month": "1", "yr year": "12"},
    "volume": {"ml mL milliliter millilitre": "1/1000", "l L liter litre": "1"},
    "money": {"$ USD US$ dollar usd": "1", "cent ¢": "1/100"},
    "euro": {"€ EUR euro": "1"},
    "rupee": {"₹ Rs INR rupee": "1"},
    "sterling": {"£ GBP": "1", "pence": "1/100"},
    "yen": {"¥ yen": "1"},
    "angle": {"degree deg": "1"},
    "radian": {"rad radian": "1"},
    "celsius": {"celsius": "1"},
    "fahrenheit": {"fahrenheit": "1"},
    "kelvin": {"kelvin": "1"},
    "power": {"W watt": "1", "kW kilowatt": "1000"},
    "energy": {"J joule": "1", "kJ kilojoule": "1000"},
    "force": {"N newton": "1"},
}


@dataclass(frozen=True)
class _Known:
    symbol: str
    dimension: str
    factor: Fraction


_KNOWN = {
    name: _Known(names.split()[0], dimension, Fraction(factor))
    for dimension, rows in _TABLE.items()
    for names, factor in rows.items()
    for name in names.split()
}
_PHRASE = re.compile(r"(?:[A-Za-z$€£¥₹¢][A-Za-z'’-]*|[/*^0-9{}().,-]| )+")
_WORD = re.compile(r"([A-Za-z$€£¥₹¢][A-Za-z'-]*)(?: ?\^ ?(?:\{ ?(-?[0-9]) ?\}|(-?[0-9])))?|(/|per\b)")
_NOT_UNITS = word_set(
    "and or sin cos tan cot sec csc log ln exp sqrt pi frac if then not mod plus minus times over is equals x y z n k i e"
)
_POWER_WORDS = {"square": 2, "sq": 2, "squared": 2, "cubic": 3, "cubed": 3, "cu": 3}
_FILLER = word_set("of the a an each total all")
MAX_PHRASE_CHARS = 80
_SPEED = re.compile(r"\b(mph|kph|kmh|mpg|rpm)\b", re.IGNORECASE)
_SPEEDS = {"mph": "mile/hour", "kph": "km/hour", "kmh": "km/hour", "mpg": "mile/gallon", "rpm": "revolution/minute"}


def _speed(match: re.Match[str]) -> str:
    return _SPEEDS[match.group().lower()]


@dataclass(frozen=True)
class Unit:
    """What a number counts. `dimension` maps base dimensions to powers, sorted; it has a meaning only if `known`."""

    words: tuple[str, ...]
    known: bool
    dimension: tuple[tuple[str, int], ...] = ()
    factor: Fraction = Fraction(1)

    def agrees(self, other: "Unit") -> bool:
        """Whether one says at most more than the other: red apples and apples, but not apples per orange and its inverse."""
        return self._sided() <= other._sided() or other._sided() <= self._sided()

    def _sided(self) -> frozenset[tuple[str, bool]]:
        slash = self.words.index("/") if "/" in self.words else len(self.words)
        return frozenset((word, place > slash) for place, word in enumerate(self.words))


def _lookup(word: str) -> _Known | None:
    """A known unit by its symbol or name, in singular or plural, in any case for whole words."""
    for name in (word, word.lower() if len(word) > 2 else word, word.lower().removesuffix("s") if len(word) > 3 else word):
        if name in _KNOWN:
            return _KNOWN[name]
    return None


def _stem(word: str) -> str:
    word = word.lower()
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    return word[:-1] if word.endswith("s") and not word.endswith("ss") and len(word) > 3 else word


def parse_unit(text: str) -> Unit | None:
    """The unit a phrase names (`cm^2`, `square feet`, `dollars per day`, `red apples`); None when it is not a unit.

    Letters that are variables or functions, conjunctions and digits that are no powers make it something else.
    """
    text = _SPEED.sub(_speed, text.strip().rstrip(".").strip())
    if not text or len(text) > MAX_PHRASE_CHARS or not _PHRASE.fullmatch(text):
        return None
    words: list[str] = []
    powers: dict[str, int] = {}
    factor, known, direction, pending, position = Fraction(1), True, 1, 1, 0
    for match in _WORD.finditer(text):
        if text[position : match.start()].strip(" *.()"):
            return None
        position = match.end()
        word, braced, bare, slash = match.groups()
        if slash or word == "per":
            direction = -1
            words.append("/")
            continue
        if word.lower() in _FILLER:
            continue
        if word.lower() in _NOT_UNITS:
            return None
        if word.lower() in _POWER_WORDS:
            if word.lower().endswith("ed") and words:  # `feet squared`
                power, last = _POWER_WORDS[word.lower()], words[-1]
                entry = _lookup(last)
                if entry is None:
                    return None
                powers[entry.dimension] = powers.get(entry.dimension, 0) + direction * (power - 1)
                factor *= entry.factor ** (direction * (power - 1))
                words[-1] = f"{last}^{power}"
            else:
                pending = _POWER_WORDS[word.lower()]
            continue
        power, pending = int(braced or bare or pending), 1
        if not power:
            return None
        entry = _lookup(word)
        if entry is None:
            if len(word) < 3 or braced or bare:
                return None
            known = False
            words.append(_stem(word))
            continue
        words.append(entry.symbol + (f"^{power}" if power != 1 else ""))
        powers[entry.dimension] = powers.get(entry.dimension, 0) + direction * power
        factor *= entry.factor ** (direction * power)
    if text[position:].strip(" *.()") or not words:
        return None
    return Unit(tuple(words), known, tuple(sorted((d, p) for d, p in powers.items() if p)), factor)
