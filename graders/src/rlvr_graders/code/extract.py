"""The program in an answer: one function, for training and for evaluation alike.

What follows the last `</think>` is searched. The last complete fenced block counts, for what a model says last is
what it stands by; blocks in another language than Python do not. Without a complete block the last open one counts,
and without any fence the whole text (or what stands in `<answer>`) is the program. Nothing is repaired.
"""

import ast
import re
from functools import lru_cache

from rlvr_graders.extract import after_thinking

MAX_PROGRAM_CHARS = 100_000
"""A longer answer has no program: nobody writes one, and it would be copied often."""

_FENCE = re.compile(r"^[ ]{0,3}(`{3,}|~{3,})[ \t]*([^\s`]*)[^\n`]*$", re.MULTILINE)
_ANSWER = re.compile(r"<answer>(.*?)(?:</answer>|\Z)", re.DOTALL | re.IGNORECASE)
_PYTHON = ("", "python", "py", "python3", "py3")


def extract_code(answer: str) -> str | None:
    """The program in an answer, or None when there is none (an unfinished thought, an empty answer, over 100,000
    characters).
    """
    if len(answer) > MAX_PROGRAM_CHARS * 4:
        return None
    text = after_thinking(answer)
    if text is None:
        return None
    blocks = _blocks(text)
    complete = [code for code, closed in blocks if closed]
    if complete:
        code = complete[-1]
    elif blocks:
        code = blocks[-1][0]
    else:
        found = _ANSWER.search(text)
        code = found.group(1) if found else text
    return code if code.strip() and len(code) <= MAX_PROGRAM_CHARS else None


def program_in(text: str) -> str | None:
    """The program in a text that is one, or an answer around one: what begins with a fence or a tag cannot be Python."""
    return extract_code(text) if text.lstrip().startswith(("```", "<")) else text


def _blocks(text: str) -> list[tuple[str, bool]]:
    """Python blocks in order, with whether each was closed. A fence is closed by a bare fence of its own kind and
    length.
    """
    blocks, opened = [], None
    for fence in _FENCE.finditer(text):
        mark, language = fence.group(1), fence.group(2).lower()
        if opened is None:
            opened = (mark, language, fence.end() + 1)
        elif mark[0] == opened[0][0] and len(mark) >= len(opened[0]) and not language:
            if opened[1] in _PYTHON:
                blocks.append((text[opened[2] : fence.start()], True))
            opened = None
    if opened is not None and opened[1] in _PYTHON:
        blocks.append((text[opened[2] :], False))
    return blocks


def join_prompt(prompt: str, code: str, entry: str) -> str:
    """The whole program when the prompt is itself the beginning of one, as in HumanEval.

    A program that defines the entry again stands behind the prompt, whose imports and helpers it may use; anything
    else is taken as the continuation of the prompt's last line.
    """
    if re.search(rf"^(?:async[ \t]+)?def[ \t]+{re.escape(entry)}\b", code, re.MULTILINE):
        return f"{complete_prompt(prompt)}\n\n{code}"
    return prompt + code


@lru_cache(maxsize=4096)
def complete_prompt(prompt: str) -> str:
    """The prompt as a program of its own: a last function that has no body yet gets an empty one.

    Raises:
        SyntaxError: It is not the beginning of a program.
    """
    try:
        ast.parse(prompt)
        return prompt
    except SyntaxError:
        completed = f"{prompt.rstrip()}\n    pass\n"
        ast.parse(completed)
        return completed
