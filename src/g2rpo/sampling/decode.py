"""Token by token, with the rows that are not finished: cost grows with the tokens sampled, not with rows times the longest of
them."""

from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch

from g2rpo.sampling.draw import Draw
from g2rpo.sampling.library import LibraryForward
from g2rpo.sampling.prefill import prefill
from g2rpo.sampling.prepared import PreparedForward


def decode(
    forward: LibraryForward | PreparedForward,
    prompts: Sequence[Sequence[int]],
    budgets: Sequence[int],
    eos_ids: Collection[int],
    shape: Any,
    draw: Draw,
    finished: Callable[[int, list[int]], None] | None = None,
) -> tuple[list[list[int]], list[list[float]]]:
    """Ids per row, its EOS included, and the log-probabilities where `draw` tells them (else empty).

    Args:
        forward: The model's forward pass, the library's or ours.
        prompts, budgets: At least one token each.
        eos_ids: Ids that end a row.
        shape: Logits processors that look at the logits alone (temperature, top-k, ...).
        draw: How a token is chosen.
        finished: Called with a row and its ids as soon as it has come to its end.
    """
    device, eos = forward.device, frozenset(eos_ids)
    ids: list[list[int]] = [[] for _ in prompts]
    logprobs: list[list[float]] = [[] for _ in prompts]
    lengths = [len(p) - 1 for p in prompts]  # tokens in the cache
    cache = forward.cache(len(prompts), max(n + b for n, b in zip(lengths, budgets, strict=True)))
    cache.stand(torch.tensor(lengths, device=device), max(lengths))
    prefill(forward, [tuple(p[:-1]) for p in prompts], cache)

    rows = list(range(len(prompts)))  # whose row is in which place of the cache
    rows_N = torch.tensor(rows, device=device)
    tokens_N, position_N = torch.tensor([p[-1] for p in prompts], device=device), torch.tensor(lengths, device=device)
    step = 0
    while rows:
        cache.stand(position_N, step + max(lengths[row] for row in rows))
        logits_NV = forward.step(tokens_N, position_N, cache)
        tokens_N, logp_N = draw(shape(None, logits_NV.float()), rows_N)
        del logits_NV
        position_N, step = position_N + 1, step + 1
        if logp_N is not None:
            for row, value in zip(rows, logp_N.tolist(), strict=True):
                logprobs[row].append(value)
        kept = []
        for place, (row, token) in enumerate(zip(rows, tokens_N.tolist(), strict=True)):
            ids[row].append(token)
            if token not in eos and step < budgets[row]:
                kept.append(place)
            elif finished is not None:
                finished(row, ids[row])
        if len(kept) < len(rows):
            order = cache.keep(kept)
            rows = [rows[place] for place in order]
            order_N = torch.tensor(order, dtype=torch.long, device=device)
            tokens_N, position_N, rows_N = tokens_N[order_N], position_N[order_N], rows_N[order_N]
    return ids, logprobs
