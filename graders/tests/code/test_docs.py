"""What `docs/sandbox.md` shows is what happens."""

import contextlib
import io
import json
import re
from pathlib import Path

import pytest

from rlvr_graders.code.tests import parse_tests

TEXT = (Path(__file__).parents[4] / "docs" / "sandbox.md").read_text(encoding="utf-8")


@pytest.mark.usefixtures("pool")
def test_the_example_prints_what_it_says():
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, {})
    assert printed.getvalue() == "ok 3\n"


def test_the_forms_of_tests_are_accepted():
    (block,) = re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)
    assert [json.loads(line)["kind"] for line in block.splitlines()] == ["function", "stdio", "assert", "check"]
    for line in block.splitlines():
        parse_tests(line)
