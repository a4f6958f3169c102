"""A forward pass laid out for decoding, for models built like Llama, Mistral, Qwen2 and Qwen3.

The arithmetic is the library's, in the same types and with the same roundings; what differs is the order of sums inside products
and in attention. Its weights are copies, made for one batch and dropped after it, so they are never older than the model's.
Against the library's own pass it saves the casts of all weights in each step (autocast), the reordering of each weight in each
product, three products of seven per layer, most of the calls, and in attention the expanded or copied keys.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn import functional
from transformers import PreTrainedModel

from g2rpo.sampling.cache import HeadCache
from g2rpo.sampling.packed import PackedLinear

FAMILIES = ("llama", "mistral", "qwen2", "qwen3")
"""Kinds of model (`config.model_type`) whose layers are: norm, rotated grouped-query attention, norm, gated MLP."""
KeysAndValues = list[tuple[torch.Tensor, torch.Tensor]]
Write = Callable[[int, torch.Tensor, torch.Tensor], None]
Attend = Callable[[int, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""(layer, queries, keys, values) -> what was attended to; all (..., heads, head size)."""


@dataclass(frozen=True)
class _Norm:
    """Root mean square norm; the type of its input, times its weight."""

    weight: torch.Tensor
    eps: float

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        size = x.shape[-1:]
        if x.dtype == self.weight.dtype == torch.float32:
            if self.weight.dim() == 1:
                return functional.rms_norm(x, size, self.weight, self.eps)
            return functional.rms_norm(x, size, eps=self.eps) * self.weight
        return self.weight * functional.rms_norm(x.float(), size, eps=self.eps).to(x.dtype)


@dataclass(frozen=True)
class _Layer:
    before_attention: _Norm
    qkv: PackedLinear
    per_head: _Norm | None
    """Norm of each head of queries and keys, where the model has one."""
    out: PackedLinear
    before_mlp: _Norm
    gate_up: PackedLinear
    activation: Callable[[torch.Tensor], torch.Tensor]
    down: PackedLinear


class PreparedForward:
    """Steps and prefills of one generation batch.

    Args:
        model: One that `prepared_why_not` has nothing against.
        dtype: The type that products are computed in: the model's own, or autocast's.
    """

    def __init__(self, model: PreTrainedModel, dtype: torch.dtype) -> None:
        config, core = model.config, model.base_model
        self.device, self.dtype = model.device, dtype
        self.embed, self.rotary = model.get_input_embeddings(), core.rotary_emb
        attention = core.layers[0].self_attn
        self.size, self.scale = attention.head_dim, attention.scaling
        self.key_heads, self.groups = config.num_key_value_heads, attention.num_key_value_groups
        self.query_heads = self.key_heads * self.groups
        self.layers = [self._prepare(layer) for layer in core.layers]
        self.norm = _norm(core.norm)
        # A copy, so that the model's own head is left alone, with the same hooks.
        self.head = copy.copy(model.get_output_embeddings())
        self.head.forward = PackedLinear([self.head], dtype)

    def _prepare(self, layer: torch.nn.Module) -> _Layer:
        attention, mlp, dtype = layer.self_attn, layer.mlp, self.dtype
        per_head = None
        if hasattr(attention, "q_norm"):
            q, k = _norm(attention.q_norm), _norm(attention.k_norm)
            per_head = _Norm(torch.stack([q.weight] * self.query_heads + [k.weight] * self.key_heads), q.eps)
        return _Layer(
            _norm(layer.input_layernorm),
            PackedLinear([attention.q_proj, attention.k_proj, attention.v_proj], dtype),
            per_head,
            PackedLinear([attention.o_proj], dtype),
            _norm(layer.post_attention_layernorm),
            PackedLinear([mlp.gate_proj, mlp.up_proj], dtype),
            mlp.act_fn,
            PackedLinear([mlp.down_proj], dtype),
        )

    # ------------------------------------------------------------------ what decoding asks for

    def cache(self, rows: int, most: int) -> HeadCache:
        return HeadCache(len(self.layers), rows, most, self.device)

    def step(self, tokens_N: torch.Tensor, position_N: torch.Tensor, cache: HeadCache) -> torch.Tensor:
        """Logits (N, V) behind one more token per row, whose keys and values go into the cache."""
        return self.attend_to(tokens_N, position_N, cache, seen=int(position_N.min()) + 1)

    def attend_to(self, tokens_N: torch.Tensor, position_N: torch.Tensor, cache: HeadCache, seen: int) -> torch.Tensor:
        """A step over the cache's width, of which every row sees at least the first `seen` columns."""
        rows, width = len(tokens_N), cache.frame.width
        unseen = torch.arange(seen, width, device=self.device) > position_N[:, None, None]
        unseen = torch.zeros(unseen.shape, device=self.device).masked_fill_(unseen, -torch.inf)

        def attend(layer: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
            keys, values = cache.layers[layer].append(k[:, 0], v[:, 0])
            scores = torch.bmm((q.float() * self.scale).view(-1, self.groups, self.size), keys.mT)
            if seen < width:
                scores.view(rows, -1, width)[..., seen:] += unseen
            return torch.bmm(scores.softmax(dim=-1).to(values.dtype), values).view(rows, 1, -1)

        hidden_N1H = self._forward(tokens_N[:, None], position_N[:, None], attend)
        return self.head(hidden_N1H)[:, -1]

    def prefill(self, ids_BT: torch.Tensor, start: KeysAndValues, write: Write) -> None:
        """As `LibraryForward.prefill`."""
        seen = start[0][0].shape[2] if start else 0
        positions_1T = torch.arange(seen, seen + ids_BT.shape[1], device=self.device)[None]
        mask = (
            torch.ones(ids_BT.shape[1], seen + ids_BT.shape[1], dtype=torch.bool, device=self.device).tril(seen) if seen else None
        )

        def attend(layer: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
            q, k, v = (x.transpose(1, 2) for x in (q, k, v))
            if start:
                k, v = (torch.cat([a.expand(len(b), -1, -1, -1), b], dim=2) for a, b in zip(start[layer], (k, v), strict=True))
            write(layer, k, v)
            attended = functional.scaled_dot_product_attention(
                q, k, v, mask, is_causal=mask is None, scale=self.scale, enable_gqa=self.groups > 1
            )
            return attended.transpose(1, 2).flatten(2)

        self._forward(ids_BT, positions_1T, attend)

    # ------------------------------------------------------------------ the pass

    def _forward(self, ids_BT: torch.Tensor, positions: torch.Tensor, attend: Attend) -> torch.Tensor:
        x = self.embed(ids_BT)
        cos, sin = (t[:, :, None] for t in self.rotary(x, positions))
        half = self.size // 2
        sin = torch.cat([-sin[..., :half], sin[..., half:]], dim=-1)  # halves are swapped, the first with its sign turned
        heads = self.query_heads + self.key_heads
        for index, layer in enumerate(self.layers):
            qkv = layer.qkv(layer.before_attention(x).to(self.dtype)).unflatten(-1, (-1, self.size))
            qk, v = qkv[..., :heads, :], qkv[..., heads:, :]
            if layer.per_head is not None:
                qk = layer.per_head(qk)
            qk = (qk * cos + qk.unflatten(-1, (2, half)).flip(-2).flatten(-2) * sin).to(self.dtype)
            x = x + layer.out(attend(index, qk[..., : self.query_heads, :], qk[..., self.query_heads :, :], v))
            gate, up = layer.gate_up(layer.before_mlp(x).to(self.dtype)).chunk(2, dim=-1)
            x = x + layer.down(layer.activation(gate) * up)
        return self.norm(x).to(self.dtype)


def _norm(module: torch.nn.Module) -> _Norm:
    return _Norm(module.weight.detach(), module.variance_epsilon)
