"""`profile` that also says how many rollouts of a group are guided: as many as the model needs, none when it needs no help.

    p_b ~ Beta(s_b + 1, f_b + 1) for every bin b        (as in `profile`; bin 0 is no guidance)
    b* = argmax_{b > 0} p_b (1 - p_b),   x ~ Uniform(bin b*)
    u  = p_0 (1 - p_0) if p_0 < 1/2, else 1/4           what unguided rollouts teach; success beyond one half is no lack of signal
    guided rollouts = whole strata nearest to  G max(0, 1 - u / (p_b* (1 - p_b*))),  at most guidance_ratio G

The share alpha, which the authors of G2RPO-A search by hand and call a limitation, is thus the shortfall of the unguided signal
against the best guided one: 1 when the model never succeeds alone, 0 when its own rollouts teach as much as guided ones could.
What it listens to is the success on the task itself, measured by the unguided rollouts; with a `guidance_ratio` below 1 there
always are some. All draws are those of the group's own stream: every process plans the same.

Nothing drifts under noise: counts forget at a constant rate, and the plan is a function of their posterior. No step assumes
that more prefix means more success. Under zero reward every bin looks alike, and it goes on exploring.
"""

from dataclasses import dataclass
from typing import ClassVar

from g2rpo.errors import ConfigError
from g2rpo.method.controller import Ask
from g2rpo.method.controllers.profile import Profile, ProfileState
from g2rpo.method.guided_share import nearest_strata


@dataclass(frozen=True)
class AdaptiveProfile(Profile):
    """Hyperparameters and state of `Profile`."""

    most_guided: ClassVar[float] = 0.75
    """The share of a group that may be guided where `guidance_ratio` is not set, in whole strata."""
    warm_start: ClassVar[bool] = True

    def default_ratio(self, group_size: int) -> float:
        most = self.most_guided * group_size
        return nearest_strata(most, int(most), group_size) / group_size or super().default_ratio(group_size)

    def check_group(self, group_size: int, guidable: int) -> None:
        if not nearest_strata(group_size, guidable, group_size):
            raise ConfigError(
                "num_generations",
                group_size,
                expected="groups in which adaptive_profile may guide two rollouts and leave two unguided; "
                f"guidance_ratio lets it guide {guidable}",
                then=(
                    "Take 4 or more, raise guidance_ratio to 0.5, or set guidance_controller to profile and "
                    "guidance_advantages to joint."
                ),
            )

    def plan(self, state: ProfileState, ask: Ask) -> float:
        draw = ask.rng("bin")  # one draw for the whole group
        rates = [draw.betavariate(s + 1, f + 1) for s, f in zip(state.successes, state.failures, strict=True)]
        signal = [p * (1 - p) for p in rates]
        best = max(range(1, self.bins + 1), key=lambda b: (signal[b], -b))
        alone = signal[0] if rates[0] < 0.5 else 0.25
        need = max(0.0, 1 - alone / signal[best]) if signal[best] else 0.0
        if ask.rollout_index >= nearest_strata(need * ask.group_size, ask.guidable, ask.group_size):
            return 0.0
        return (best - draw.random()) / self.bins
