"""The wire format: exact for plain data, and unmoved by bytes from hostile hands."""

import contextlib
import json
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from decimal import Decimal
from enum import IntEnum
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rlvr_graders.sandbox.inside import wire

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=-(10**300), max_value=10**300)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.complex_numbers(allow_nan=False)
    | st.fractions()
)
KEYS = st.integers() | st.text() | st.tuples(st.integers(), st.text())
PLAIN = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.sets(KEYS, max_size=4)
        | st.frozensets(KEYS, max_size=4)
        | st.dictionaries(KEYS, inner, max_size=4)
    ),
    max_leaves=20,
)


def typed(value):
    """Value with the types of all parts, for an exact comparison."""
    if isinstance(value, (list, tuple, deque)):
        return type(value), [typed(part) for part in value]
    if isinstance(value, dict):
        return dict, {key: typed(part) for key, part in value.items()}
    return type(value), value


@given(PLAIN)
@settings(max_examples=150, deadline=None)
def test_a_plain_value_survives_the_way_with_its_types(value):
    assert typed(wire.from_bytes(wire.to_bytes(value))) == typed(value)


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_any_bytes_decode_or_are_refused_and_never_crash(data):
    with contextlib.suppress(wire.WireError):
        wire.from_bytes(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([*"itszdbycrqDF", "x"]), inner, max_size=2),
    max_leaves=15,
)


@given(JSON)
@settings(max_examples=300, deadline=None)
def test_any_json_with_tags_decodes_or_is_refused(data):
    with contextlib.suppress(wire.WireError):
        wire.from_bytes(json.dumps(data).encode())


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 200_000,
        b'{"t":[' * 3000 + b"]}" * 3000,
        b"[" * 150 + b"]" * 150,
        b"9" * 10_000,
        b'{"F":[1,0]}',
        b'{"F":[{"i":"' + b"f" * 5000 + b'"},1]}',
        b'{"D":"' + b"1" * 5000 + b'"}',
        b'{"D":"x"}',
        b'{"r":[0,1,0]}',
        b'{"b":"zz"}',
        b'{"c":[1]}',
        b'{"s":[[1]]}',
        b'{"s":[1,1]}',
        b'{"d":[[1,2],[1,3]]}',
        b'{"d":[[1]]}',
        b'{"unknown":1}',
        b'{"t":1,"s":2}',
        b"{}",
        b"\xff\xfe",
        b"",
        b"nul",
    ],
)
def test_malformed_data_is_refused(data):
    with pytest.raises(wire.WireError):
        wire.from_bytes(data)


def test_keys_that_share_one_hash_are_refused_before_a_table_is_built():
    same = (
        ",".join(str(k * ((1 << 61) - 1)) for k in range(1, 4))
        + ","
        + ",".join(f'{{"i":"{k * ((1 << 61) - 1):x}"}}' for k in range(4, 100))
    )
    with pytest.raises(wire.WireError, match="hash"):
        wire.from_bytes(f'{{"s":[{same}]}}'.encode())


class Level(IntEnum):
    HIGH = 3


class Liar(int):
    def __eq__(self, other):
        return True

    __hash__ = int.__hash__

    def __add__(self, other):
        return 7

    def __format__(self, spec):
        return "7"


@pytest.mark.parametrize(
    ("value", "base"),
    [
        (Liar(5), 5),
        (Level.HIGH, 3),
        (Counter("aab"), {"a": 2, "b": 1}),
        (defaultdict(int, {1: 2}), {1: 2}),
        (OrderedDict([(1, 2)]), {1: 2}),
        (namedtuple("P", "x y")(1, 2), (1, 2)),
        (Fraction(1, 3), Fraction(1, 3)),
        (Decimal("1.50"), Decimal("1.50")),
        (deque([1]), deque([1])),
        (range(3), range(3)),
        (bytearray(b"x"), bytearray(b"x")),
    ],
)
def test_a_subclass_is_sent_as_its_base_value(value, base):
    assert typed(wire.from_bytes(wire.to_bytes(value))) == typed(base)


@pytest.mark.parametrize("value", [object(), lambda: 1, iter([]), type, {1: object()}, NotImplemented, ...])
def test_what_is_not_plain_data_is_refused(value):
    with pytest.raises(wire.WireError):
        wire.encode(value)


def test_two_surrogates_are_not_the_character_that_json_makes_of_them():
    for text in ("\ud83d\ude00", "x\ud83d\ude00y"):
        with pytest.raises(wire.WireError, match="surrogates"):
            wire.encode([text])
    for text in ("😀", "\ude00\ud83d", "\ud83d", "\ud83d😀"):
        assert wire.from_bytes(wire.to_bytes(text)) == text


def test_depth_size_and_self_reference_are_bounded(monkeypatch):
    monkeypatch.setattr(wire, "MAX_NODES", 10_000)
    ring: list = []
    ring.append(ring)
    doubled: list = [1]
    for _ in range(40):
        doubled = [doubled, doubled]
    for value in (ring, doubled):
        with pytest.raises(wire.WireError):
            wire.encode(value)


def test_nan_and_infinities_travel():
    values = wire.from_bytes(wire.to_bytes([float("inf"), float("-inf"), float("nan"), -0.0]))
    assert values[:2] == [float("inf"), float("-inf")]
    assert values[2] != values[2]
    assert str(values[3]) == "-0.0"


def test_a_digest_does_not_depend_on_the_order_of_sets_and_dicts():
    one, other = {"s": [1, 2]}, {"s": [2, 1]}
    assert wire.digest([one]) == wire.digest([other]) != wire.digest([{"t": [1, 2]}])
    assert wire.digest({"d": [[1, one], [2, 3]]}) == wire.digest({"d": [[2, 3], [1, other]]})
    assert wire.digest([1, 2]) != wire.digest([2, 1])
