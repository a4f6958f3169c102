"""GPQA (Idavidrein/gpqa, config gpqa_diamond; gated): `Question`, `Correct Answer`, `Incorrect Answer 1` to `3`, `Record ID`.
Seen in inspect's and lm-evaluation-harness' tasks. The answer is a letter; the order of the options is drawn from the key, the
same for everyone.

Its authors ask not to publish the questions in the open: the key is an id, and nothing of ours copies the rows anywhere.
"""

import hashlib
from typing import Any

from g2rpo.data.problem import Problem
from g2rpo.data.sources.cells import question, text
from g2rpo.seeds import rng

OPTIONS = ("Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3")
LETTERS = "ABCD"


def matches(columns: list[str]) -> bool:
    return {"Question", *OPTIONS} <= set(columns)


def problem(row: dict[str, Any]) -> Problem:
    asked = text(row, "Question").strip()
    options = [text(row, column).strip() for column in OPTIONS]
    name = row.get("Record ID") or hashlib.blake2b(asked.encode(), digest_size=12).hexdigest()
    order = list(range(len(options)))
    rng("gpqa", name).shuffle(order)
    shown = "\n".join(f"{letter}) {options[place]}" for letter, place in zip(LETTERS, order, strict=True))
    return Problem(
        key=f"gpqa:{name}",
        prompt=question(f"{asked}\n\n{shown}"),
        answer=LETTERS[order.index(0)],
        source=row.get("High-level domain") or "gpqa",
    )
