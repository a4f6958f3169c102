"""Sampling with transformers where each row has its own budget and, if wanted, its own randomness.

Guided rows have less room left than unguided ones: guidance counts in the completion budget. And a rollout's randomness should
depend on what it is (run seed, step, problem, member), not on who shares its batch: then one process and eight draw the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    MinPLogitsWarper,
    PreTrainedModel,
    StoppingCriteria,
    StoppingCriteriaList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from g2rpo.errors import ConfigError


@dataclass(frozen=True)
class Sampled:
    """Sampled ids of one row, the EOS included, and, when seeded, the log-probability each was drawn with."""

    ids: list[int]
    logprobs: list[float] | None


class _RowBudget(StoppingCriteria):
    """Ends row i after `budgets[i]` new tokens."""

    def __init__(self, start: int, budgets: Sequence[int], device: torch.device) -> None:
        self.ends_B = start + torch.tensor(budgets, device=device)

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor, **kwargs) -> torch.BoolTensor:
        return input_ids.shape[1] >= self.ends_B


class _InverseCDF(LogitsProcessor):
    """Draws each row's token with that row's own uniform number and leaves only it for greedy decoding to pick.

    token = min { v : F(v) > u },  F the cumulative distribution over the vocabulary. The distribution is exactly the one that
    multinomial sampling draws from; only the source of randomness differs.
    """

    def __init__(self, start: int, seeds: Sequence[int], longest: int) -> None:
        self.start = start
        streams = [np.random.Generator(np.random.Philox(key=seed)).random(longest) for seed in seeds]
        self.uniform_BT = torch.from_numpy(np.stack(streams))
        self.logprobs_T: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        u_B1 = self.uniform_BT[:, input_ids.shape[1] - self.start].to(scores.device).unsqueeze(1)
        logprobs_BV = torch.log_softmax(scores.float(), dim=-1)
        cdf_BV = logprobs_BV.double().exp().cumsum(dim=-1)
        # Scaled by the last value: rounding must not leave a gap above it. A zero-probability token is never the first above.
        token_B1 = torch.searchsorted(cdf_BV, u_B1 * cdf_BV[:, -1:], right=True).clamp(max=scores.shape[-1] - 1)
        self.logprobs_T.append(logprobs_BV.gather(1, token_B1).squeeze(1))
        return torch.full_like(scores, -torch.inf).scatter_(1, token_B1, 0.0)


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
            raise ConfigError(f"generation_kwargs[{name!r}]", value, expected="temperature, top_k, top_p and min_p only with seeded sampling",
                              then="Drop it, or set guidance_seeded_sampling to false.")  # fmt: skip
    return known


@torch.no_grad()
def sample_rows(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    budgets: Sequence[int],
    config: GenerationConfig,
    *,
    eos_ids: Sequence[int],
    pad_id: int,
    seeds: Sequence[int] | None = None,
) -> list[Sampled]:
    """Continues each row of ids by at most its budget of new tokens.

    Args:
        model: A causal language model, unwrapped.
        prompts: Token ids per row; padded on the left here and nowhere inside.
        budgets: New tokens per row, each at least 1.
        config: Sampling settings; `max_new_tokens` is replaced by the budgets.
        eos_ids: Ids that end a row.
        pad_id: Filler on the left and after a row's end; never part of a result.
        seeds: One per row: the row's own randomness. None draws from torch's generator, as `generate` does.
    """
    device = model.device
    longest = max(map(len, prompts))
    input_ids = torch.full((len(prompts), longest), pad_id, dtype=torch.long)
    mask = torch.zeros_like(input_ids)
    for row, ids in enumerate(prompts):
        input_ids[row, longest - len(ids) :] = torch.tensor(ids)
        mask[row, longest - len(ids) :] = 1
    # Every field that the model's own generation config could fill in is set: what is sampled is what the caller asked for.
    config = GenerationConfig.from_dict(
        {
            **config.to_dict(),
            "max_new_tokens": max(budgets),
            "eos_token_id": list(eos_ids),
            "pad_token_id": pad_id,
            "repetition_penalty": config.repetition_penalty or 1.0,
            "top_k": config.top_k or 0,
            "top_p": config.top_p if config.top_p is not None else 1.0,
        }
    )
    processors, draw = LogitsProcessorList(), None
    if seeds is not None:
        processors, draw = warpers(config), _InverseCDF(longest, seeds, max(budgets))
        processors.append(draw)
        # The distribution is shaped by our own list; greedy decoding then takes the token that was drawn.
        config.update(do_sample=False, temperature=None, top_k=None, top_p=None, min_p=None)
    config.disable_compile = True
    output = model.generate(
        input_ids=input_ids.to(device),
        attention_mask=mask.to(device),
        generation_config=config,
        logits_processor=processors,
        stopping_criteria=StoppingCriteriaList([_RowBudget(longest, budgets, device)]),
    )
    new_BT = output[:, longest:].cpu()
    ends_BT = torch.isin(new_BT, torch.tensor(list(eos_ids)))
    logprobs_BT = torch.stack(draw.logprobs_T, dim=1).cpu() if draw else None
    rows = []
    for row, budget in enumerate(budgets):
        hits = ends_BT[row].nonzero()
        length = min(budget, new_BT.shape[1], int(hits[0]) + 1 if len(hits) else budget)
        rows.append(Sampled(new_BT[row, :length].tolist(), logprobs_BT[row, :length].tolist() if draw else None))
    return rows
