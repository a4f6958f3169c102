"""What the loss does with tokens that were given, not sampled.

    mask:              they carry no loss, no KL, and do not count in any length
    policy_gradient:   trained like sampled tokens, with the row's own advantage (the paper's objective, arXiv 2508.13023)
    sft:               - c log p, whatever the reward           c = 0.001        (UFT, arXiv 2505.16984)
    verified_sft:      - c v A / PPL log p,  PPL = exp(- mean_{t in g} log sg(p_t))             c = 1            (ours)
                       v = the row's success in [0, 1] if A > 0, else 0; where v = 0 the guidance is masked
    luffy:             - A p / (p + c)                          c = 0.1          (policy shaping of LUFFY, arXiv 2504.14945)
    trust_region_sft:  - A p / max(sg(p), c)                    c = 0.1          (TRAPO, arXiv 2512.17636)
    top_entropy:       policy_gradient on the share c of a row's guidance tokens with the highest entropy, c = 0.2
                                                                                 (Prefix-RFT, arXiv 2507.01679)

p is the policy's probability of the given token, A the row's advantage, sg stops the gradient. Sampled tokens are trained as ever:

    J = 1/G sum_i 1/(|g_i| + |o_i|) [ sum_{t in g_i} L(rho_it, A_it) + sum_{t in o_i} L(rho_it, A_i) ] - beta KL

Each of these losses has the gradient of rho_t A_t with rho = pi / sg(pi), if a given token has an advantage of its own:

    A_t = A,    c,    c v A / PPL,    A c p / (p + c)^2,    A p / max(p, c),    A [H_t among the top]          (in the order above)

That is how they are computed, for it leaves the objective, its normalisation and its KL term the trainer's. Deviations: rho is clipped
from the second update on one batch onwards, where LUFFY does not clip; UFT adds c times a mean over the hint to the objective, here
guidance tokens share the normalisation of the sampled ones; TRAPO's paper speaks of a supervised loss on the prefix, the advantage as
its factor is what its code was read to do.

With `policy_gradient` a guided rollout that fails pushes *down* tokens of a correct solution: the released code does so; the
one reproduction masks. With `mask` a success that was given most of its solution teaches the last steps only.

`verified_sft` imitates a prefix as far as the model itself arrived from it (its success, where that is more than its group had), and as
far as the model could have written it: by one over its perplexity. In a notation of the model's own that is nearly 1, and one success
teaches the whole path; what the model reads and would never write (perplexity 100) it goes on reading. Wrong steps are rarely verified,
for few answers come out right behind them; nothing is pushed down.
"""

from typing import Literal, get_args

import torch

GuidanceLoss = Literal["mask", "policy_gradient", "sft", "verified_sft", "luffy", "trust_region_sft", "top_entropy"]
GUIDANCE_LOSSES: tuple[str, ...] = get_args(GuidanceLoss)
COEFFICIENTS: dict[str, float] = {"sft": 0.001, "verified_sft": 1.0, "luffy": 0.1, "trust_region_sft": 0.1, "top_entropy": 0.2}
"""The constant c of each loss that has one, as its paper sets it. These losses weigh each guidance token by itself."""
WEIGHTS = ("sft", "verified_sft")
"""Losses whose constant is a weight, which may be above 1."""


def verified(advantages_B: torch.Tensor, success_B: torch.Tensor) -> torch.Tensor:
    """How far each row verifies the prefix it started from, in [0, 1], shape (B,); success may be NaN where it was not scored."""
    return torch.where(advantages_B > 0, success_B.nan_to_num(0.0).clamp(0.0, 1.0), 0.0)


def loss_mask(guidance_tokens: int, sampled_tokens: int, guidance_loss: GuidanceLoss, verified: float = 1.0) -> list[int]:
    """1 for each completion token in the loss, 0 for the others, in completion order (guidance first).

    `verified` is the row's, as the function of that name gives it; only `verified_sft` asks for it.
    """
    masked = guidance_loss == "mask" or (guidance_loss == "verified_sft" and verified == 0)
    return [int(not masked)] * guidance_tokens + [1] * sampled_tokens


def token_advantages(
    advantages_B: torch.Tensor,
    guidance_tokens_B: torch.Tensor,
    logps_BT: torch.Tensor,
    entropies_BT: torch.Tensor,
    guidance_loss: GuidanceLoss,
    coefficient: float,
    verified_B: torch.Tensor | None = None,
) -> torch.Tensor:
    """Advantages per completion token, shape (B, T), for the losses in `COEFFICIENTS`; without a gradient of their own.

    Args:
        advantages_B: The rows' advantages, shape (B,).
        guidance_tokens_B: Guidance tokens at the beginning of each completion, shape (B,).
        logps_BT: Log-probabilities of the completion's tokens, shape (B, T), nats.
        entropies_BT: Entropies of the distributions they were drawn from, shape (B, T), nats.
        guidance_loss: Which loss.
        coefficient: Its constant c.
        verified_B: For `verified_sft`, how far each row verifies its prefix, shape (B,).
    """
    row_B1 = advantages_B.unsqueeze(1).to(torch.float32)
    place_T = torch.arange(logps_BT.shape[1], device=logps_BT.device)
    given_BT = place_T < guidance_tokens_B.unsqueeze(1)
    p_BT = logps_BT.detach().float().exp()
    if guidance_loss == "sft":
        given = torch.full_like(p_BT, coefficient)
    elif guidance_loss == "verified_sft":
        mean_B1 = (logps_BT.detach().float() * given_BT).sum(1, keepdim=True) / given_BT.sum(1, keepdim=True).clamp(min=1)
        given = (coefficient * verified_B.unsqueeze(1) * row_B1 * mean_B1.exp()).expand_as(p_BT)
    elif guidance_loss == "luffy":
        given = row_B1 * coefficient * p_BT / (p_BT + coefficient) ** 2
    elif guidance_loss == "trust_region_sft":
        given = row_B1 * p_BT / p_BT.clamp(min=coefficient)
    elif guidance_loss == "top_entropy":
        entropies_BT = entropies_BT.detach().float().masked_fill(~given_BT, -torch.inf)
        rank_BT = entropies_BT.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
        given = row_B1 * (rank_BT < torch.ceil(coefficient * guidance_tokens_B).unsqueeze(1))
    else:
        raise ValueError(f"{guidance_loss} does not weigh guidance tokens by themselves")
    return torch.where(given_BT, given, row_B1)
