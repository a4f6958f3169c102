"""Rows through `model.generate`: for whatever the fast loop does not follow. Same arguments, same distribution, more work."""

from collections.abc import Sequence

import torch
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
    StoppingCriteria,
    StoppingCriteriaList,
)

from g2rpo.sampling.draw import InverseCDF, warpers


class _RowBudget(StoppingCriteria):
    """Ends row i after `budgets[i]` new tokens."""

    def __init__(self, start: int, budgets: Sequence[int], device: torch.device) -> None:
        self.ends_B = start + torch.tensor(budgets, device=device)

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor, **kwargs) -> torch.BoolTensor:
        return input_ids.shape[1] >= self.ends_B


class _Drawn(LogitsProcessor):
    """Leaves only the token that was drawn, for greedy decoding to pick."""

    def __init__(self, draw: InverseCDF, rows: int, device: torch.device) -> None:
        self.draw, self.rows_B = draw, torch.arange(rows, device=device)
        self.logprobs_T: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        token_B, logp_B = self.draw(scores.float(), self.rows_B)
        self.logprobs_T.append(logp_B)
        return torch.full_like(scores, -torch.inf).scatter_(1, token_B[:, None], 0.0)


def generate(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    budgets: Sequence[int],
    config: GenerationConfig,
    seeds: Sequence[int] | None,
) -> tuple[list[list[int]], list[list[float]]]:
    """As `decode.decode`; `config` names the ends and the filler."""
    device = model.device
    longest = max(map(len, prompts))
    input_ids = torch.full((len(prompts), longest), config.pad_token_id, dtype=torch.long)
    mask = torch.zeros_like(input_ids)
    for row, ids in enumerate(prompts):
        input_ids[row, longest - len(ids) :] = torch.tensor(ids)
        mask[row, longest - len(ids) :] = 1
    config = GenerationConfig.from_dict({**config.to_dict(), "max_new_tokens": max(budgets), "disable_compile": True})
    processors, drawn = LogitsProcessorList(), None
    if seeds is not None:
        drawn = _Drawn(InverseCDF(seeds, max(budgets), device), len(prompts), device)
        processors = warpers(config)
        processors.append(drawn)
        # The distribution is shaped by our own list; greedy decoding then takes the token that was drawn.
        config.update(do_sample=False, temperature=None, top_k=None, top_p=None, min_p=None)
    output = model.generate(
        input_ids=input_ids.to(device),
        attention_mask=mask.to(device),
        generation_config=config,
        logits_processor=processors,
        stopping_criteria=StoppingCriteriaList([_RowBudget(longest, budgets, device)]),
    )
    new_BT = output[:, longest:].cpu()
    ends_BT = torch.isin(new_BT, torch.tensor(config.eos_token_id, dtype=torch.long))
    rows: list[list[int]] = []
    for row, budget in enumerate(budgets):
        hits = ends_BT[row].nonzero()
        length = min(budget, new_BT.shape[1], int(hits[0]) + 1 if len(hits) else budget)
        rows.append(new_BT[row, :length].tolist())
    logprobs: list[list[float]] = [[] for _ in rows]
    if drawn is not None:
        logp_BT = torch.stack(drawn.logprobs_T, dim=1).cpu()
        logprobs = [logp_BT[row, : len(ids)].tolist() for row, ids in enumerate(rows)]
    return rows, logprobs
