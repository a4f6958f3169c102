"""What the loss does with tokens that were given, not sampled.

    mask:             guidance tokens carry no loss, no KL, and do not count in any length
    policy_gradient:  they are trained like sampled tokens, with the row's own advantage (the paper's objective)

    J = 1/G sum_i 1/(|g_i| + |o_i|) [ sum_{t in g_i} L(rho_it, A_i) + sum_{t in o_i} L(rho_it, A_i) ] - beta KL

With `policy_gradient` a guided rollout that fails pushes *down* tokens of a correct solution: the released code does so; the
one reproduction masks.
"""

from typing import Literal, get_args

GuidanceLoss = Literal["mask", "policy_gradient"]
GUIDANCE_LOSSES: tuple[str, ...] = get_args(GuidanceLoss)


def loss_mask(guidance_tokens: int, sampled_tokens: int, guidance_loss: GuidanceLoss) -> list[int]:
    """1 for each completion token in the loss, 0 for the others, in completion order (guidance first)."""
    return [int(guidance_loss == "policy_gradient")] * guidance_tokens + [1] * sampled_tokens
