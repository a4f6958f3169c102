"""Annealed hint length (UFT, arXiv 2505.16984): a binomial number of segments whose mean falls along a cosine.

    p_t = p_low + (p_high - p_low) (1 + cos(pi (t + 1) / T_hint)) / 2  for t < T_hint, then no hint
    n ~ Binomial(segments, p_t),   l = n / segments

One draw per group and step. Deviations: the hint stands at the start of the answer, where UFT appends it to the prompt; segments
are equal parts of the trace in tokens.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

from g2rpo.method.controller import Ask, Controller, NoState, Unit, require


@dataclass(frozen=True)
class CosineBinomial(Controller):
    """`until` is T_hint as a share of the run (300 of 500 steps in the paper)."""

    p_high: float = 0.95
    p_low: float = 0.05
    segments: int = 5
    until: float = 0.6
    unit: ClassVar[Unit] = "fraction"

    def __post_init__(self) -> None:
        require(0 <= self.p_low <= self.p_high <= 1, "p_low", self.p_low, "0 <= p_low <= p_high <= 1")
        require(self.segments >= 1, "segments", self.segments, "at least 1 segment")
        require(0 < self.until <= 1, "until", self.until, "a share of the run in (0, 1]")

    def share(self, step: int, total_steps: int) -> float:
        """p_t; 0 once hints have ended."""
        require(total_steps > 0, "total steps", total_steps, "a run whose length is known")
        hinted = max(1, round(self.until * total_steps))
        if step >= hinted:
            return 0.0
        return self.p_low + (self.p_high - self.p_low) * (1 + math.cos(math.pi * (step + 1) / hinted)) / 2

    def plan(self, state: NoState, ask: Ask) -> float:
        share, draw = self.share(ask.step, ask.total_steps), ask.rng("segments")
        return sum(draw.random() < share for _ in range(self.segments)) / self.segments
