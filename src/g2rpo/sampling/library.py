"""The library's own forward pass, for every model that the loop can decode."""

from typing import Any

import torch
from transformers import DynamicCache, PretrainedConfig, PreTrainedModel

from g2rpo.sampling.cache import RowCache
from g2rpo.sampling.prepared import KeysAndValues, Write


class LibraryForward:
    """Steps and prefills of one generation batch.

    Args:
        model: One that `sample.why_not` has nothing against.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.model, self.device = model, model.device

    def cache(self, rows: int, most: int) -> RowCache:
        return RowCache(self.model.config.num_hidden_layers, rows, most, self.device)

    def step(self, tokens_N: torch.Tensor, position_N: torch.Tensor, cache: RowCache) -> torch.Tensor:
        """Logits (N, V) behind one more token per row, whose keys and values go into the cache."""
        columns_W = torch.arange(cache.frame.width, device=self.device)
        return self.model(
            input_ids=tokens_N[:, None],
            position_ids=position_N[:, None],
            past_key_values=cache,
            use_cache=True,
            attention_mask=_mask(self.model.config, columns_W, position_N, self.model.dtype),
        ).logits[:, -1]

    def prefill(self, ids_BT: torch.Tensor, start: KeysAndValues, write: Write) -> None:
        """Hands `write` the keys and values of each layer, (B, heads, columns, head size).

        Args:
            start: Per layer, keys and values of what all rows begin with, (1, heads, columns, head size); they are handed on,
            too.
            write: Called with the number of a layer, its keys and its values.
        """
        past = DynamicCache()
        for index, states in enumerate(start):
            past.update(*(x.expand(len(ids_BT), -1, -1, -1) for x in states), index)
        self.model(input_ids=ids_BT, past_key_values=past, use_cache=True, logits_to_keep=1)
        for index, layer in enumerate(past.layers):
            write(index, layer.keys, layer.values)
            layer.keys = layer.values = None  # one layer at a time is held twice


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
