"""Dynamic sampling (DAPO, arXiv 2503.14476): groups whose rewards are all equal teach nothing and are generated anew, from other
problems.

Rounds of generation go on until every process has its number of groups with spread, or the rounds are used up; then groups
without spread of the first round fill the rest. Groups stay in the process that sampled them. Every sampled token counts in the
budget.
"""

from collections.abc import Sequence
from typing import Any

import torch

from g2rpo.seeds import rng
from g2rpo.training.step_batch import ScoredRound

SPREAD = 1e-6
"""Rewards within so much are equal: the std of equal floats is not always 0."""


class SamplesAgain:
    """Mixin in front of `GuidedGRPOTrainer`'s other bases: further rounds of generation, and the choice among their groups."""

    def more_rows(self, rounds: list[ScoredRound]) -> list[dict[str, Any]] | None:
        """Rows of this process for a further round; None where every process has all its groups, or the rounds are used up."""
        if len(rounds) >= self.args.dynamic_sampling_rounds or self._enough(rounds):
            return None
        rows = len(rounds[0].output["advantages"])
        indices = more_problems(
            rows,
            self.num_generations,
            self.accelerator.process_index,
            self.accelerator.num_processes,
            len(self.train_dataset),
            self.args.seed,
            self._generations,
            len(rounds),
        )
        return [self.train_dataset[i] for i in indices]

    def chosen(self, rounds: list[ScoredRound]) -> dict[str, Any]:
        """The batch to train on."""
        if len(rounds) == 1:
            return rounds[0].output
        chosen = choose([self._spread(r) for r in rounds])
        output = assemble([r.output for r in rounds], chosen, self.num_generations, self._tokenizer.pad_token_id)
        return {**output, "num_items_in_batch": self.tokens_in_loss(output)}

    def _spread(self, scored: ScoredRound) -> list[bool]:
        rewards = torch.tensor([torch.nan if o.reward is None else o.reward for o in scored.outcomes])
        return has_spread(self._of_this_process(rewards, len(scored.output["advantages"])), self.num_generations)

    def _enough(self, rounds: list[ScoredRound]) -> bool:
        """The same answer in every process."""
        wanted = len(rounds[0].output["advantages"]) // self.num_generations
        mine = sum(sum(self._spread(r)) for r in rounds) >= wanted
        return bool(self.accelerator.gather(torch.tensor([mine], device=self.accelerator.device)).all())


def has_spread(rewards_B: torch.Tensor, group_size: int) -> list[bool]:
    """Per group whether its scored rewards differ; groups contiguous, NaN where not scored."""
    groups = rewards_B.view(-1, group_size)
    low, high = groups.nan_to_num(nan=torch.inf).amin(1), groups.nan_to_num(nan=-torch.inf).amax(1)
    return (high - low > SPREAD).tolist()


def more_problems(rows: int, group_size: int, process: int, processes: int, size: int, *purpose: int | str) -> list[int]:
    """Data set indices of one process's rows in a further round: distinct problems where the set has so many, each `group_size`
    times."""
    wanted, draw = rows * processes // group_size, rng("more problems", *purpose)
    drawn = draw.sample(range(size), wanted) if wanted <= size else [draw.randrange(size) for _ in range(wanted)]
    mine = drawn[process * rows // group_size : (process + 1) * rows // group_size]
    return [index for index in mine for _ in range(group_size)]


def choose(spread: Sequence[Sequence[bool]]) -> list[tuple[int, int]]:
    """(round, group) of the groups to train on, as many as a round has: those with spread, in order, then the first round's
    others."""
    wanted = len(spread[0])
    good = [(r, g) for r, groups in enumerate(spread) for g, ok in enumerate(groups) if ok]
    rest = [(0, g) for g, ok in enumerate(spread[0]) if not ok]
    return (good + rest)[:wanted]


def assemble(
    outputs: Sequence[dict[str, Any]], chosen: Sequence[tuple[int, int]], group_size: int, pad_id: int
) -> dict[str, Any]:
    """One batch from the chosen groups of several: prompts padded on the left, everything else on the right.

    `num_items_in_batch`, which counts over all processes, is left as it is.
    """
    batch = {}
    for name, first in outputs[0].items():
        if not isinstance(first, torch.Tensor) or first.dim() == 0:
            batch[name] = first
            continue
        parts = [outputs[r][name][g * group_size : (g + 1) * group_size] for r, g in chosen]
        if first.dim() > 1:
            width = max(p.shape[1] for p in parts)
            filler = pad_id if name in ("prompt_ids", "completion_ids") else 0
            parts = [_padded(p, width, filler, left=name.startswith("prompt_")) for p in parts]
        batch[name] = torch.cat(parts)
    return batch


def _padded(part: torch.Tensor, width: int, filler: int, *, left: bool) -> torch.Tensor:
    missing = width - part.shape[1]
    return torch.nn.functional.pad(part, (missing, 0) if left else (0, missing), value=filler)
