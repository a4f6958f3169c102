"""Prompts as plain text, for base models, which have no chat template."""

import dataclasses

from g2rpo.data.problem import Problem
from g2rpo.errors import DataError

FORMATS = ("chat", "text")
QUESTION, SOLUTION = "Problem: ", "\nSolution:\n"
"""What stands before a problem and before its solution."""


def as_text(problem: Problem) -> Problem:
    """The problem with its conversation, worked examples among them, written out as plain text.

    Raises:
        DataError: a message that has no place in it, such as one whose content is no text.
    """
    if isinstance(problem.prompt, str):
        return problem
    parts = []
    for message in problem.prompt:
        role, content = message.get("role"), message.get("content")
        if role not in ("system", "user", "assistant") or not isinstance(content, str):
            raise DataError(
                f"prompt of {problem.key}",
                problem.prompt,
                expected="system, user and assistant messages of text",
                then="Set prompt_format to chat.",
            )
        parts.append(f"{QUESTION}{content}{SOLUTION}" if role == "user" else f"{content}\n\n")
    return dataclasses.replace(problem, prompt="".join(parts))
