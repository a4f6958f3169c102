"""Group-relative advantages: what a rollout's reward is compared with.

    joint (paper, arXiv 2508.13023):   A_i = (R_i - mean_G R) / (std_G R + eps),  guided and unguided rollouts together
    stratified:                        the same within the guided and within the unguided rollouts of each group

In a joint group a guided success makes every unguided failure look worse, and guided successes beside unguided failures push
the unguided rows down only. Stratified rows are compared with rows of the same start.

eps = 1e-4 as in TRL; std is the sample standard deviation (n - 1). A row that was not scored (NaN) gets advantage 0 and does
not count in its group's baseline. A stratum of one row has no baseline, so its advantage is 0.
"""

from typing import Literal, get_args

import torch

Grouping = Literal["joint", "stratified"]
GROUPINGS: tuple[str, ...] = get_args(Grouping)
EPS = 1e-4


def group_advantages(
    rewards_B: torch.Tensor, guided_B: torch.Tensor, group_size: int, grouping: Grouping = "joint", scale: str = "group"
) -> torch.Tensor:
    """Advantages, shape (B,), of rewards in group order.

    Args:
        rewards_B: Weighted reward sums of all processes, shape (B,), groups contiguous, NaN where not scored.
        guided_B: Whether the rollout started from guidance, boolean, shape (B,).
        group_size: G; B is a multiple of it.
        grouping: Which rows share a baseline.
        scale: TRL's `scale_rewards`: `group` divides by the std of the rows that share a baseline, `batch` by the std of all
            rewards, `none` not at all.
    """
    stratum = torch.zeros_like(guided_B, dtype=torch.long) if grouping == "joint" else guided_B.long()
    group = torch.arange(len(rewards_B), device=rewards_B.device) // group_size
    cell = 2 * group + stratum
    scored = ~torch.isnan(rewards_B)
    values = torch.where(scored, rewards_B, 0.0).double()
    cells = int(cell.max()) + 1 if len(cell) else 0
    count = torch.zeros(cells, dtype=torch.double, device=values.device).index_add_(0, cell, scored.double())
    total = torch.zeros_like(count).index_add_(0, cell, values)
    mean = total / count.clamp(min=1)
    centred = torch.where(scored, values - mean[cell], 0.0)
    if scale == "group":
        variance = torch.zeros_like(count).index_add_(0, cell, centred**2) / (count - 1).clamp(min=1)
        spread = variance.sqrt()[cell]
    elif scale == "batch":
        spread = values[scored].std() if scored.sum() > 1 else torch.zeros((), dtype=torch.double, device=values.device)
    else:
        return centred.to(rewards_B.dtype)
    return (centred / (spread + EPS)).to(rewards_B.dtype)
