"""Token by token, with the rows that are not finished: cost grows with the tokens sampled, not with rows times the longest of them."""

from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from transformers import PretrainedConfig, PreTrainedModel

from g2rpo.sampling.cache import RowCache
from g2rpo.sampling.draw import Draw
from g2rpo.sampling.prefill import prefill


def decode(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    budgets: Sequence[int],
    eos_ids: Collection[int],
    shape: Any,
    draw: Draw,
    finished: Callable[[int, list[int]], None] | None = None,
) -> tuple[list[list[int]], list[list[float]]]:
    """Ids per row, its EOS included, and the log-probabilities where `draw` tells them (else empty).

    Args:
        model: One that `sample.why_not` has nothing against.
        prompts, budgets: At least one token each.
        eos_ids: Ids that end a row.
        shape: Logits processors that look at the logits alone (temperature, top-k, ...).
        draw: How a token is chosen.
        finished: Called with a row and its ids as soon as it has come to its end.
    """
    device, eos = model.device, frozenset(eos_ids)
    ids: list[list[int]] = [[] for _ in prompts]
    logprobs: list[list[float]] = [[] for _ in prompts]
    lengths = [len(p) - 1 for p in prompts]  # tokens in the cache
    cache = RowCache(
        model.config.num_hidden_layers, len(prompts), max(n + b for n, b in zip(lengths, budgets, strict=True)), device
    )
    columns = torch.arange(cache.frame.most, device=device)
    cache.stand(torch.tensor(lengths, device=device), max(lengths))
    prefill(model, [tuple(p[:-1]) for p in prompts], cache)

    rows = list(range(len(prompts)))  # whose row is in which place of the cache
    rows_N = torch.tensor(rows, device=device)
    tokens_N, position_N = torch.tensor([p[-1] for p in prompts], device=device), torch.tensor(lengths, device=device)
    step = 0
    while rows:
        cache.stand(position_N, step + max(lengths[row] for row in rows))
        logits_N1V = model(
            input_ids=tokens_N[:, None], position_ids=position_N[:, None], past_key_values=cache, use_cache=True,
            attention_mask=_mask(model.config, columns[: cache.frame.width], position_N, model.dtype),
        ).logits  # fmt: skip
        tokens_N, logp_N = draw(shape(None, logits_N1V[:, -1].float()), rows_N)
        del logits_N1V
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


def _mask(config: PretrainedConfig, columns_W: torch.Tensor, position_N: torch.Tensor, dtype: torch.dtype) -> Any:
    """What each row may look at, (rows, 1, 1, width), added to its attention scores; by kind of layer where kinds differ.

    Additive, because the attention kernels would otherwise turn it into that in every layer.
    """

    def additive(allowed_NW: torch.Tensor) -> torch.Tensor:
        return torch.where(allowed_NW, 0.0, torch.finfo(dtype).min).to(dtype)[:, None, None]

    seen_NW = columns_W <= position_N[:, None]
    window = sliding_window(config)
    if window is None or len(columns_W) <= window:
        return additive(seen_NW)
    near = additive(seen_NW & (columns_W > position_N[:, None] - window))
    kinds = getattr(config, "layer_types", None)
    return near if kinds is None else {"full_attention": additive(seen_NW), "sliding_attention": near}


def sliding_window(config: PretrainedConfig) -> int | None:
    """Tokens that some layers look back at most; None where all see everything."""
    if (getattr(config, "layer_types", None) or [None])[0] == "full_attention" and len(set(config.layer_types)) == 1:
        return None
    return getattr(config, "sliding_window", None)
