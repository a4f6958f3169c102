"""A recorded rollout as text, for whoever shows it: what was given, what was sampled, what was graded."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from g2rpo.errors import ConfigError
from g2rpo.method.rollout import GUIDANCE, PROMPT
from g2rpo.models import resolve_model
from g2rpo.training.run.run_directory import RunDirectory

Row = dict[str, Any]
"""A row of a rollout file."""
Decode = Callable[[Sequence[int]], str]


@dataclass(frozen=True)
class RolloutText:
    """The completion of one rollout."""

    given: str
    """Text of the guidance; empty for an unguided rollout."""
    sampled: str
    """Text that the model wrote, special tokens included."""
    graded: str | None
    """The text that the rewards saw, where more than the end of the turn is missing in it."""


def rollout_text(row: Row, decode: Decode | None) -> RolloutText:
    """The parts of a completion. Without `decode` they cannot be told apart, and all of the graded text counts as sampled."""
    if decode is None:
        return RolloutText("", row["completion"], None)
    ids = [i for i, origin in zip(row["token_ids"], row["token_origin"], strict=True) if origin != PROMPT]
    given = row["token_origin"].count(GUIDANCE)
    same = row["completion"].strip() in (decode(ids).strip(), decode(ids[:-1]).strip())
    return RolloutText(decode(ids[:given]) if given else "", decode(ids[given:]), None if same else row["completion"])


def headline(row: Row) -> tuple[str, str, str, str]:
    """Which rollout it is, what it started from, and what came of it."""
    return (
        f"rollout {row['rollout_index']}",
        f"guided, {row['guidance_tokens']} tokens ({row['fraction']:.0%})" if row["guided"] else "unguided",
        "not scored" if row["success"] is None else f"success {row['success']:g}",
        f"advantage {row['advantage']:+.2f}",
    )


def expected(row: Row) -> str:
    """The answer that was expected, where the problem has one."""
    return f"expected {row['answer']}" if row.get("answer") is not None else ""


def groups(rows: Sequence[Row], limit: int) -> list[list[Row]]:
    """The first `limit` groups of a generation batch: the rollouts of one problem each."""
    keys = list(dict.fromkeys(row["key"] for row in rows))[:limit]
    return [[row for row in rows if row["key"] == key] for key in keys]


def decoder(run: RunDirectory) -> Decode | None:
    """Decodes with the tokenizer saved in the run, or with its model's while there is none; None where that cannot be had either.

    Transformers is loaded only for a tokenizer without a `tokenizer.json`.
    """
    if (run.path / "tokenizer_config.json").is_file():
        place = str(run.path)
    else:
        try:
            place = resolve_model(json.loads((run.path / "resolved.json").read_text())["model"]["model_name_or_path"])
        except ConfigError:
            return None  # the model was moved since
    if (file := Path(place) / "tokenizer.json").is_file():
        from tokenizers import Tokenizer

        fast = Tokenizer.from_file(str(file))
        return lambda ids: fast.decode(ids, skip_special_tokens=False)

    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(place)
    except (OSError, ValueError):
        return None
    return lambda ids: tokenizer.decode(ids, skip_special_tokens=False)
