"""Uniform reverse curriculum (R3, arXiv 2402.05808): every start along the trace, all mixed, at all times.

    x ~ Uniform(low, high), one draw per group and step

R3 starts its rollouts from every intermediate state of a demonstration and mixes them, so that easy and hard starts are in every
batch. R3's starts are the boundaries of its reasoning steps: set `guidance_cut: step`. Deviations: a group shares one start,
where R3 trains a critic (PPO) and has no groups.
"""

from dataclasses import dataclass
from typing import ClassVar

from g2rpo.method.controller import Ask, Controller, NoState, Unit, require


@dataclass(frozen=True)
class Uniform(Controller):
    low: float = 0.0
    high: float = 1.0
    unit: ClassVar[Unit] = "fraction"

    def __post_init__(self) -> None:
        require(0 <= self.low <= self.high <= 1, "low", self.low, "0 <= low <= high <= 1")

    def plan(self, state: NoState, ask: Ask) -> float:
        return ask.rng("start").uniform(self.low, self.high)
