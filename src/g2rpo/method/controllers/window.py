"""Sliding window of prefix ratios (Prefix-RFT, arXiv 2507.01679): the shortest permitted prefix falls along a cosine.

    low_t = low + (high - low) (1 + cos(pi t / T)) / 2,      x ~ Uniform(low_t, high), one draw per guided rollout

So a run begins with nearly whole demonstrations and ends with all lengths mixed. In the paper one rollout of a group carries a
prefix; that is `guidance_ratio`. Deviation: the shortest prefix ends at `low` = 0.05, the longest stays at `high` = 0.95, the two
numbers that descriptions of the paper give for its decay.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

from g2rpo.method.controller import Ask, Controller, NoState, Unit, require


@dataclass(frozen=True)
class Window(Controller):
    high: float = 0.95
    low: float = 0.05
    unit: ClassVar[Unit] = "fraction"

    def __post_init__(self) -> None:
        require(0 <= self.low <= self.high <= 1, "low", self.low, "0 <= low <= high <= 1")

    def shortest(self, step: int, total_steps: int) -> float:
        """low_t."""
        require(total_steps > 0, "total steps", total_steps, "a run whose length is known")
        return self.low + (self.high - self.low) * (1 + math.cos(math.pi * min(1.0, step / total_steps))) / 2

    def plan(self, state: NoState, ask: Ask) -> float:
        return ask.rng("ratio", ask.rollout_index).uniform(self.shortest(ask.step, ask.total_steps), self.high)
