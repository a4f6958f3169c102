"""Our default: measure success against the revealed fraction, and go where the learning signal is.

A group teaches in proportion to p (1 - p), p the success rate at the prefix it starts from: nothing is learned where every
rollout fails or every rollout succeeds. So we keep, per bin of revealed fraction, counts of successes and failures that
forget at rate `memory` per step, and each problem draws its bin by Thompson sampling:

    p_b ~ Beta(s_b + 1, f_b + 1) for every bin b,      b* = argmax_b p_b (1 - p_b),      x ~ Uniform(bin b*)

Bin 0 is no guidance at all, fed by the unguided rollouts: when the model no longer needs help, p (1 - p) is largest there,
or as large as anywhere, and guidance ends by itself. Ties go to the shorter prefix.

Against the faults of the published rule (see `paper`): zero reward keeps it exploring instead of freezing it; noise at
constant skill moves counts by sampling error only, there is no drift; it compares prefixes with each other inside the same
steps, not one batch of problems with the next; its own lift is what it measures, per bin. It does not assume that more prefix
means more success: with imperfect traces that is false, and rules that assume it run away.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from g2rpo.method.controller import Ask, Controller, Unit, require
from g2rpo.method.rollout import Outcome


@dataclass(frozen=True)
class ProfileState:
    successes: tuple[float, ...]
    """Per bin, bin 0 being no guidance; sums of the primary reward, discounted."""
    failures: tuple[float, ...]


@dataclass(frozen=True)
class Profile(Controller):
    """`bins` equal bins of (0, 1] besides the bin of no guidance; `memory` is the share of the counts kept per step."""

    bins: int = 8
    memory: float = 0.9
    unit: ClassVar[Unit] = "fraction"

    def __post_init__(self) -> None:
        require(self.bins >= 1, "bins", self.bins, "at least 1 bin")
        require(0 < self.memory <= 1, "memory", self.memory, "a share in (0, 1]")

    def initial(self) -> ProfileState:
        return ProfileState((0.0,) * (self.bins + 1), (0.0,) * (self.bins + 1))

    def bin_of(self, fraction: float) -> int:
        """0 for no guidance, else the bin of (0, 1] that holds `fraction`; bins are closed above."""
        return min(self.bins, math.ceil(fraction * self.bins - 1e-9)) if fraction > 0 else 0

    def plan(self, state: ProfileState, ask: Ask) -> float:
        draw = ask.rng("bin")  # one bin for the whole group
        signal = []
        for s, f in zip(state.successes, state.failures, strict=True):
            p = draw.betavariate(s + 1, f + 1)
            signal.append(p * (1 - p))
        best = max(range(self.bins + 1), key=lambda b: (signal[b], -b))
        if best == 0:
            return 0.0
        return (best - draw.random()) / self.bins

    def update(self, state: ProfileState, outcomes: Sequence[Outcome]) -> ProfileState:
        successes = [self.memory * s for s in state.successes]
        failures = [self.memory * f for f in state.failures]
        for o in outcomes:
            if o.success is not None:
                p = min(max(o.success, 0.0), 1.0)
                b = self.bin_of(o.fraction)
                successes[b] += p
                failures[b] += 1 - p
        return ProfileState(tuple(successes), tuple(failures))
