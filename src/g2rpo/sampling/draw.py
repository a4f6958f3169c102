"""One token per row from its logits: greedily, exactly as `generate` draws it, or from the row's own stream of randomness."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from transformers import (
    GenerationConfig,
    LogitsProcessorList,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from g2rpo.errors import ConfigError

CHUNK = 4096
"""Ids that the inverse-CDF draw sums up before it looks closer; only its speed and the size of its scratch memory depend on
it."""


def warpers(config: GenerationConfig) -> LogitsProcessorList:
    """Temperature, top-k, top-p, min-p in the order of transformers' own sampling."""
    known = LogitsProcessorList()
    if config.temperature not in (None, 1.0):
        known.append(TemperatureLogitsWarper(config.temperature))
    if config.top_k:
        known.append(TopKLogitsWarper(top_k=config.top_k))
    if config.top_p is not None and config.top_p < 1.0:
        known.append(TopPLogitsWarper(top_p=config.top_p))
    if config.min_p is not None:
        known.append(MinPLogitsWarper(min_p=config.min_p))
    for name, neutral in (("typical_p", 1.0), ("epsilon_cutoff", 0.0), ("eta_cutoff", 0.0), ("num_beams", 1)):
        value = getattr(config, name, None)
        if value not in (None, neutral):
            raise ConfigError(
                f"generation_kwargs[{name!r}]",
                value,
                expected="temperature, top_k, top_p and min_p only with seeded sampling",
                then="Drop it, or set guidance_seeded_sampling to false.",
            )
    return known


class Draw(Protocol):
    """Called once per decoding step with the rows that are not finished yet, in any order."""

    def __call__(self, scores_NV: torch.Tensor, rows_N: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Token ids (N) and, where they are known, the log-probabilities (N) they were drawn with; `rows_N` is who is asking."""


class Greedy:
    """The most likely token, the first among equals."""

    def __call__(self, scores_NV: torch.Tensor, rows_N: torch.Tensor) -> tuple[torch.Tensor, None]:
        return scores_NV.argmax(dim=-1), None


class Multinomial:
    """Draws what `generate` draws from torch's generator in the same state, though finished rows are not there any more.

    `torch.multinomial` of one sample is an exponential race: token = argmax_v p_v / E_v, with E_v ~ Exponential(1) for every row
    of the batch and every id. So the race is drawn for the whole batch, and the rows that are left run in it.
    """

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def __call__(self, scores_NV: torch.Tensor, rows_N: torch.Tensor) -> tuple[torch.Tensor, None]:
        race_BV = scores_NV.new_empty(self.rows, scores_NV.shape[1]).exponential_(1)
        return (torch.softmax(scores_NV, dim=-1) / race_BV[rows_N]).argmax(dim=-1), None


class InverseCDF:
    """Draws each row's token with that row's own uniform number.

    token = min { v : F(v) > u },  F the cumulative distribution over the vocabulary. The distribution is exactly the one that
    multinomial sampling draws from; only the source of randomness differs.

    Args:
        seeds: One per row.
        longest: Most tokens that any row draws.
    """

    def __init__(self, seeds: Sequence[int], longest: int, device: torch.device | str = "cpu") -> None:
        streams = [np.random.Generator(np.random.Philox(key=seed)).random(longest) for seed in seeds]
        self.uniform_TB1 = torch.from_numpy(np.stack(streams, axis=1)[..., None]).to(device)
        self.step = 0

    def __call__(self, scores_NV: torch.Tensor, rows_N: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        u_N1 = self.uniform_TB1[self.step, rows_N]
        self.step += 1
        p_NV = torch.softmax(scores_NV, dim=-1)
        ids_N1 = _invert(p_NV, u_N1)
        return ids_N1[:, 0], p_NV.gather(1, ids_N1)[:, 0].log_()


def _invert(p_NV: torch.Tensor, u_N1: torch.Tensor) -> torch.Tensor:
    """min { v : F(v) > u F(last) } in double precision, without a cumulative sum over the whole of a large vocabulary."""
    size = p_NV.shape[1]
    if size <= CHUNK:
        return _search(p_NV.cumsum(dim=-1, dtype=torch.double), u_N1)[0]
    cdf_NC = torch.stack([chunk.sum(dim=-1, dtype=torch.double) for chunk in p_NV.split(CHUNK, dim=-1)], dim=-1).cumsum(dim=-1)
    chunk_N1, target_N1 = _search(cdf_NC, u_N1)
    before_N1 = torch.where(chunk_N1 > 0, cdf_NC.gather(1, (chunk_N1 - 1).clamp(min=0)), 0.0)
    ids_NK = chunk_N1 * CHUNK + torch.arange(CHUNK, device=p_NV.device)
    inside_NK = p_NV.gather(1, ids_NK.clamp(max=size - 1)).double().masked_fill_(ids_NK >= size, 0.0).cumsum(dim=-1)
    return chunk_N1 * CHUNK + _first_above(inside_NK, target_N1 - before_N1)


def _search(cdf_NV: torch.Tensor, u_N1: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    # Scaled by the last value: rounding must not leave a gap above it.
    target_N1 = u_N1 * cdf_NV[:, -1:]
    return _first_above(cdf_NV, target_N1), target_N1


def _first_above(cdf_NV: torch.Tensor, target_N1: torch.Tensor) -> torch.Tensor:
    # Strictly below the last value, so that there is a first one above, and it is never one of probability zero.
    last_N1 = cdf_NV[:, -1:]
    return torch.searchsorted(cdf_NV, torch.minimum(target_N1, torch.nextafter(last_N1, torch.zeros_like(last_N1))), right=True)
