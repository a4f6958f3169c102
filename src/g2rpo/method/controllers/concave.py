"""Concave decay of the guidance length over training (arXiv 2508.13023, configuration study).

l_t = l_0 (1 - t / T)^beta,   0 < beta < 1 falls late, beta = 1 is linear
"""

from dataclasses import dataclass

from g2rpo.method.controller import Ask, NoState, require
from g2rpo.method.controllers.fixed import Schedule


@dataclass(frozen=True)
class Concave(Schedule):
    """`length` is l_0."""

    beta: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.beta > 0, "beta", self.beta, "an exponent above 0")

    def plan(self, state: NoState, ask: Ask) -> float:
        require(ask.total_steps > 0, "total steps", ask.total_steps, "a run whose length is known")
        return self.length * float(max(0.0, 1 - ask.step / ask.total_steps) ** self.beta)
