"""Stochastic binary search for each problem's own prefix length (AdaBack, arXiv 2506.18110).

    x ~ Uniform(low_q, high_q), one draw per group of problem q; r = mean primary reward of its guided rollouts
    r >= threshold:  high_q <- x, low_q <- 0        it can do with less
    r <  threshold:  low_q <- x, high_q <- 1        it needs more

The opposite bound is opened again at each move, or the interval would close on a point and never follow a model that learns.
Deviations: that opening is our reading, the paper's pseudocode was not at hand; guided rollouts are judged where there are any; a
problem not seen before begins at (0, 1). A problem seen once per run is never searched, only sampled: `shared` keeps one interval
for all.

What it assumes: more prefix, more success. Where a trace has an error it runs to the end of the trace.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from g2rpo.method.controller import Ask, Controller, Table, Unit, mean_by_problem, require
from g2rpo.method.rollout import Outcome

ALL = ""
"""The row of a shared table."""


@dataclass(frozen=True)
class SearchState:
    intervals: Table = Table()
    """Per problem (low, high)."""


@dataclass(frozen=True)
class BinarySearch(Controller):
    threshold: float = 0.5
    shared: bool = False
    unit: ClassVar[Unit] = "fraction"

    def __post_init__(self) -> None:
        require(0 < self.threshold <= 1, "threshold", self.threshold, "a success rate in (0, 1]")

    def initial(self) -> SearchState:
        return SearchState()

    def plan(self, state: SearchState, ask: Ask) -> float:
        low, high = state.intervals.get(ALL if self.shared else ask.key, (0.0, 1.0))
        return ask.rng("portion").uniform(low, high)

    def update(self, state: SearchState, outcomes: Sequence[Outcome]) -> SearchState:
        # A prefix too short to hold a token leaves the group unguided; it is judged all the same, or 0 would hold it for ever.
        seen = {**mean_by_problem(outcomes, guided=False), **mean_by_problem(outcomes, guided=True)}
        changes = {}
        for key, (fraction, success) in seen.items():
            changes[ALL if self.shared else key] = (0.0, fraction) if success >= self.threshold else (fraction, 1.0)
        return SearchState(state.intervals.with_rows(changes))
