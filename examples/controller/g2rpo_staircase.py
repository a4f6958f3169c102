"""A staircase: one prefix length for all problems, a little longer after failure and a little shorter after success.

    x <- clip(x + change * sign(target - s), 0, 1)

s is the mean success of the guided rollouts of a step, or of all rollouts once x is 0. This is the up-down method of
psychophysics (Levitt 1971), which settles where s is near the target.

What it assumes: more prefix, more success.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from g2rpo.method.controller import Ask, Controller, Unit, mean_success, require
from g2rpo.method.rollout import Outcome


@dataclass(frozen=True)
class StaircaseState:
    fraction: float


@dataclass(frozen=True)
class Staircase(Controller):
    """`start` is the first fraction of the trace, `change` one step of the stairs, `target` the success rate to settle at."""

    start: float = 0.75
    change: float = 0.05
    target: float = 0.5
    unit: ClassVar[Unit] = "fraction"

    def __post_init__(self) -> None:
        require(0 <= self.start <= 1, "start", self.start, "a fraction of the trace in [0, 1]")
        require(0 < self.change <= 1, "change", self.change, "a fraction of the trace in (0, 1]")
        require(0 < self.target < 1, "target", self.target, "a success rate in (0, 1)")

    def initial(self) -> StaircaseState:
        return StaircaseState(self.start)

    def plan(self, state: StaircaseState, ask: Ask) -> float:
        return state.fraction

    def update(self, state: StaircaseState, outcomes: Sequence[Outcome]) -> StaircaseState:
        success = mean_success([o for o in outcomes if o.guided] or outcomes)
        if success is None or success == self.target:
            return state
        change = self.change if success < self.target else -self.change
        return StaircaseState(min(max(state.fraction + change, 0.0), 1.0))
