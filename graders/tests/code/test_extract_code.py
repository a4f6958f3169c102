"""The program in an answer."""

import pytest
from rlvr_graders.code import extract_code
from rlvr_graders.code.extract import join_prompt


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("```python\nx = 1\n```", "x = 1\n"),
        ("Text\n```py\nx = 1\n```\nmore text", "x = 1\n"),
        ("```\nx = 1\n```", "x = 1\n"),
        ("```python\nx = 1\n```\nbetter:\n```python\nx = 2\n```", "x = 2\n"),
        ("```python\nx = 1\n```\n```bash\nls\n```", "x = 1\n"),
        ("```python\nx = 1\n```\n```text\n3\n```", "x = 1\n"),
        ("~~~python\nx = 1\n~~~", "x = 1\n"),
        ("````python\ns = '''\n```\n'''\n````", "s = '''\n```\n'''\n"),
        ("<think>```python\nx = 0\n```</think>```python\nx = 1\n```".replace("</think>", "</think>\n"), "x = 1\n"),
        ("```python\nx = 1", "x = 1"),
        ("```python\nx = 1\n```\n```python\nx = 2", "x = 1\n"),
        ("x = 1", "x = 1"),
        ("<answer>x = 1</answer>", "x = 1"),
        ("<answer>\n```python\nx = 1\n```\n</answer>", "x = 1\n"),
        ("```Python\nx = 1\n```", "x = 1\n"),
    ],
)
def test_found(answer, code):
    assert extract_code(answer) == code


@pytest.mark.parametrize("answer", ["", "   \n", "<think>still thinking ```python\nx\n```", "```python\n\n```", "x" * 200_000])
def test_none(answer):
    assert extract_code(answer) is None


def test_time_is_linear_in_the_answer():
    assert extract_code("```\n" * 90_000) is None
    assert extract_code("`" * 90_000) is None
    assert extract_code("``\n" * 30_000) is not None


def test_a_program_that_defines_the_entry_stands_behind_the_prompt():
    prompt = 'import math\n\ndef f(x):\n    """Double."""\n'
    assert join_prompt(prompt, "    return 2 * x\n", "f") == prompt + "    return 2 * x\n"
    assert join_prompt(prompt, "def f(x):\n    return math.pi", "f").endswith('"""\n\n\ndef f(x):\n    return math.pi')
    assert join_prompt(prompt, "def fx(x): pass", "f") == prompt + "def fx(x): pass"
