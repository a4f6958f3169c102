"""Forms of a prompt: worked examples in front of the problem, and plain text for base models, which have no chat template."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from g2rpo.data.completion import Style, full_completion
from g2rpo.data.problem import Problem
from g2rpo.errors import ConfigError, DataError
from g2rpo.seeds import rng

FORMATS = ("chat", "text")
QUESTION, SOLUTION = "Problem: ", "\nSolution:\n"
"""What stands before a problem and before its solution."""


def with_examples(problems: Sequence[Problem], pool: Sequence[Problem], count: int, style: Style) -> list[Problem]:
    """The problems, each with `count` worked examples in its prompt: turns of the conversation, or text in front of a plain
    prompt.

    Examples are drawn from `pool` (the training set) by the problem's key alone, so that a problem has the same examples in every
    run; a problem never has itself among them.

    Raises:
        ConfigError: the pool has fewer usable examples than `count` plus the problem itself.
    """
    usable = [p for p in pool if p.trace and (p.answer is not None or (p.tests or {}).get("solution"))]
    if len(usable) <= count:
        raise ConfigError(
            "few_shot",
            count,
            expected=f"fewer than the {len(usable)} training problems with a worked solution",
            then="Lower few_shot, or give more problems a trace.",
        )
    return [_shown(problem, usable, count, style) for problem in problems]


def _shown(problem: Problem, usable: Sequence[Any], count: int, style: Style) -> Problem:
    drawn = rng("few shot", problem.key).sample(range(len(usable)), count + 1)
    examples = [usable[i] for i in drawn if usable[i].key != problem.key and usable[i].prompt != problem.prompt][:count]
    if isinstance(problem.prompt, str):
        texts = [f"{e.prompt}\n{full_completion(e, style)}\n\n" for e in examples]
        return dataclasses.replace(problem, prompt="".join(texts) + problem.prompt)
    turns = [turn for e in examples for turn in (dict(e.prompt[-1]), {"role": "assistant", "content": full_completion(e, style)})]
    return dataclasses.replace(problem, prompt=[*problem.prompt[:-1], *turns, problem.prompt[-1]])


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
