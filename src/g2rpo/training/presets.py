"""Methods by name: a preset is a set of field values that a recipe, or a flag, may override one by one."""

from typing import Any

from g2rpo.errors import ConfigError, nearest

PRESETS: dict[str, dict[str, Any]] = {
    "grpo": {"guidance_controller": "none"},
    # The published method: arXiv 2508.13023. Guidance in the loss, one group, KL as in the released recipe.
    "g2rpo-a-paper": {
        "guidance_controller": "paper",
        "guidance_loss": "policy_gradient",
        "guidance_advantages": "joint",
        "guidance_leak_guard": "off",
        "loss_type": "grpo",
        "beta": 0.04,
    },
    # The same as the released code computes the length: every third step, truncated.
    "g2rpo-a-released": {
        "guidance_controller": "released",
        "guidance_loss": "policy_gradient",
        "guidance_advantages": "joint",
        "guidance_leak_guard": "off",
        "loss_type": "grpo",
        "beta": 0.04,
    },
    # Ours: what an unset recipe gives, written out.
    "g2rpo": {
        "guidance_controller": "profile",
        "guidance_ratio": 0.5,
        "guidance_loss": "mask",
        "guidance_advantages": "stratified",
        "guidance_leak_guard": "strict",
    },
}


def preset(name: str) -> dict[str, Any]:
    """Fields of a preset, a copy: `GuidedGRPOConfig(**preset("g2rpo-a-paper"), learning_rate=1e-5)`."""
    if name not in PRESETS:
        raise ConfigError("preset", name, expected="a known preset", then=nearest(name, list(PRESETS)))
    return dict(PRESETS[name])
