"""What the loss does with tokens that were given, not sampled.

    mask:              they carry no loss, no KL, and do not count in any length
    policy_gradient:   trained like sampled tokens, with the row's own advantage (the paper's objective, arXiv 2508.13023)
    sft:               - c log p, whatever the reward           c = 0.001        (UFT, arXiv 2505.16984)
    verified_sft:      - c v A / PPL log p,  PPL = exp(- mean_{t in g} log sg(p_t))             c = 1            (ours)
                       v = the row's success in [0, 1] if A > 0, else 0; where v = 0 the guidance is masked
    luffy:             - A p / (p + c)                          c = 0.1          (policy shaping of LUFFY, arXiv 2504.14945)
    trust_region_sft:  - p / max(sg(p), c), whatever the reward    c = 0.1       (TRAPO, arXiv 2512.17636)
    chord:             - c p (1 - p) log p, whatever the reward    c = 1/9       (CHORD-phi, arXiv 2508.11408: mu / (1 - mu),
                                                                                  mu = 0.1)
    top_entropy:       policy_gradient on the share c of a row's guidance tokens with the highest entropy, c = 0.2
                                                                                 (Prefix-RFT, arXiv 2507.01679)

p is the policy's probability of the given token, A the row's advantage, sg stops the gradient. Sampled tokens are trained as
always:

    J = 1/G sum_i 1/(|g_i| + |o_i|) [ sum_{t in g_i} L(rho_it, A_it) + sum_{t in o_i} L(rho_it, A_i) ] - beta KL

Each of these losses has the gradient of rho_t A_t with rho = pi / sg(pi), if a given token has an advantage of its own:

    A_t = A,    c,    c v A / PPL,    A c p / (p + c)^2,    p / max(p, c),    c p (1 - p),    A [H_t among the top]

in the order above.

They are computed in this form, because it leaves the objective, its normalization and its KL term the trainer's. Deviations: rho
is clipped from the second update on one batch onwards, where LUFFY does not clip; UFT adds c times a mean over the hint to the
objective, here guidance tokens share the normalization of the sampled ones.

With `policy_gradient` a guided rollout that fails lowers the probability of tokens of a correct solution: the released code does
so; the one reproduction masks. With `mask` a success that was given most of its solution teaches the last steps only.

`verified_sft` imitates a prefix as far as the model itself arrived from it (its success, where that is more than its group had),
and as far as the model could have written it: by one over its perplexity. In the model's own notation that is nearly 1, and one
success teaches the whole path; a notation that the model reads and would never write (perplexity 100) it continues to read only.
Wrong steps are rarely verified, because few answers come out right after them; no given token's probability is lowered.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class GivenTokens:
    """What a loss may look at to weigh the guidance tokens of B rows of T completion tokens."""

    advantage_B1: torch.Tensor
    """The rows' advantages, float32."""
    logp_BT: torch.Tensor
    """Log-probabilities of the completion's tokens under the policy, nats, detached."""
    entropy_BT: torch.Tensor | None
    """Entropies of the distributions they belong to, nats, detached; None where the loss did not ask for them."""
    count_B: torch.Tensor
    """Guidance tokens at the beginning of each completion."""
    verified_B: torch.Tensor | None
    """How far each row verifies its prefix, see `verified`."""

    @property
    def given_BT(self) -> torch.Tensor:
        position_T = torch.arange(self.logp_BT.shape[1], device=self.logp_BT.device)
        return position_T < self.count_B.unsqueeze(1)


def _sft(t: GivenTokens, c: float) -> torch.Tensor:
    return torch.full_like(t.logp_BT, c)


def _verified_sft(t: GivenTokens, c: float) -> torch.Tensor:
    assert t.verified_B is not None
    given_BT = t.given_BT
    mean_B1 = (t.logp_BT * given_BT).sum(1, keepdim=True) / given_BT.sum(1, keepdim=True).clamp(min=1)
    return (c * t.verified_B.unsqueeze(1) * t.advantage_B1 * mean_B1.exp()).expand_as(t.logp_BT)


def _luffy(t: GivenTokens, c: float) -> torch.Tensor:
    p_BT = t.logp_BT.exp()
    return t.advantage_B1 * c * p_BT / (p_BT + c) ** 2


def _trust_region_sft(t: GivenTokens, c: float) -> torch.Tensor:
    p_BT = t.logp_BT.exp()
    return p_BT / p_BT.clamp(min=c)


def _chord(t: GivenTokens, c: float) -> torch.Tensor:
    p_BT = t.logp_BT.exp()
    return c * p_BT * (1 - p_BT)


def _top_entropy(t: GivenTokens, c: float) -> torch.Tensor:
    assert t.entropy_BT is not None
    entropy_BT = t.entropy_BT.masked_fill(~t.given_BT, -torch.inf)
    rank_BT = entropy_BT.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    return t.advantage_B1 * (rank_BT < torch.ceil(c * t.count_B).unsqueeze(1))


@dataclass(frozen=True)
class GuidanceLoss:
    """One treatment of guidance tokens."""

    weigh: Callable[[GivenTokens, float], torch.Tensor] | None = None
    """Advantage of each given token, shape (B, T), from the tokens and the constant c; None: the row's own."""
    constant: float | None = None
    """c as its paper sets it; None where the loss has none."""
    constant_is_weight: bool = False
    """Whether c is a weight, which may exceed 1."""
    trained: bool = True
    """Whether guidance tokens are in the loss at all."""
    only_verified: bool = False
    """Whether they leave the loss in rows that did not succeed from them."""
    by_reward: bool = True
    """Whether a row without advantage teaches nothing."""


GUIDANCE_LOSSES: dict[str, GuidanceLoss] = {
    "mask": GuidanceLoss(trained=False),
    "policy_gradient": GuidanceLoss(),
    "sft": GuidanceLoss(_sft, 0.001, constant_is_weight=True, by_reward=False),
    "verified_sft": GuidanceLoss(_verified_sft, 1.0, constant_is_weight=True, only_verified=True),
    "luffy": GuidanceLoss(_luffy, 0.1),
    "trust_region_sft": GuidanceLoss(_trust_region_sft, 0.1, by_reward=False),
    "chord": GuidanceLoss(_chord, 1 / 9, constant_is_weight=True, by_reward=False),
    "top_entropy": GuidanceLoss(_top_entropy, 0.2),
}


def verified(advantages_B: torch.Tensor, success_B: torch.Tensor) -> torch.Tensor:
    """How far each row verifies the prefix it started from, in [0, 1], shape (B,); success is NaN where it was not scored."""
    return torch.where(advantages_B > 0, success_B.nan_to_num(0.0).clamp(0.0, 1.0), 0.0)


def loss_mask(guidance_tokens: int, sampled_tokens: int, loss: GuidanceLoss, verified: float = 1.0) -> list[int]:
    """1 for each completion token in the loss, 0 for the others, in completion order (guidance first).

    `verified` is the row's, as the function of that name gives it.
    """
    trained = loss.trained and not (loss.only_verified and verified == 0)
    return [int(trained)] * guidance_tokens + [1] * sampled_tokens


def token_advantages(
    advantages_B: torch.Tensor,
    guidance_tokens_B: torch.Tensor,
    logps_BT: torch.Tensor,
    entropies_BT: torch.Tensor | None,
    loss: GuidanceLoss,
    constant: float | None = None,
    verified_B: torch.Tensor | None = None,
) -> torch.Tensor:
    """Advantages per completion token, shape (B, T), without a gradient of their own.

    Args:
        advantages_B: The rows' advantages, shape (B,).
        guidance_tokens_B: Guidance tokens at the beginning of each completion, shape (B,).
        logps_BT: Log-probabilities of the completion's tokens, shape (B, T), nats.
        entropies_BT: Entropies of the distributions they belong to, shape (B, T), nats.
        loss: Which loss.
        constant: Its c; the paper's if None.
        verified_B: How far each row verifies its prefix, shape (B,), for losses with `only_verified`.
    """
    row_B1 = advantages_B.unsqueeze(1).to(torch.float32)
    if loss.weigh is None:
        return row_B1.expand_as(logps_BT)
    tokens = GivenTokens(
        row_B1,
        logps_BT.detach().float(),
        None if entropies_BT is None else entropies_BT.detach().float(),
        guidance_tokens_B,
        verified_B,
    )
    c = loss.constant if constant is None else constant
    assert c is not None, f"{loss} has no constant"
    return torch.where(tokens.given_BT, loss.weigh(tokens, c), row_B1)


REATTACHED_SHAPE = 0.1


def reattached_advantages(
    advantages: torch.Tensor, logps_BT: torch.Tensor, hinted_BT: torch.Tensor, constant: float = REATTACHED_SHAPE
) -> torch.Tensor:
    """Advantages per token, shape (B, T), of answers that were sampled after a hint and are trained on the plain prompt (Guide,
    arXiv 2506.13923).

        J_t = A w_t / (w_t + c),  w_t = p(o_t | q, o_<t) / sg p_old(o_t | q, hint, o_<t),  c = 0.1

    has the gradient of rho_t A_t with rho = pi / sg(pi) and A_t = A c w_t / (w_t + c)^2.

    Args:
        advantages: (B,) or (B, T).
        logps_BT: Log-probabilities under the policy after the plain prompt, nats.
        hinted_BT: Those with which the tokens were sampled after the hint, nats; NaN where prompt and sampled prompt are one.
        constant: c.
    """
    row = advantages.view(len(advantages), -1).to(torch.float32)
    ratio_BT = torch.exp(logps_BT.detach().float() - hinted_BT)
    return torch.where(hinted_BT.isnan(), row, row * constant * ratio_BT / (ratio_BT + constant) ** 2)
