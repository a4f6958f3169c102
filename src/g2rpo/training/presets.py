"""Methods by name: a preset is a set of field values that a recipe, or a flag, may override one by one.

The peers' presets set what makes each method itself, in our trainer, with one update per batch. What is not reproduced stands
beside each; learning rates, batch sizes and group sizes are the recipe's.
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
    # arXiv 2510.19807 and its released code: groups that are all wrong are rolled again, one rollout per hint level; the least
    # hinted success, on its own prompt, takes the place of the first failed rollout. Not reproduced: twelve written hints (here
    # parts of the trace), the first 50 steps without hints.
    "scaf-grpo": {
        "guidance_controller": "rungs",
        "guidance_ratio": 1.0,
        "guidance_place": "prompt",
        "guidance_second_round": "member",
        "guidance_loss": "mask",
        "guidance_advantages": "joint",
    },
    # arXiv 2506.13923: groups that are all wrong are rolled again with a hint; the answers are trained on the plain prompt, with
    # the ratio r / (r + 0.1). Not reproduced: hints written by a model (here the trace up to the leak guard).
    "guide": {
        "guidance_controller": "fixed",
        "guidance_controller_kwargs": {"length": 1.0},
        "guidance_unit": "fraction",
        "guidance_ratio": 1.0,
        "guidance_place": "prompt",
        "guidance_reattach": True,
        "guidance_second_round": "group",
        "guidance_loss": "mask",
        "guidance_advantages": "joint",
    },
    # arXiv 2507.10628: groups that are all wrong are rolled again with a quarter, a half, three quarters of the trace in the
    # prompt. Not reproduced: the three within one step (here one more at the problem's next visit); the cold start.
    "ghpo": {
        "guidance_controller": "ladder",
        "guidance_controller_kwargs": {"levels": [0.25, 0.5, 0.75]},
        "guidance_ratio": 1.0,
        "guidance_place": "prompt",
        "guidance_second_round": "group",
        "guidance_loss": "mask",
        "guidance_advantages": "joint",
    },
    # arXiv 2601.18779: hard problems with part of their solution in the prompt, beside the plain ones, each with its own
    # baseline. Not reproduced: prefixes chosen before training (here a problem's grows while its group fails, and never shrinks
    # before all succeed); the choice of hard problems is the data's.
    "pope": {
        "guidance_controller": "ladder",
        "guidance_controller_kwargs": {"levels": [0.25, 0.5, 0.75, 1.0], "succeed": 1.0},
        "guidance_ratio": 0.5,
        "guidance_place": "prompt",
        "guidance_loss": "mask",
        "guidance_advantages": "stratified",
    },
    # arXiv 2509.04419, and the idea of ReLIFT (2506.07527): a group that is all wrong gives way to the log-likelihood of its
    # demonstration, with the weight of the whole group (of eight: set the coefficient to num_generations). Not reproduced:
    # ReLIFT's buffer and separate steps of imitation.
    "hpt": {
        "guidance_controller": "none",
        "guidance_demonstrations": "failed_groups",
        "guidance_loss": "sft",
        "guidance_loss_coefficient": 8.0,
        "loss_type": "grpo",
    },
    # arXiv 2508.11408, CHORD-phi with mu = 0.1: a demonstration beside seven rollouts, its tokens weighed by p (1 - p), outside
    # of the baseline. Not reproduced: a normalisation of its own for the demonstrations; the division by the std; expert data
    # drawn independently of the rollouts.
    "chord": {
        "guidance_controller": "fixed",
        "guidance_controller_kwargs": {"length": 1.0},
        "guidance_unit": "fraction",
        "guidance_ratio": 0.125,
        "guidance_loss": "chord",
        "guidance_demonstrations": "member",
        "guidance_advantages": "unguided_baseline",
        "guidance_leak_guard": "off",
        "scale_rewards": "none",
    },
    # arXiv 2512.17636 and its code: of eight rollouts four are unguided, two get a quarter of the trace, one a half, one is the
    # demonstration, each only where those before it mostly failed; trust-region SFT on what is given, whatever the reward; a
    # joint baseline, mean only. Not reproduced: a quarter is learned once though two rollouts have it; ends of prefixes moved to
    # the next blank line; a second demonstration for the last rollout; the entropy bonus of 0.001.
    "trapo": {
        "guidance_controller": "micro_groups",
        "guidance_loss": "trust_region_sft",
        "guidance_demonstrations": "member",
        "guidance_advantages": "joint",
        "guidance_leak_guard": "off",
        "loss_type": "dr_grpo",
        "scale_rewards": "none",
    },
    # arXiv 2601.18795: every rollout continues from a prefix of one of the model's own successes, which is not learned. The data
    # are those of g2rpo harvest. Not reproduced: prefix lengths chosen by the base's accuracy (here uniform); batches that also
    # hold plain problems.
    "prefix-rl": {
        "guidance_controller": "uniform",
        "guidance_ratio": 1.0,
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
    # Ours: what an unset recipe gives, written out (and the warm start, on where beta is 0). What
    # supports each of these values: docs/method.md.
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
