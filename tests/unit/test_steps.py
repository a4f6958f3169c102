"""Traces taken apart into steps."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g2rpo.data.steps import step_ends, steps

PROGRAM = '''import math

def area(r):
    """Of a circle."""
    if r < 0:
        raise ValueError(
            "no")
    return math.pi * r * r


print(area(2))'''


@pytest.mark.parametrize(
    ("trace", "wanted"),
    [
        ("a\n\nb\nc\n\nd", ["a\n\n", "b\nc\n\n", "d"]),
        ("a\nb\nc", ["a\n", "b\n", "c"]),
        ("a\nb\n\nc", ["a\n", "b\n\n", "c"]),  # one blank line alone is layout
        ("One. Two! Is it? Yes.", ["One. ", "Two! ", "Is it? ", "Yes."]),
        (
            "It costs 3.5 dollars, e.g. 4 less 0.5. Then Mr. X pays.",
            ["It costs 3.5 dollars, e.g. 4 less 0.5. ", "Then Mr. X pays."],
        ),
        ("First:\n1. add\nthem\n2. halve\n3) done", ["First:\n", "1. add\nthem\n", "2. halve\n", "3) done"]),
        ("Step 1: add\nmore\nStep 2: halve", ["Step 1: add\nmore\n", "Step 2: halve"]),
        ("- one\n  and more\n- two", ["- one\n  and more\n", "- two"]),
        ("20. of them\nleft\n3. of them", ["20. of them\n", "left\n", "3. of them"]),  # numbers that do not count
        ("only one", ["only one"]),
        ("", []),
        (
            PROGRAM,
            [
                "import math\n\n",
                'def area(r):\n    """Of a circle."""\n',
                '    if r < 0:\n        raise ValueError(\n            "no")\n',
                "    return math.pi * r * r\n\n\n",
                "print(area(2))",
            ],
        ),
    ],
    ids=[
        "paragraphs",
        "lines",
        "one blank line",
        "sentences",
        "points",
        "numbered",
        "steps",
        "bullets",
        "arithmetic",
        "whole",
        "empty",
        "program",
    ],
)
def test_steps(trace, wanted):
    assert steps(trace) == wanted


@given(st.text(alphabet="a1.- \n*:)BS", max_size=60))
def test_joined_steps_are_the_trace(trace):
    assert "".join(steps(trace)) == trace
    ends = step_ends(trace)
    assert ends == sorted(set(ends))
    assert not trace or ends[-1] == len(trace)
    if trace.strip():
        assert all(step.strip() for step in steps(trace))


@pytest.mark.skipif(not os.environ.get("G2RPO_DATA"), reason="G2RPO_DATA is not set")
def test_every_line_of_every_gsm8k_solution_is_a_step(data_folder):
    from g2rpo.data.load import load_named

    problems = load_named("gsm8k", split="all", data=data_folder)
    assert len(problems) == 7473 + 1319
    wrong = [p.key for p in problems if len(steps(p.trace)) != len([line for line in p.trace.splitlines() if line.strip()])]
    assert wrong == []
