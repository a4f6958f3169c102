"""Keys and values of rows of different length, side by side: row n's token t is in column t, wherever the other rows stand.

Nothing is padded on the left, so a row's place never moves while others come to an end, the width of a step is the longest row
that is still being written, and a finished row is replaced by copying one other row over it. `DynamicCache`, by contrast, holds
one length for all rows and copies the whole of it at every step.

`RowCache` is for the library's forward pass, `HeadCache` for ours; they differ in how a layer lays out its memory.
"""

from collections.abc import Sequence
from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicLayer

GROWTH = 64
"""Columns by which a full cache grows at least; a quarter of its width, if that is more."""


class _Frame:
    """What all layers share: how many rows there are, how many columns have room, and where each row writes next."""

    def __init__(self, rows: int, most: int) -> None:
        self.rows, self.most = rows, most
        self.width = self.capacity = 0
        self.row_N: torch.Tensor
        self.position_N: torch.Tensor


class _Places:
    """Which row is where: the part of a cache that no layer knows.

    Args:
        layers: Layers of the model.
        rows: Rows to begin with.
        most: Columns that no row will exceed.
    """

    frame: _Frame
    device: torch.device
    layers: list[Any]

    def stand(self, position_N: torch.Tensor, longest: int) -> None:
        """The next tokens go to `position_N`, the largest of which is `longest`."""
        frame = self.frame
        frame.width = longest + 1
        if frame.width > frame.capacity:
            frame.capacity = min(frame.most, frame.width + max(GROWTH, frame.width // 4))
        frame.row_N, frame.position_N = torch.arange(frame.rows, device=self.device), position_N

    def keep(self, kept: Sequence[int]) -> list[int]:
        """Drops all rows but `kept` (ascending). Gives the old row in each new place: as few as possible have moved."""
        count, device = len(kept), self.device
        order = list(range(count))
        holes = sorted(set(order) - set(kept))
        movers = kept[len(kept) - len(holes) :]
        for hole, mover in zip(holes, movers, strict=True):
            order[hole] = mover
        if holes:
            sources, targets = torch.tensor(movers, device=device), torch.tensor(holes, device=device)
            for layer in self.layers:
                layer.move(sources, targets)
        self.frame.rows = count
        return order


class _RowLayer(DynamicLayer):
    """keys, values: (rows, columns, heads, head size); columns behind a row's position hold anything finite.

    Heads stand inside columns, so that what one row writes in one step is one piece of memory. Under autocast they are held, from
    the first step on, as attention will read them and not as wide as the model's own arithmetic leaves them.
    """

    def __init__(self, frame: _Frame) -> None:
        super().__init__()
        self.frame = frame

    def _make_room(self, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Columns up to the capacity, for the rows that are left."""
        frame = self.frame
        kind = keys.device.type
        autocast = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
        for name, like in (("keys", keys), ("values", values)):
            store, dtype = getattr(self, name), autocast or like.dtype
            if store is None or store.shape[1] < frame.capacity or store.dtype != dtype:
                bigger = like.new_zeros(frame.rows, frame.capacity, like.shape[1], like.shape[3], dtype=dtype)
                if store is not None:
                    bigger[:, : store.shape[1]] = store[: frame.rows]
                setattr(self, name, bigger)
        self.is_initialized = True

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *args, **kwargs) -> tuple[torch.Tensor, torch.Tensor]:
        """Writes one token per row at that row's position; gives all rows up to the longest, as (rows, heads, width, head
        size)."""
        self._make_room(key_states, value_states)
        rows, width = self.frame.rows, self.frame.width
        for store, states in ((self.keys, key_states), (self.values, value_states)):
            store[self.frame.row_N, self.frame.position_N] = states[:, :, 0].to(store.dtype)
        return self.keys[:rows, :width].transpose(1, 2), self.values[:rows, :width].transpose(1, 2)

    def fill(self, rows_M: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> None:
        """The first columns of some rows, from a prefill: (those rows, heads, columns, head size)."""
        self._make_room(keys, values)
        for store, states in ((self.keys, keys), (self.values, values)):
            store[rows_M, : states.shape[2]] = states.transpose(1, 2).to(store.dtype)

    def move(self, sources_M: torch.Tensor, targets_M: torch.Tensor) -> None:
        width = self.frame.width
        for store in (self.keys, self.values):
            store[targets_M, :width] = store[sources_M, :width]

    def get_seq_length(self) -> int:
        return max(0, self.frame.width - 1)


class RowCache(_Places, Cache):
    """A cache for decoding one token per row and step, every row at a position of its own, through the library's forward pass."""

    def __init__(self, layers: int, rows: int, most: int, device: torch.device) -> None:
        self.frame, self.device = _Frame(rows, most), device
        Cache.__init__(self, layers=[_RowLayer(self.frame) for _ in range(layers)])


class _HeadLayer:
    """keys, values: (rows, heads, columns, head size); keys in float32, values in the type of the products.

    So what a product reads stands in one piece. Keys are held wide, because the product of narrow ones would round the scores,
    which fused attention does not: what the sampler says would be further from what the trainer says.
    """

    def __init__(self, frame: _Frame) -> None:
        self.frame = frame
        self.keys: torch.Tensor | None = None
        self.values: torch.Tensor | None = None

    def _make_room(self, values: torch.Tensor) -> None:
        """Columns up to the capacity, for the rows that are left, heads and sizes as in `values` (any, heads, any, size)."""
        frame = self.frame
        if self.keys is not None and self.keys.shape[2] >= frame.capacity:
            return
        for name, dtype in (("keys", torch.float32), ("values", values.dtype)):
            store = getattr(self, name)
            bigger = values.new_zeros(frame.rows, values.shape[1], frame.capacity, values.shape[3], dtype=dtype)
            if store is not None:
                bigger[:, :, : store.shape[2]] = store[: frame.rows]
            setattr(self, name, bigger)

    def append(self, keys_NHD: torch.Tensor, values_NHD: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Writes one token per row at that row's position; gives keys and values up to the longest row, (rows x heads, width,
        size)."""
        self._make_room(values_NHD[:, :, None])
        frame = self.frame
        for store, states in ((self.keys, keys_NHD), (self.values, values_NHD)):
            store.transpose(1, 2).index_put_((frame.row_N, frame.position_N), states.to(store.dtype))
        keys, values = (x[: frame.rows].flatten(0, 1)[:, : frame.width] for x in (self.keys, self.values))
        return keys, values

    def fill(self, rows_M: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> None:
        """The first columns of some rows, from a prefill: (those rows, heads, columns, head size)."""
        self._make_room(values)
        for store, states in ((self.keys, keys), (self.values, values)):
            store[rows_M, :, : states.shape[2]] = states.to(store.dtype)

    def move(self, sources_M: torch.Tensor, targets_M: torch.Tensor) -> None:
        width = self.frame.width
        for store in (self.keys, self.values):
            store[targets_M, :, :width] = store[sources_M, :, :width]


class HeadCache(_Places):
    """A cache for decoding one token per row and step, every row at a position of its own, through `PreparedForward`."""

    def __init__(self, layers: int, rows: int, most: int, device: torch.device) -> None:
        self.frame, self.device = _Frame(rows, most), device
        self.layers = [_HeadLayer(self.frame) for _ in range(layers)]
