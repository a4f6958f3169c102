"""When a decoded answer is the expected one."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rlvr_graders.code.equality import brief, equal, same_text

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("actual", "expected"),
    [
        (3, 3),
        (3.0, 3),
        (3, 3.0),
        (3.0000001, 3.0),
        (0.1 + 0.2, 0.3),
        (NAN, NAN),
        (INF, INF),
        ([1, (2.0, "x")], [1, (2, "x")]),
        ({1: [0.30000000000000004]}, {1: [0.3]}),
        ({1, 2}, frozenset({2, 1})),
        ({frozenset({True, 2})}, {frozenset({2, True})}),
        ({1: 2, 3: 4}, {3: 4, 1: 2}),
        (1 << 70, 1 << 70),
        (1 + 1e-9j, 1 + 0j),
        (None, None),
        (b"x", b"x"),
        ("", ""),
    ],
)
def test_equal(actual, expected):
    assert equal(actual, expected)


@pytest.mark.parametrize(
    ("actual", "expected"),
    [
        (True, 1),
        (1, True),
        (False, 0.0),
        ("3", 3),
        (3, "3"),
        (b"x", "x"),
        ((1, 2), [1, 2]),
        ([1, 2], (1, 2)),
        ([1, 2], [1, 2, 3]),
        ([1, 2, 3], [1, 2]),
        ({True}, {1}),
        ({True: 1}, {1: 1}),
        ({(True, 2)}, {(1, 2)}),
        ({frozenset({True})}, {frozenset({1})}),
        ({(frozenset({(True,)}),)}, {(frozenset({(1,)}),)}),
        ({frozenset({True}): 1}, {frozenset({1}): 1}),
        ({True}, {("bool", 1)}),
        ({1: True}, {1: 1}),
        (NAN, 3.0),
        (3.0, NAN),
        (INF, 1e308),
        (-INF, INF),
        (3.00001, 3.0),
        (3.0000001, 3),
        (1 << 2000, 1.5),
        (None, 0),
        (0, None),
        ([], None),
        ({}, set()),
        ({1: 2}, {1: 2, 3: 4}),
        (range(3), [0, 1, 2]),
    ],
)
def test_different(actual, expected):
    assert not equal(actual, expected)


def test_python_equality_of_bool_and_int_on_request():
    assert equal([True, 0], [1, False], strict=False)
    assert equal({True: 1}, {1: True}, strict=False)
    assert not equal("1", True, strict=False)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(VALUES, VALUES)
@settings(max_examples=200, deadline=None)
def test_a_value_equals_itself_and_never_one_of_another_type(one, other):
    assert equal(one, one)
    numbers = (int, float)
    if type(one) is not type(other) and not (type(one) in numbers and type(other) in numbers):
        assert not equal(one, other)


@pytest.mark.parametrize(
    ("actual", "expected", "same"),
    [
        (b"3\n", "3", True),
        (b"3", "3\n", True),
        (b"3  \n4\t\n\n\n", "3\n4", True),
        (b"3\r\n4\r\n", "3\n4\n", True),
        (b"", "", True),
        (b"\n3", "3", False),
        (b"3\n\n4", "3\n4", False),
        (b" 3", "3", False),
        (b"3\nmore", "3", False),
        (b"3", "3\nmore", False),
        (b"3.0", "3", False),
        (b"3\xff", "3", False),
        (b"3\x00", "3", False),
        (b"", "3", False),
        (b"3\x0b4", "3\n4", False),
    ],
)
def test_text(actual, expected, same):
    assert same_text(actual, expected) is same


@given(st.binary(max_size=100), st.text(max_size=20))
@settings(max_examples=200, deadline=None)
def test_any_bytes_can_be_compared(data, text):
    same_text(data, text)
    assert same_text(text.encode("utf-8", "ignore"), text.encode("utf-8", "ignore").decode()) is True


def test_reasons_are_short_whatever_the_value():
    assert brief(10**10000) == "<int>"
    assert len(brief("x" * 1000)) == 80
    assert math.isnan(NAN)
