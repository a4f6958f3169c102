r"""Numbers in every spelling, exactly."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rlvr_graders.math.latex import normalise
from rlvr_graders.math.numbers import Quantity, parse_quantity, same_quantity
from rlvr_graders.math.units import parse_unit


def value(text):
    quantity = parse_quantity(normalise(text))
    return None if quantity is None else quantity.value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("42", 42),
        ("-42", -42),
        ("+42", 42),
        ("042", 42),
        ("3.50", "7/2"),
        (".5", "1/2"),
        ("5.", 5),
        ("1,234,567", 1234567),
        ("1{,}234", 1234),
        (r"1\,234", 1234),
        ("1 000 000", 1000000),
        ("1,234.5", "2469/2"),
        ("1/2", "1/2"),
        ("-1/2", "-1/2"),
        (r"\frac{1}{2}", "1/2"),
        (r"-\frac12", "-1/2"),
        (r"\dfrac{-1}{2}", "-1/2"),
        ("2 2/3", "8/3"),
        (r"2\frac{2}{3}", "8/3"),
        ("-2 2/3", "-8/3"),
        ("2 and 2/3", "8/3"),
        ("1½", "3/2"),
        ("50%", "1/2"),
        (r"12.5\%", "1/8"),
        ("20 percent", "1/5"),
        (r"0.\overline{3}", "1/3"),
        (r"0.1\overline{6}", "1/6"),
        ("6.02e3", 6020),
        (r"6.02\times 10^{3}", 6020),
        ("2*10^-3", "1/500"),
        ("1011_2", 11),
        ("FF_{16}", 255),
        ("5 million", 5000000),
        ("2 dozen", 24),
        ("$18", 18),
        ("-$18", -18),
        ("$-18", -18),
        ("€1,000.50", "2001/2"),
        ("18 eggs", 18),
        (r"18\text{ cm}^2", 18),
        ("twenty-one", 21),
        ("seven", 7),
        ("five hundred", 500),
        ("90^\\circ", 90),
        ("−5", -5),
        ("$5$", 5),
        (r"\(5\)", 5),
        ("**5**", 5),
        ("10 ³⁄₄", None),
    ],
)
def test_reads(text, expected):
    assert value(text) == (None if expected is None else Fraction(expected))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-",
        "x",
        "5x",
        "5m",
        "1,23",
        "1,2345",
        "1/0",
        "1//2",
        "7 7",
        "12_2",
        "2\\frac{5}{3}",
        "1/2^99",
        "3!",
        "1e99999",
        "9" * 5000,
        "nan",
        "inf",
        "١٢",
        "five six",
        "1.2.3",
        "--5",
        "5 +",
        "0x1F",
        "1_000",
        "5 and 6",
        "a_{16}",
    ],
)
def test_does_not_read(text):
    assert value(text) is None


@pytest.mark.parametrize(
    ("gold", "answer", "equal"),
    [
        ("5 cm", "5", True),
        ("5", "5 cm", True),
        ("5 cm", "5 m", False),
        ("5 m", "500 cm", True),
        ("1 m^2", "10000 square centimeters", True),
        ("5 cm^2", "5 cm^3", False),
        ("60 km/h", "60 km per hour", True),
        ("10 m/s", "36 km/h", True),
        ("5 apples", "5 oranges", False),
        ("5 apples", "5 red apples", True),
        ("$18", "18 dollars per day", True),
        ("$1", "100 cents", True),
        ("$1", "1 cent", False),
        ("€5", "$5", False),
        ("50%", "0.5", True),
        ("50", "50%", True),
        ("0.5", "0.5%", False),
        ("1", "1%", False),
        ("3 ft", "1 yd", True),
        ("45 mph", "45 miles per hour", True),
        ("8 hours", "8 apples", False),
        ("4 hours and 30 minutes", "4.5 hours", True),
        ("5 feet 3 inches", "63 inches", True),
        ("5 feet 3 inches", "5.3 feet", False),
    ],
)
def test_units(gold, answer, equal):
    assert same_quantity(parse_quantity(normalise(gold)), parse_quantity(normalise(answer))) is equal


@pytest.mark.parametrize(
    ("value", "decimal", "equal"),
    [
        ("1/12", "0.0833333333333333", True),
        ("1/12", "0.08333333333333333", True),
        ("1/12", "8.33333333333333%", True),
        ("1/3", "0.333333333333333", True),
        ("1/3", "0.3333333333333333", True),
        ("2/3", "0.6666666666666666", True),
        ("2/3", "0.6666666666666667", True),
        ("2/3", "0.666666666666667", True),
        ("100/3", "33.333333333333336", True),
        (r"\frac{7}{3}", "2.3333333333333335", True),
        ("1/7", "1.4285714285714285e-1", True),
        ("-1/12", "-0.0833333333333333", True),
        ("5 minutes", "0.0833333333333333 hours", True),
        (r"8\frac{1}{3}", "8.33333333333333", True),
        ("1/3", "0.33", False),
        ("1/3", "0.333333", False),
        ("1/3", "0.33333333333333", False),
        ("7/3", "2.3333333333333333", False),
        ("1/3", "0.33333333333333333333", False),
        ("2/3", "0.6666666666666668", False),
        ("2/3", "0.666666666666665", False),
        ("1/12", "-0.0833333333333333", False),
        ("1/12", "0.833333333333333", False),
        ("0.3", "0.30000000000000004", False),
        ("3", "3.00000000000001", False),
        ("3", "2.999999999999999", False),
        ("1/2", "0.500000000000001", False),
        ("0.333333333333333", "0.3333333333333333", False),
    ],
)
def test_a_decimal_is_what_a_double_shows_or_exact(value, decimal, equal):
    for gold, answer in ((value, decimal), (decimal, value)):
        assert same_quantity(parse_quantity(normalise(gold)), parse_quantity(normalise(answer))) is equal


@given(st.fractions(max_denominator=10**6).filter(lambda v: abs(v) > 1e-4 and abs(v) < 1e15))
def test_every_double_of_a_fraction_is_the_fraction(number):
    shown = repr(float(number))
    if len(shown.replace(".", "").replace("-", "").strip("0")) >= 15 and "e" not in shown:
        assert same_quantity(Quantity(number), parse_quantity(shown))
        last = shown[:-1] + str((int(shown[-1]) + 5) % 10)
        assert not same_quantity(Quantity(number), parse_quantity(last))


@pytest.mark.parametrize("phrase", ["x", "sin", "apples and oranges", "5", "cm^0", "m" * 100, "", "is 5"])
def test_what_is_no_unit(phrase):
    assert parse_unit(phrase) is None


fractions = st.fractions(max_denominator=10**6)


@given(fractions)
def test_every_fraction_survives_three_spellings(number):
    n, d = number.numerator, number.denominator
    for text in (f"{n}/{d}", f"\\frac{{{n}}}{{{d}}}", f"{'-' if n < 0 else ''}\\frac{{{abs(n)}}}{{{d}}}"):
        assert value(text) == number


@given(st.integers(-(10**30), 10**30), st.integers(0, 12))
def test_every_decimal_survives(digits, places):
    text = f"{'-' if digits < 0 else ''}{abs(digits) // 10**places}"
    text += f".{abs(digits) % 10**places:0{places}d}" if places else ""
    assert value(text) == Fraction(digits, 10**places)


@given(st.integers(0, 10**15))
def test_thousands_separators_do_not_matter(number):
    assert value(f"{number:,}") == number


@given(st.integers(2, 10), st.integers(0, 10**6))
def test_bases(base, number):
    digits, rest = "", number
    while rest:
        digits, rest = str(rest % base) + digits, rest // base
    assert value(f"{digits or '0'}_{{{base}}}") == number


@given(st.text(max_size=60))
def test_no_text_raises(text):
    parse_quantity(normalise(text))
