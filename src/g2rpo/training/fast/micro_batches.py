"""Rows of an accumulation window into micro-batches: which of them, in which order, in how many parts."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from g2rpo.training.fast.compact_rows import sharing_pays


@dataclass(frozen=True)
class Shares:
    """What one micro-batch, or piece of one, is of its window, times the number of micro-batches: 1 when all of these are
    alike."""

    rows: float
    """Rows kept here, of all rows."""
    tokens: float
    """Trained tokens here, of those of all rows."""
    kept_tokens: float
    """Trained tokens here, of those of rows kept."""


def trained_positions(batch: dict[str, Any]) -> torch.Tensor:
    """(rows, completion positions), 1 where a token is trained."""
    return batch["completion_mask"] * batch.get("tool_mask", 1)


def has_advantage(advantages: torch.Tensor) -> torch.Tensor:
    """Rows with any advantage; (B,) or, per token, (B, T)."""
    return advantages.view(len(advantages), -1).ne(0).any(1)


def merge(batches: list[dict[str, Any]]) -> dict[str, Any]:
    """One batch of all rows; scalars are the same in each."""
    return {
        name: torch.cat([b[name] for b in batches]) if isinstance(value, torch.Tensor) and value.dim() else value
        for name, value in batches[0].items()
    }


def deal(window: dict[str, Any], live_B: torch.Tensor, count: int, parts: int, share: bool = False) -> list[dict[str, Any]]:
    """`count` rows of a window in `parts` micro-batches, as `arrange` orders them.

    The longest come first: what memory they leave is room for all that follow, and if there is too little of it, that shows at
    once.
    """
    kept, _ = arrange(window, live_B, count, parts, share)
    return [
        {name: value[rows] if isinstance(value, torch.Tensor) and value.dim() else value for name, value in window.items()}
        for rows in reversed(kept.tensor_split(parts))
    ]


def arrange(
    window: dict[str, Any], live_B: torch.Tensor, count: int, parts: int, share: bool = False, whole: bool = False
) -> tuple[torch.Tensor, int]:
    """Rows by length: all live ones, and the shortest of the others to make up `count`; and the tokens that they take in `parts`.

    With `share`, rows of one prompt stay together where that leaves fewer tokens to compute; `whole` as in `sharing_pays`.
    """
    prompts_B = window["prompt_mask"].sum(1)
    lengths_B = prompts_B + window["completion_mask"].sum(1)
    by_length = lengths_B.argsort(stable=True)
    kept = by_length[(~live_B[by_length]).to(torch.int8).argsort(stable=True)][:count]
    kept = kept[lengths_B[kept].argsort(stable=True)]
    if not share:
        return kept, sum(len(rows) * int(lengths_B[rows].amax()) for rows in kept.tensor_split(parts))
    _, group_B = window["prompt_ids"].unique(dim=0, return_inverse=True)
    longest_B = lengths_B.new_zeros(len(group_B)).scatter_reduce(0, group_B[kept], lengths_B[kept], "amax")[group_B]
    together = kept[group_B[kept].argsort(stable=True)]
    together = together[longest_B[together].argsort(stable=True)]
    cost = partial(_tokens, parts=parts, lengths_B=lengths_B, prompts_B=prompts_B, group_B=group_B, whole=whole)
    tokens, kept = min(((cost(order), order) for order in (kept, together)), key=lambda found: found[0])
    return kept, tokens


def _tokens(
    order: torch.Tensor, parts: int, lengths_B: torch.Tensor, prompts_B: torch.Tensor, group_B: torch.Tensor, whole: bool
) -> int:
    """Tokens that go through the model, padding included, when rows are dealt in this order and prompts shared where it pays."""
    total = 0
    for rows in order.tensor_split(parts):
        plain = len(rows) * int(lengths_B[rows].amax())
        shared = len(group_B[rows].unique()) * int(prompts_B[rows].amax()) + len(rows) * int((lengths_B - prompts_B)[rows].amax())
        total += shared if sharing_pays(shared, plain, order.device, whole) else plain
    return total
