"""G2RPO-A's adaptive guidance length as the paper words it (arXiv 2508.13023).

    l_{k+1} = clip( l_k * ( (1/m) sum_{tau=1..m} r_{k-tau} ) / r_k,  l_min, l_max ),   m = min(T, k)

r_k is the mean accuracy reward over all rollouts of step k, guided and unguided. Reward above its recent mean shortens the
guidance, below it lengthens it. The length changes at every step, from the second on.

Where the formula is silent: r_k = 0 leaves the length as it is (division by zero), as does a step without any scored rollout.
What the formula implies and our tests show: zero reward freezes it, noise moves it, and a first success after zeros sends it
to l_min. Its own lift is part of what it measures.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from g2rpo.method.controller import Ask, Controller, Unit, mean_success, require
from g2rpo.method.rollout import Outcome


@dataclass(frozen=True)
class PaperState:
    length: float
    rewards: tuple[float, ...] = ()
    """The last m mean rewards, oldest first."""


@dataclass(frozen=True)
class Paper(Controller):
    """`window` is T, lengths are in the unit of guidance (tokens in the paper)."""

    initial_length: float = 3072
    min_length: float = 1
    max_length: float = 3072
    window: int = 2
    unit: ClassVar[Unit] = "tokens"

    def __post_init__(self) -> None:
        require(self.window >= 1, "window", self.window, "at least 1 step")
        require(0 <= self.min_length <= self.max_length, "min_length", self.min_length, "0 <= min_length <= max_length")
        inside = self.min_length <= self.initial_length <= self.max_length
        require(inside, "initial_length", self.initial_length, "min_length <= initial_length <= max_length")

    def initial(self) -> PaperState:
        return PaperState(float(self.initial_length))

    def plan(self, state: PaperState, ask: Ask) -> float:
        return state.length

    def update(self, state: PaperState, outcomes: Sequence[Outcome]) -> PaperState:
        reward = mean_success(outcomes)
        if reward is None:
            return state
        length = state.length
        if state.rewards and reward > 0:
            length *= (sum(state.rewards) / len(state.rewards)) / reward
        length = min(max(length, self.min_length), self.max_length)
        return PaperState(length, (*state.rewards, reward)[-self.window :])
