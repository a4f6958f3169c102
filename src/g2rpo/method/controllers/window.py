"""Sliding window of prefix ratios (Prefix-RFT, arXiv 2507.01679): the shortest permitted prefix falls along a cosine.

    low_t = low + (high - low) (1 + cos(pi t / T)) / 2,      x ~ Uniform(low_t, high), one draw per guided member

So a run begins with nearly whole demonstrations and ends with all lengths mixed. In the paper one member of a group carries a
prefix; that is `guidance_ratio`. Deviation: the shortest prefix ends at `low` = 0.05, the longest stays at `high` = 0.95, the two
numbers that descriptions of the paper give for its decay.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from g2rpo.method.controller import Ask, Unit, require
from g2rpo.method.controllers.none import NoState
from g2rpo.method.rollout import Outcome


@dataclass(frozen=True)
class Window:
    high: float = 0.95
    low: float = 0.05
    unit: ClassVar[Unit] = "fraction"

    def __post_init__(self) -> None:
        require(0 <= self.low <= self.high <= 1, "low", self.low, "0 <= low <= high <= 1")

    def initial(self) -> NoState:
        return NoState()

    def shortest(self, step: int, total_steps: int) -> float:
        """low_t."""
        require(total_steps > 0, "total steps", total_steps, "a run whose length is known")
        return self.low + (self.high - self.low) * (1 + math.cos(math.pi * min(1.0, step / total_steps))) / 2

    def plan(self, state: NoState, ask: Ask) -> float:
        return ask.rng("ratio", ask.member).uniform(self.shortest(ask.step, ask.total_steps), self.high)

    def update(self, state: NoState, outcomes: Sequence[Outcome]) -> NoState:
        return state
