r"""The strict reader of formulas, exact values, and the outer shapes of answers."""

from contextlib import suppress
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rlvr_graders.math.exact_value import TooLarge, exact_value, variables
from rlvr_graders.math.expressions import Malformed, Unsupported, parse_expression
from rlvr_graders.math.latex import normalise
from rlvr_graders.math.shapes import parse_shape


def exact(text):
    return exact_value(parse_expression(normalise(text)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-2^2", -4),
        ("(-2)^2", 4),
        ("2^3^2", 512),
        ("2^{-1}", "1/2"),
        ("1/2/3", "1/6"),
        ("2*3+4", 10),
        ("3!2!", 12),
        ("3!!", 3),
        ("6!!", 48),
        ("(1+2)(3+4)", 21),
        (r"\frac{\frac12}{3}", "1/6"),
        (r"\sqrt{16}", 4),
        (r"\sqrt[3]{27}", 3),
        (r"\sqrt{\frac{1}{4}}", "1/2"),
        ("8^{2/3}", 4),
        (r"\sqrt{2}", None),
        (r"\binom{5}{2}", 10),
        (r"\binom52", 10),
        ("|3-5|", 2),
        ("50%", "1/2"),
        ("2 2/3 + 1/3", 3),
        ("0^0", None),
        ("1/(1-1)", None),
        (r"\pi", None),
        ("1/2^99", Fraction(1, 2**99)),
        ("1,000 + 1", 1001),
        ("2**3", 8),
        ("2×3", 6),
        ("6÷4", "3/2"),
        ("x", None),
        ("0!", 1),
        ("(-1)!", None),
        ("(1/2)!", None),
    ],
)
def test_exact_values(text, expected):
    assert exact(text) == (None if expected is None else Fraction(expected))


@given(st.integers(1, 10**30), st.integers(2, 64), st.sampled_from([-1, 0, 1]))
def test_roots_are_exact(base, index, off):
    value = base**index + off
    expected = base if off == 0 else value if value in (0, 1) else None
    assert exact(f"\\sqrt[{index}]{{{value}}}") == expected


@pytest.mark.parametrize(
    "text", ["9^{9^9}", "99999!", r"\sqrt[3]{7^{20000}}", r"\binom{10^6}{3}", "2^{10^6}", "(10^{200})^{10^{3}}"]
)
def test_what_must_not_be_computed_is_not(text):
    with pytest.raises(TooLarge):
        exact(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7 7",
        "3 +",
        "1//3",
        "2*3*",
        "*6",
        "((4",
        "4)",
        r"\frac{1}",
        r"\frac{}{2}",
        r"\undefined{4}",
        "x2",
        "10^",
        r"\sqrt{}2",
        "hello",
        "not 4",
        "\\",
        "a or b",
        "+-+-+-1",
        "{" * 100 + "1" + "}" * 100,
        "+".join("x" * 400),
        "5 ?",
    ],
)
def test_malformed(text):
    with pytest.raises(Malformed):
        parse_expression(normalise(text))


@pytest.mark.parametrize("text", [r"\int_0^1 x\,dx", r"\sum_{k=1}^n k", r"\lfloor 2.5\rfloor", r"2\max(1,2)"])
def test_beyond_the_grammar(text):
    with pytest.raises(Unsupported):
        parse_expression(normalise(text))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("xy^2", {"x", "y"}),
        ("x_1+x_{12}", {"x_1", "x_12"}),
        ("a_{n+1}", {"a_n+1"}),
        (r"\alpha x", {"\\alpha", "x"}),
        ("e^{i\\pi}", set()),
        ("2 sin x cos y", {"x", "y"}),
        ("3", set()),
    ],
)
def test_variables(text, names):
    assert variables(parse_expression(normalise(text))) == names


integers = st.integers(-50, 50)
formulas = st.recursive(
    integers.map(lambda n: (f"({n})", Fraction(n))),
    lambda inner: st.tuples(inner, st.sampled_from("+-*"), inner).map(
        lambda t: (f"({t[0][0]}{t[1]}{t[2][0]})", {"+": t[0][1] + t[2][1], "-": t[0][1] - t[2][1], "*": t[0][1] * t[2][1]}[t[1]])
    ),
    max_leaves=12,
)


@given(formulas)
def test_arithmetic_agrees_with_python(formula):
    text, expected = formula
    assert exact(text) == expected


@given(st.text(alphabet=r"\frac{}sqrt()[]12x+-*/^!|_ ,.%$=<>πe", max_size=80))
def test_nothing_but_the_named_errors(text):
    with suppress(Malformed, Unsupported, TooLarge):
        exact_value(parse_expression(normalise(text)))
    parse_shape(normalise(text))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("5", "scalar"),
        ("1,234", "scalar"),
        ("(5)", "scalar"),
        ("1, 2", "list"),
        ("1 and 2", "list"),
        ("1 or 2", "list"),
        (r"\pm 2", "list"),
        (r"\{1,2\}", "set"),
        (r"\emptyset", "set"),
        ("(1,2)", "tuple"),
        ("(1,234)", "tuple"),
        ("(1,2,3)", "tuple"),
        ("[1,2]", "interval"),
        ("(1,2]", "interval"),
        (r"(1,\infty)", "interval"),
        ("1<x<2", "interval"),
        ("x>2", "interval"),
        ("2<x", "interval"),
        (r"x\in[1,2]", "interval"),
        (r"\mathbb{R}", "interval"),
        (r"\{x\mid x>2\}", "interval"),
        (r"x\ne0", "union"),
        (r"[0,1]\cup[2,3]", "union"),
        ("x<1 or x>2", "union"),
        ("x=5", "scalar"),
        ("5=x", "scalar"),
        ("f(x)=x^2", "scalar"),
        ("x+y=5", "equation"),
        ("xy=5", "equation"),
        ("2x+3y<6", "inequality"),
        (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", "matrix"),
        (r"\begin{pmatrix}1&2\\3\end{pmatrix}", "other"),
        (r"5\ne6", "other"),
        (r"\text{red and blue}", "list"),
    ],
)
def test_shapes(text, kind):
    assert parse_shape(normalise(text)).kind == kind
