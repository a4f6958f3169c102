"""How many rollouts of a group are guided: whole rollouts, and whole strata."""

import math

from g2rpo.errors import ConfigError


def guided_count(alpha: float, group_size: int) -> int:
    """Number of guided rollouts: alpha * G rounded half up, so 1/6 of 10 is 2, 1/4 of 10 is 3, 1/2 of 5 is 3.

    Raises:
        ConfigError: alpha outside [0, 1], or an alpha above 0 that rounds to nobody.
    """
    if not (isinstance(alpha, int | float) and 0 <= alpha <= 1):
        raise ConfigError(
            "guidance_ratio",
            alpha,
            expected="a share of the group in [0, 1]",
            then="Set guidance_ratio, for example to 0.5; 0 is vanilla GRPO.",
        )
    count = math.floor(alpha * group_size + 0.5 + 1e-9)
    if alpha > 0 and count == 0:
        raise ConfigError(
            "guidance_ratio",
            alpha,
            expected=f"at least {0.5 / group_size:g}, or 0: of a group of {group_size} it rounds to no guided rollout",
            then="Raise guidance_ratio or num_generations.",
        )
    return count


def nearest_strata(wanted: float, guidable: int, group_size: int) -> int:
    """The number of guided rollouts nearest to `wanted` that leaves no stratum of one: a lone row has no baseline of its kind.

    Permitted are 0, 2 .. G - 2 and G, as far as `guidable` goes; of two equally near ones, the smaller.
    """
    permitted = [n for n in range(guidable + 1) if n != 1 and group_size - n != 1]
    return min(permitted, key=lambda n: (abs(n - wanted), n))
