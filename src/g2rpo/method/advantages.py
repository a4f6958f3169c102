"""Group-relative advantages: what a rollout's reward is compared with.

    joint (paper, arXiv 2508.13023):   A_i = (R_i - mean_G R) / (std_G R + eps),  guided and unguided rollouts together
    stratified:                        the same within the guided and within the unguided rollouts of each group
    unguided_baseline:                 A_i = (R_i - mean of the group's unguided R) / (std_G R + eps)   (Prefix-RFT 2507.01679)
    leave_one_out:                     A_i = (R_i - mean_{j != i} R_j) / (std_G R + eps) = joint * n / (n - 1)   (RLOO 2402.14740)

In a joint group a guided success makes every unguided failure look worse, and guided successes beside unguided failures push
the unguided rows down only. Stratified rows are compared with rows of the same start. Against the unguided baseline, guided rows
are paid for what their start was worth, too, and unguided rows do not feel them. A group without a scored unguided row uses its
whole mean.

eps = 1e-4 as in TRL; std is the sample standard deviation (n - 1). A row that was not scored (NaN) gets advantage 0 and does
not count in its group's baseline. A stratum of one row has no baseline, so its advantage is 0.
"""

from typing import Literal, get_args

import torch

Grouping = Literal["joint", "stratified", "unguided_baseline", "leave_one_out"]
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
    stratum = guided_B.long() if grouping == "stratified" else torch.zeros_like(guided_B, dtype=torch.long)
    group = torch.arange(len(rewards_B), device=rewards_B.device) // group_size
    cell = 2 * group + stratum
    scored = ~torch.isnan(rewards_B)
    values = torch.where(scored, rewards_B, 0.0).double()
    cells = int(cell.max()) + 1 if len(cell) else 0

    def per_cell(values_B: torch.Tensor) -> torch.Tensor:
        return torch.zeros(cells, dtype=torch.double, device=values.device).index_add_(0, cell, values_B.double())

    count = per_cell(scored)
    mean = per_cell(values) / count.clamp(min=1)
    around_mean = torch.where(scored, values - mean[cell], 0.0)
    centred = around_mean
    if grouping == "leave_one_out":
        centred = around_mean * (count / (count - 1).clamp(min=1))[cell]
    elif grouping == "unguided_baseline":
        alone = scored & ~guided_B
        baseline = torch.where(per_cell(alone) > 0, per_cell(values * alone) / per_cell(alone).clamp(min=1), mean)
        centred = torch.where(scored, values - baseline[cell], 0.0)
    if scale == "group":
        variance = per_cell(around_mean**2) / (count - 1).clamp(min=1)
        spread = variance.sqrt()[cell]
    elif scale == "batch":
        spread = values[scored].std() if scored.sum() > 1 else torch.zeros((), dtype=torch.double, device=values.device)
    else:
        return centred.to(rewards_B.dtype)
    return (centred / (spread + EPS)).to(rewards_B.dtype)
