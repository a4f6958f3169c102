"""What the README and docs/sandbox.md show is what happens."""

import contextlib
import io
import json
import re
from pathlib import Path

import pytest
from rlvr_graders.code.tests import parse_tests

ROOT = Path(__file__).parents[1]
README, SANDBOX = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/sandbox.md"))


def blocks(text, language):
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def printed(code):
    """What the code prints, line by line, and what its comments behind `print` say."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(code, {})
    return output.getvalue().splitlines(), re.findall(r"print\(.*\)  # (.*)", code)


@pytest.mark.usefixtures("pool")
@pytest.mark.parametrize("code", [blocks(SANDBOX, "python")[0], blocks(README, "python")[-1]], ids=["sandbox", "readme"])
def test_an_example_prints_what_its_comments_say(code):
    lines, comments = printed(code)
    assert lines == comments != []


def test_the_functions_for_other_frameworks_grade():
    space = {}
    for code in blocks(README, "python")[1:3]:
        exec(code, space)
    assert space["compute_score"]("gsm8k", r"\boxed{0.5}", r"\frac{1}{2}") == 1.0
    assert space["compute_score"]("gsm8k", r"\boxed{5}", "x^{", extra_info={}) == 0.0
    assert space["process_results"]({"answer": "18"}, ["The answer is 18."]) == {"math_equal": 1.0}


def test_the_forms_of_tests_are_accepted():
    (block,) = blocks(SANDBOX, "json")
    assert [json.loads(line)["kind"] for line in block.splitlines()] == ["function", "stdio", "assert", "check"]
    for line in block.splitlines():
        parse_tests(line)
