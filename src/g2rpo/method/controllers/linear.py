"""Linear decay of the guidance length over training (arXiv 2508.13023, configuration study).

l_t = l_0 (1 - t / T),   t: generation steps done, T: generation steps of the run
"""

from dataclasses import dataclass

from g2rpo.method.controller import Ask, NoState, require
from g2rpo.method.controllers.fixed import Schedule


@dataclass(frozen=True)
class Linear(Schedule):
    """`length` is l_0."""

    def plan(self, state: NoState, ask: Ask) -> float:
        require(ask.total_steps > 0, "total steps", ask.total_steps, "a run whose length is known")
        return self.length * max(0.0, 1 - ask.step / ask.total_steps)
