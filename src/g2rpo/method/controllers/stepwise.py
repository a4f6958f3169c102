"""Stepwise decay of the guidance length (arXiv 2508.13023, configuration study).

l_t = l_0 gamma^floor(t / s)
"""

from dataclasses import dataclass

from g2rpo.method.controller import Ask, NoState, require
from g2rpo.method.controllers.fixed import Schedule


@dataclass(frozen=True)
class Stepwise(Schedule):
    """`length` is l_0, `gamma` the factor, `every` the number s of generation steps between two cuts."""

    gamma: float = 0.5
    every: int = 50

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.gamma <= 1, "gamma", self.gamma, "a factor in (0, 1]")
        require(self.every >= 1, "every", self.every, "at least 1 step")

    def plan(self, state: NoState, ask: Ask) -> float:
        return self.length * self.gamma ** (ask.step // self.every)
