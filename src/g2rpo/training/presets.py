"""Methods by name: a preset is a set of field values that a recipe, or a flag, may override one by one.

The peers' presets set what makes each method itself, in our trainer: one update per batch, guidance at the start of the answer.
What is not reproduced stands beside each; learning rates, batch sizes and group sizes are the recipe's.
"""

from typing import Any

from g2rpo.errors import ConfigError, nearest

PRESETS: dict[str, dict[str, Any]] = {
    "grpo": {"guidance_controller": "none"},
    # The published method: arXiv 2508.13023. Guidance in the loss, one group, KL as in the released recipe.
    "g2rpo-a-paper": {
        "guidance_controller": "paper",
        "guidance_ratio": 0.5,
        "guidance_loss": "policy_gradient",
        "guidance_advantages": "joint",
        "guidance_leak_guard": "off",
        "loss_type": "grpo",
        "beta": 0.04,
        "use_bias_correction_kl": False,  # on in TRL since 1.12; neither the paper nor its code weighs the KL term
    },
    # The same as the released code computes the length: every third step, truncated.
    "g2rpo-a-released": {
        "guidance_controller": "released",
        "guidance_ratio": 0.5,
        "guidance_loss": "policy_gradient",
        "guidance_advantages": "joint",
        "guidance_leak_guard": "off",
        "loss_type": "grpo",
        "beta": 0.04,
        "use_bias_correction_kl": False,  # on in TRL since 1.12; neither the paper nor its code weighs the KL term
    },
    # arXiv 2504.14945: the whole demonstration, with its own answer, as one of eight, shaped, mean only. Not reproduced: the
    # unclipped objective (guidance tokens are clipped from the second update on one batch).
    "luffy": {
        "guidance_controller": "fixed",
        "guidance_controller_kwargs": {"length": 1.0},
        "guidance_unit": "fraction",
        "guidance_ratio": 0.125,
        "guidance_loss": "luffy",
        "guidance_demonstrations": "member",
        "guidance_advantages": "joint",
        "guidance_leak_guard": "off",
        "loss_type": "dr_grpo",
        "scale_rewards": "none",
    },
    # arXiv 2505.16984: hints of falling length for all rows, 0.001 of their log-likelihood. Not reproduced: hints in the prompt;
    # its own normalisation of the hint term.
    "uft": {
        "guidance_controller": "cosine_binomial",
        "guidance_cut": "step",
        "guidance_ratio": 1.0,
        "guidance_loss": "sft",
        "guidance_advantages": "joint",
    },
    # arXiv 2507.01679: one prefixed row of eight, its 20 % most uncertain tokens trained, against the unguided mean, Dr. GRPO.
    # Not reproduced: its demonstration set and its schedule in steps (ours runs over the whole run).
    "prefix-rft": {
        "guidance_controller": "window",
        "guidance_ratio": 0.125,
        "guidance_loss": "top_entropy",
        "guidance_advantages": "unguided_baseline",
        "loss_type": "dr_grpo",
        "scale_rewards": "none",
    },
    # arXiv 2510.19807, 2507.10628. Lite: help comes at a failed problem's next visit, not in a second round; rungs of the trace
    # stand for its eight written hints, at the start of the answer and not in the prompt.
    "scaf-lite": {
        "guidance_controller": "ladder",
        "guidance_ratio": 0.125,
        "guidance_loss": "mask",
        "guidance_advantages": "joint",
    },
    # arXiv 2506.18110. Not reproduced: its way to set off problems not seen before. Needs several visits per problem to search at
    # all.
    "adaback": {
        "guidance_controller": "binary_search",
        "guidance_ratio": 1.0,
        "guidance_loss": "mask",
        "guidance_advantages": "joint",
    },
    # arXiv 2509.06923. Not reproduced: several rounds of rollouts per step, the guessing floor of its three-parameter curve.
    "seele": {
        "guidance_controller": "target_accuracy",
        "guidance_ratio": 1.0,
        "guidance_loss": "mask",
        "guidance_advantages": "joint",
    },
    # arXiv 2402.05808. Not reproduced: PPO with a critic (groups share one start and are their own baseline).
    "r3": {
        "guidance_controller": "uniform",
        "guidance_cut": "step",
        "guidance_ratio": 1.0,
        "guidance_loss": "mask",
        "guidance_advantages": "joint",
    },
    # arXiv 2503.14476, unguided: clip-higher, token mean, overlong filtering, groups without spread sampled again. Not
    # reproduced: the soft penalty on length.
    "dapo": {
        "guidance_controller": "none",
        "loss_type": "dapo",
        "epsilon_high": 0.28,
        "beta": 0.0,
        "mask_truncated_completions": True,
        "dynamic_sampling_rounds": 10,
    },
    # A control: our default guided by the trace of another problem. What it gains over grpo is not due to the solution shown.
    "other-trace": {
        "guidance_controller": "adaptive_profile",
        "guidance_loss": "mask",  # another problem's solution is not to be learned
        "guidance_trace_source": "other",
        "guidance_missing_trace": "unguided",
    },
    # Ours: what an unset recipe gives, written out. What supports each of these values: docs/method.md.
    "g2rpo": {
        "guidance_controller": "adaptive_profile",
        "guidance_loss": "verified_sft",
        "guidance_advantages": "stratified",
        "guidance_leak_guard": "strict",
    },
}


def preset(name: str) -> dict[str, Any]:
    """Fields of a preset, a copy: `GuidedGRPOConfig(**preset("g2rpo-a-paper"), learning_rate=1e-5)`."""
    if name not in PRESETS:
        raise ConfigError("preset", name, expected="a known preset", then=nearest(name, list(PRESETS)))
    return dict(PRESETS[name])
