"""Any other data: columns `prompt`, `answer`, `trace`, or others named in the recipe's `columns`."""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from g2rpo.data.problem import Problem
from g2rpo.data.sources.cells import refuse_nan
from g2rpo.data.trace_text import clean_trace
from g2rpo.errors import DataError, nearest

ROLES = ("prompt", "answer", "trace", "key", "difficulty", "source", "tests")


def _digest(prompt: Any) -> str:
    return hashlib.blake2b(json.dumps(prompt, sort_keys=True).encode(), digest_size=12).hexdigest()


def _read(parse: Callable[[Any], Any], value: Any, column: str, expected: str) -> Any:
    try:
        return None if value is None else parse(value)
    except (ValueError, TypeError) as error:
        raise DataError(f"column {column!r}", value, expected=expected, then=f"{type(error).__name__}: {error}") from error


def _check_prompt(prompt: Any, column: str) -> None:
    """Text, or a conversation whose messages all have a role and a text: chat templates make something of anything.

    Raises:
        DataError: names the message and its part.
    """
    if isinstance(prompt, str):
        return
    if not isinstance(prompt, list):
        raise DataError(f"column {column!r}", prompt, expected="a question or a conversation", then="Mend or drop the row.")
    for number, message in enumerate(prompt, start=1):
        for part in ("role", "content"):
            found = message.get(part) if isinstance(message, dict) else message
            if not isinstance(message, dict) or not isinstance(found, str):
                raise DataError(
                    f"{part} of message {number} in column {column!r}",
                    found,
                    expected="text",
                    then="Write messages like {role: user, content: the question}, or drop the row.",
                )


def _cell(row: Mapping[str, Any], column: str) -> Any:
    """The cell of a column, or a field in it: `reward_model.ground_truth`."""
    outer, dot, field = column.partition(".")
    if column in row or not dot:
        return row.get(column)
    return _cell(row[outer], field) if isinstance(row.get(outer), Mapping) else None


def _one_answer(answer: Any, column: str) -> Any:
    """What a list with one answer holds; anything else as it is.

    Raises:
        DataError: several answers, or an object: written as text they would be an answer that no one gives.
    """
    if isinstance(answer, list) and len(answer) == 1:
        return _one_answer(answer[0], column)
    if isinstance(answer, list | Mapping):
        raise DataError(
            f"column {column!r}",
            answer,
            expected="one answer",
            then=f"Name a field of it (columns: {{answer: {column}.{next(iter(answer), 'field')}}})."
            if isinstance(answer, Mapping)
            else "Write the answers as one text, as a completion should state them, or drop the row.",
        )
    return answer


def mapped(columns: list[str], mapping: Mapping[str, str]) -> Callable[[dict[str, Any]], Problem]:
    """A reader for columns named in `mapping`, or like the roles themselves. Only `prompt` must be there."""
    for role in mapping:
        if role not in ROLES:
            raise DataError("columns", role, expected="one of the roles a column can have", then=nearest(role, ROLES))
    where = {role: mapping.get(role, role) for role in ROLES}
    for role, column in where.items():
        if not {column, column.partition(".")[0]} & set(columns) and (role in mapping or role == "prompt"):
            raise DataError(
                f"column {column!r} for the {role}",
                expected=f"it among the columns {', '.join(columns)}",
                then="Name the columns in the recipe, for example columns: {prompt: question, answer: final, trace: solution}.",
            )

    def problem(row: dict[str, Any]) -> Problem:
        value = {role: _cell(row, column) for role, column in where.items()}
        prompt = value["prompt"]
        if prompt is None or prompt == "" or prompt == []:
            raise DataError(
                f"column {where['prompt']!r}", prompt, expected="a question or a conversation", then="Fill it or drop the row."
            )
        _check_prompt(prompt, where["prompt"])
        value["answer"] = _one_answer(value["answer"], where["answer"])
        refuse_nan(value["answer"], f"column {where['answer']!r}")
        if where["prompt"] != "prompt" and isinstance(prompt, str):
            prompt = [{"role": "user", "content": prompt}]  # a mapped question is a question, not a rendered prompt
        tests = value["tests"]
        return Problem(
            key=str(value["key"]) if value["key"] is not None else _digest(prompt),
            prompt=prompt,
            answer=None if value["answer"] is None else str(value["answer"]).strip(),
            trace=clean_trace(value["trace"]) or None if isinstance(value["trace"], str) else value["trace"],
            tests=_read(json.loads, tests, where["tests"], "tests as JSON") if isinstance(tests, str) else tests,
            difficulty=_read(float, value["difficulty"], where["difficulty"], "a number"),
            source=str(value["source"] or ""),
        )

    return problem
