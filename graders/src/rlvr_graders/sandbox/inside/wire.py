"""Plain data as JSON lines: the one language between a jailed program and everybody else. Never pickle, never marshal.

JSON as it is for None, bool, str, int, float (NaN and infinities by Python's own words) and list; an object with one
key tags the others: `i` large int in hex, `t` tuple, `s` set, `z` frozenset, `d` dict as pairs, `b` bytes, `y`
bytearray, `c` complex, `r` range, `q` deque, `D` Decimal, `F` Fraction. A subclass is sent as its base value, read
through the base type's own methods, so that an object cannot equal what it is not.
"""

import hashlib
import json
import re
from collections import Counter, deque
from decimal import Decimal
from fractions import Fraction

MAX_DEPTH = 100
MAX_NODES = 4_000_000
MAX_EQUAL_HASHES = 64
_SMALL = 1 << 63
_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")


class WireError(ValueError):
    """A value that cannot be sent, or bytes that nobody honest would have sent."""


class _Budget:
    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = MAX_NODES


def encode(value: object) -> object:
    """The JSON-ready form of a value. Raises `WireError` for other types, depth over 100, and more than 4 million
    parts.
    """
    return _encode(value, 0, _Budget())


def to_bytes(value: object) -> bytes:
    """A value as one line of ASCII without its line end; equal lines mean equal values of equal types."""
    return json.dumps(encode(value), separators=(",", ":")).encode()


def digest(data: object) -> list:
    """`[length, SHA-256]` of JSON-ready data in a canonical order: what is sent instead of a very large result."""
    line = json.dumps(_canonical(data), separators=(",", ":")).encode()
    return [len(line), hashlib.sha256(line).hexdigest()]


def _canonical(data: object) -> object:
    """The same data with the elements of sets and the items of dicts in one order, whatever order they were made in."""
    if type(data) is list:
        return [_canonical(part) for part in data]
    if type(data) is not dict:
        return data
    ((tag, body),) = data.items()
    body = _canonical(body)
    return {tag: sorted(body, key=json.dumps) if tag in ("s", "z", "d") else body}


def _encode(value: object, depth: int, budget: _Budget) -> object:
    kind = type(value)
    budget.left -= 1
    if budget.left < 0:
        raise WireError(f"more than {MAX_NODES} parts")
    if value is None or kind is bool or kind is float:
        return value
    if kind is str:
        if not value.isascii() and _PAIR.search(value):
            raise WireError("two surrogates that JSON would read as one character")
        return value
    if kind is int:
        return value if -_SMALL < value < _SMALL else {"i": format(value, "x")}
    if depth >= MAX_DEPTH:
        raise WireError(f"nested deeper than {MAX_DEPTH}")
    if kind is list:
        return [_encode(part, depth + 1, budget) for part in value]
    encoder = _ENCODERS.get(kind)
    if encoder is None:
        plain = base_value(value)
        if type(plain) is kind:
            raise WireError(f"a value of type {kind.__name__} is not plain data")
        return _encode(plain, depth, budget)
    return encoder(value, depth + 1, budget)


def _parts(value, depth, budget):
    return [_encode(part, depth, budget) for part in value]


_ENCODERS = {
    tuple: lambda v, d, b: {"t": _parts(v, d, b)},
    set: lambda v, d, b: {"s": _parts(v, d, b)},
    frozenset: lambda v, d, b: {"z": _parts(v, d, b)},
    dict: lambda v, d, b: {"d": [[_encode(key, d, b), _encode(item, d, b)] for key, item in v.items()]},
    bytes: lambda v, d, b: {"b": v.hex()},
    bytearray: lambda v, d, b: {"y": v.hex()},
    complex: lambda v, d, b: {"c": [v.real, v.imag]},
    range: lambda v, d, b: {"r": [_encode(v.start, d, b), _encode(v.stop, d, b), _encode(v.step, d, b)]},
    deque: lambda v, d, b: {"q": _parts(v, d, b)},
    Decimal: lambda v, d, b: {"D": Decimal.__str__(v)},
    Fraction: lambda v, d, b: {"F": [_encode(v.numerator, d, b), _encode(v.denominator, d, b)]},
}

_BASES = (
    (int, lambda v: int.__add__(v, 0)),
    (float, lambda v: float.__add__(v, 0.0)),
    (str, lambda v: str.__add__("", str.__getitem__(v, slice(None)))),
    (bytes, lambda v: bytes.__getitem__(v, slice(None))),
    (bytearray, lambda v: bytearray(bytearray.__getitem__(v, slice(None)))),
    (complex, lambda v: complex.__add__(v, 0j)),
    (list, lambda v: list.__getitem__(v, slice(None))),
    (tuple, lambda v: tuple.__getitem__(v, slice(None))),
    (dict, lambda v: dict(dict.items(v))),
    (set, lambda v: set(set.__iter__(v))),
    (frozenset, lambda v: frozenset(frozenset.__iter__(v))),
    (deque, lambda v: deque(deque.__iter__(v))),
)


def base_value(value: object) -> object:
    """The built-in value below a subclass (a named tuple's tuple, a Counter's dict, an IntEnum's int); others as
    they are.
    """
    kind = type(value)
    for base, strip in _BASES:
        if issubclass(kind, base):
            return value if kind is base else strip(value)
    return value


def from_bytes(line: bytes) -> object:
    """Decode one line. Raises `WireError`, and nothing else, for whatever bytes it is given."""
    return decode(parse(line))


def parse(line: bytes) -> object:
    """JSON of one line, not yet decoded. Raises `WireError` only."""
    try:
        return json.loads(line.decode("ascii"))
    except (ValueError, RecursionError, MemoryError) as problem:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise WireError(f"not JSON: {type(problem).__name__}") from None


def decode(data: object) -> object:
    """The value of JSON-ready data. Raises `WireError` only."""
    try:
        return _decode(data, 0)
    except WireError:
        raise
    except (ValueError, TypeError, ArithmeticError, RecursionError, MemoryError, AttributeError) as problem:
        raise WireError(f"malformed data: {type(problem).__name__}") from None


def _decode(data: object, depth: int) -> object:
    kind = type(data)
    if depth > MAX_DEPTH + 1:
        raise WireError(f"nested deeper than {MAX_DEPTH}")
    if kind is list:
        return [_decode(part, depth + 1) for part in data]
    if kind is not dict:
        return data
    if len(data) != 1:
        raise WireError("a tag is an object with one key")
    ((tag, body),) = data.items()
    decoder = _DECODERS.get(tag)
    if decoder is None:
        raise WireError("unknown tag")
    return decoder(body, depth + 1)


def _list(body: object, depth: int) -> list:
    if type(body) is not list:
        raise WireError("a tag's body has the wrong type")
    return [_decode(part, depth) for part in body]


def _keys(keys: list) -> list:
    """Refuse keys that were chosen to share one hash: they would make building the table take quadratic time."""
    if len(keys) > MAX_EQUAL_HASHES:
        (_, most), *_ = Counter(map(hash, keys)).most_common(1)
        if most > MAX_EQUAL_HASHES:
            raise WireError("keys with equal hashes")
    return keys


def _unique(kind, body: object, depth: int):
    parts = _keys(_list(body, depth))
    result = kind(parts)
    if len(result) != len(parts):
        raise WireError("a set with equal elements")
    return result


def _pairs(body: object, depth: int) -> dict:
    pairs = _list(body, depth)
    if any(type(pair) is not list or len(pair) != 2 for pair in pairs):
        raise WireError("a dict is a list of pairs")
    _keys([pair[0] for pair in pairs])
    result = {pair[0]: pair[1] for pair in pairs}
    if len(result) != len(pairs):
        raise WireError("a dict with equal keys")
    return result


def _text(body: object) -> str:
    if type(body) is not str:
        raise WireError("a tag's body has the wrong type")
    return body


def _numbers(body: object, depth: int, count: int, kinds: tuple[type, ...]) -> list:
    parts = _list(body, depth)
    if len(parts) != count or any(type(part) not in kinds for part in parts):
        raise WireError("a tag's body has the wrong type")
    return parts


def _fraction(body: object, depth: int) -> Fraction:
    numerator, denominator = _numbers(body, depth, 2, (int,))
    if max(numerator.bit_length(), denominator.bit_length()) > 16384:  # reducing takes quadratic time
        raise WireError("a Fraction with more than 16384 bits")
    return Fraction(numerator, denominator)


def _decimal(body: object) -> Decimal:
    if len(_text(body)) > 4300:
        raise WireError("a Decimal with more than 4300 characters")
    return Decimal(body)


_DECODERS = {
    "i": lambda v, d: int(_text(v), 16),
    "t": lambda v, d: tuple(_list(v, d)),
    "s": lambda v, d: _unique(set, v, d),
    "z": lambda v, d: _unique(frozenset, v, d),
    "d": _pairs,
    "b": lambda v, d: bytes.fromhex(_text(v)),
    "y": lambda v, d: bytearray.fromhex(_text(v)),
    "c": lambda v, d: complex(*_numbers(v, d, 2, (float, int))),
    "r": lambda v, d: range(*_numbers(v, d, 3, (int,))),
    "q": lambda v, d: deque(_list(v, d)),
    "D": lambda v, d: _decimal(v),
    "F": _fraction,
}
