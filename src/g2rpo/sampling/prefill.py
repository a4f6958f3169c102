"""Prompts into a cache, with no token computed twice that need not be.

Keys and values depend on what stands before a token and on nothing behind it. Hence three savings, all exact:

- Equal prompts are computed once, and so is a prompt that is the beginning of another: the whole of a guided group, whose members
are
  one prompt with beginnings of one trace behind it, costs its longest member.
- What all that is left has in common (a system prompt, worked examples) is computed once, where that saves more than it costs.
- The rest is padded on the *right*, where causal attention never looks, in batches of similar length.

The last token of each prompt is left to the first decoding step, which all rows take together: its logits are the first that
count.
"""

from collections.abc import Iterator, Sequence

import torch

from g2rpo.sampling.cache import HeadCache, RowCache
from g2rpo.sampling.library import LibraryForward
from g2rpo.sampling.prepared import KeysAndValues, PreparedForward

Ids = tuple[int, ...]

FORWARD_TOKENS = {"cpu": 64}
"""What one more forward pass costs, in tokens of a large one: padding or repetition below that is cheaper than avoiding it."""
FORWARD_TOKENS_ELSEWHERE = 1024
BATCH_TOKENS = 16_384
"""Tokens, padding included, of one forward pass; bounds its memory."""


def carriers(contexts: Sequence[Ids]) -> dict[Ids, Ids]:
    """For each distinct context the longest of those that begin with it, itself where there is no other.

    In lexicographic order whatever begins with x stands in one block right behind x, so looking at the next one is enough.
    """
    carrier: dict[Ids, Ids] = {}
    behind: Ids = ()
    for ids in sorted(set(contexts), reverse=True):
        carrier[ids] = carrier[behind] if behind[: len(ids)] == ids and behind else ids
        behind = ids
    return carrier


def common_prefix(sequences: Sequence[Ids]) -> int:
    """Length of what all of them begin with."""
    first, last = min(sequences), max(sequences)
    return next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))


def batches(lengths: Sequence[int], forward_tokens: int) -> Iterator[list[int]]:
    """Indices in batches of similar length, the longest first; a batch ends where its padding outweighs a forward pass."""
    batch: list[int] = []
    padding = 0
    for i in sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True):
        longest = lengths[batch[0]] if batch else lengths[i]
        padding += longest - lengths[i]
        if batch and (padding > forward_tokens or (len(batch) + 1) * longest > BATCH_TOKENS):
            yield batch
            batch, padding = [], 0
        batch.append(i)
    if batch:
        yield batch


def prefill(forward: LibraryForward | PreparedForward, contexts: Sequence[Ids], cache: RowCache | HeadCache) -> None:
    """Writes row n's context into row n of the cache; contexts may be empty."""
    device = forward.device
    forward_tokens = FORWARD_TOKENS.get(device.type, FORWARD_TOKENS_ELSEWHERE)
    carrier = carriers(contexts)
    computed = sorted({c for c in carrier.values() if c})
    if not computed:
        return
    shared = common_prefix(computed)
    # At least one token is left to each; reading a cache makes the others' attention dearer, so the margin is two passes.
    shared = min(shared, min(map(len, computed)) - 1)
    start: KeysAndValues = []
    if shared * (len(computed) - 1) > 2 * forward_tokens:
        forward.prefill(torch.tensor([computed[0][:shared]], device=device), [], lambda layer, k, v: start.append((k, v)))
    else:
        shared = 0
    for batch in batches([len(c) - shared for c in computed], forward_tokens):
        longest = max(len(computed[i]) for i in batch)
        ids = torch.tensor([[*computed[i][shared:], *[0] * (longest - len(computed[i]))] for i in batch], device=device)
        place = {computed[i]: n for n, i in enumerate(batch)}
        pairs = [(row, place[carrier[c]]) for row, c in enumerate(contexts) if carrier[c] in place]
        rows_M, places_M = (torch.tensor(x, device=device) for x in zip(*pairs, strict=True))

        def write(layer: int, keys: torch.Tensor, values: torch.Tensor, rows_M=rows_M, places_M=places_M) -> None:
            cache.layers[layer].fill(rows_M, keys[places_M], values[places_M])

        forward.prefill(ids, start, write)
