"""Rows without padding on the left, cut after the last position that is scored; what several have in common, once; or all in one
line."""

from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache

from g2rpo.errors import RunError

SHARE_SAVES = 0.4
SHARE_SAVES_TOKENS = {"cpu": 90}
"""Share of the tokens that a common prefix must save, or tokens, whichever is less: a prefix is one forward pass more, and
attention with a cache needs a mask, which is slower than plain causal."""


def sharing_pays(shared: int, plain: int, device: torch.device, whole: bool = False) -> bool:
    """Whether a micro-batch goes through the model as `shared` tokens, prefixes once, or as `plain` ones.

    `whole`: whether that is a reason not to split it, too. Then only the share counts: pieces take less memory.
    """
    enough = SHARE_SAVES * plain
    return plain - shared >= (enough if whole else min(enough, SHARE_SAVES_TOKENS.get(device.type, plain)))


@dataclass(frozen=True)
class Rows:
    """Rows that begin at position 0 and are padded on the right only: causal attention needs no mask to ignore that padding."""

    ids_BT: torch.Tensor
    labels_BT: torch.Tensor
    """The token's id where its log-probability is needed, else -100."""
    starts_B: torch.Tensor
    """Padding that stood on the left."""
    lengths_B: torch.Tensor

    def take(self, rows: torch.Tensor) -> "Rows":
        """Some of the rows, as wide as the longest of them."""
        width = int(self.lengths_B[rows].max())
        return Rows(self.ids_BT[rows, :width], self.labels_BT[rows, :width], self.starts_B[rows], self.lengths_B[rows])

    def spread(self, values: torch.Tensor, width: int) -> torch.Tensor:
        """Values of positions 1... (B, T - 1) at the places where their tokens stood (B, width); 0 where none was needed."""
        source = torch.arange(width, device=values.device) - self.starts_B[:, None] - 1
        inside = (source >= 0) & (source < values.shape[1])
        return values.gather(1, source.clamp(0, values.shape[1] - 1)).masked_fill(~inside, 0.0)


@dataclass(frozen=True)
class Prefix:
    """What comes before the first needed position of each row, each distinct one once."""

    ids_UP: torch.Tensor
    """Padded on the left with -1."""
    of_row_B: torch.Tensor
    rest: Rows
    """The rows from there on; their first token is scored by none and scores the next."""


def common_prefix(rows: Rows) -> Prefix | None:
    """The prefixes of rows, or None where computing each once would not save enough of the tokens."""
    width, device = rows.ids_BT.shape[1], rows.ids_BT.device
    labelled = rows.labels_BT != -100
    cuts_B = torch.where(labelled.any(1), labelled.to(torch.int8).argmax(1), rows.lengths_B - 1) - 1
    longest, rest = int(cuts_B.max()), int((rows.lengths_B - cuts_B).max())
    if int(cuts_B.min()) < 1:
        return None
    source = torch.arange(longest, device=device) - (longest - cuts_B[:, None])
    ids_BP = rows.ids_BT.gather(1, source.clamp(min=0)).masked_fill(source < 0, -1)
    ids_UP, of_row_B = ids_BP.unique(dim=0, return_inverse=True)
    if not sharing_pays(len(ids_UP) * longest + len(ids_BP) * rest, len(ids_BP) * width, device):
        return None
    source = cuts_B[:, None] + torch.arange(rest, device=device)
    labels = rows.labels_BT.gather(1, source.clamp(max=width - 1)).masked_fill(source >= width, -100)
    after = Rows(rows.ids_BT.gather(1, source.clamp(max=width - 1)), labels, rows.starts_B + cuts_B, rows.lengths_B - cuts_B)
    return Prefix(ids_UP, of_row_B, after)


def after_prefix(model: Any, prefix: Prefix) -> dict[str, Any]:
    """Inputs with which a model continues from prefixes: their keys and values, one copy per row, and what is padding in them."""
    model = model.get_base_model() if hasattr(model, "peft_config") else model
    cache, mask_UP = DynamicCache(config=model.config), prefix.ids_UP >= 0
    model.base_model(input_ids=prefix.ids_UP.clamp(min=0), attention_mask=mask_UP.long(), past_key_values=cache, use_cache=True)
    if cache.get_seq_length() != mask_UP.shape[1]:
        raise RunError(
            "the cache of a shared prefix",
            f"{cache.get_seq_length()} tokens",
            expected=f"{mask_UP.shape[1]}: this model keeps none in training",
            then="Set fast to false, and tell us the architecture.",
        )
    cache.batch_select_indices(prefix.of_row_B)
    mask_BP = mask_UP[prefix.of_row_B].long()
    mask_BR = mask_BP.new_ones(prefix.rest.ids_BT.shape)
    return {"past_key_values": cache, "attention_mask": torch.cat([mask_BP, mask_BR], 1)}


@dataclass(frozen=True)
class Packed:
    """Rows one behind the other without any padding: a batch of one, whose positions begin again with each row."""

    ids_1N: torch.Tensor
    labels_1N: torch.Tensor
    positions_1N: torch.Tensor
    ends_B: torch.Tensor
    """Where each row ends, exclusive."""
    lengths_B: torch.Tensor

    def bounds(self) -> dict[str, Any]:
        """What tells a model where rows begin: positions, and for FlashAttention what its layers would each work out of them
        again."""
        bounds, longest = torch.nn.functional.pad(self.ends_B, (1, 0)).to(torch.int32), int(self.lengths_B.max())
        return {
            "position_ids": self.positions_1N,
            "cu_seq_lens_q": bounds,
            "cu_seq_lens_k": bounds,
            "max_length_q": longest,
            "max_length_k": longest,
        }

    def unpack(self, values_1N: torch.Tensor) -> torch.Tensor:
        """Values of positions 1... of the line (1, N - 1) as values of positions 1... of each row (B, T - 1)."""
        places = torch.arange(int(self.lengths_B.max()) - 1, device=values_1N.device)
        source = (self.ends_B - self.lengths_B)[:, None] + places
        inside = places < self.lengths_B[:, None] - 1
        return values_1N[0, source.clamp(max=values_1N.shape[1] - 1)].masked_fill(~inside, 0.0)


def pack(rows: Rows) -> Packed:
    """Rows in one line, for attention that knows bounds between rows."""
    places = torch.arange(rows.ids_BT.shape[1], device=rows.ids_BT.device).expand_as(rows.ids_BT)
    inside = places < rows.lengths_B[:, None]
    labels = rows.labels_BT.masked_fill(places == 0, -100)  # the token before it is another row's
    line = (values[inside][None] for values in (rows.ids_BT, labels, places))
    return Packed(*line, rows.lengths_B.cumsum(0), rows.lengths_B)


def compact(input_ids: torch.Tensor, attention_mask: torch.Tensor, needed: torch.Tensor) -> Rows:
    """Rows without padding on the left, cut after the last position that is needed.

    Args:
        input_ids: (B, L), padded on the left and on the right.
        attention_mask: (B, L), ones in one piece.
        needed: (B, L), positions whose token is scored.
    """
    places = torch.arange(input_ids.shape[1], device=input_ids.device)
    starts_B = attention_mask.argmax(1)
    ends_B = torch.where(needed, places + 1, 0).amax(1)
    # Two at least: the fused head scores each token from the one before.
    lengths_B = (ends_B - starts_B).clamp(min=2)
    labels = torch.where(needed, input_ids, -100)
    source = (starts_B[:, None] + torch.arange(int(lengths_B.max()), device=input_ids.device)).clamp(max=input_ids.shape[1] - 1)
    inside = torch.arange(source.shape[1], device=input_ids.device) < lengths_B[:, None]
    return Rows(input_ids.gather(1, source), labels.gather(1, source).masked_fill(~inside, -100), starts_B, lengths_B)
