"""A ladder of guidance per problem: climbed on failure, left on success (Scaf-GRPO 2510.19807, GHPO 2507.10628).

    r = mean primary reward of the rollouts of problem q at its rung (guided ones; on rung 0 all of them)
    r <= fail:  rung <- rung + 1        r >= succeed:  rung <- rung - 1

With fail = 0 a rung is climbed by a group that is all wrong, which is the gate of Scaf-GRPO and GHPO; GHPO's rungs are 25, 50 and
75 % of the trace, and so are ours. Deviations: the papers roll a failed group again with more help inside the same step; here the
help comes at the problem's next visit (or, with `shared`, at the next step of all problems), so no rollout is thrown away.
Scaf-GRPO has eight kinds of hints written for it; rungs of a trace stand in for them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from g2rpo.method.controller import Ask, Controller, Table, Unit, mean_by_problem, require
from g2rpo.method.controllers.binary_search import ALL
from g2rpo.method.rollout import Outcome


@dataclass(frozen=True)
class LadderState:
    rungs: Table = Table()
    """Per problem its rung, counted from 0."""


@dataclass(frozen=True)
class Ladder(Controller):
    levels: Sequence[float] = (0.0, 0.25, 0.5, 0.75)
    fail: float = 0.0
    succeed: float = 0.5
    shared: bool = False
    unit: ClassVar[Unit] = "fraction"

    def __post_init__(self) -> None:
        object.__setattr__(self, "levels", tuple(self.levels))
        rising = all(a < b for a, b in zip(self.levels, self.levels[1:], strict=False))
        require(len(self.levels) >= 2 and rising, "levels", self.levels, "at least two rising fractions")
        require(self.levels[0] >= 0 and self.levels[-1] <= 1, "levels", self.levels, "fractions in [0, 1]")
        require(0 <= self.fail < self.succeed <= 1, "fail", self.fail, "0 <= fail < succeed <= 1")

    def initial(self) -> LadderState:
        return LadderState()

    def rung(self, state: LadderState, key: str) -> int:
        return int(state.rungs.get(ALL if self.shared else key, (0.0,))[0])

    def plan(self, state: LadderState, ask: Ask) -> float:
        return self.levels[self.rung(state, ask.key)]

    def update(self, state: LadderState, outcomes: Sequence[Outcome]) -> LadderState:
        alone, helped = (mean_by_problem(outcomes, guided=g) for g in (False, True))
        rates: dict[str, list[float]] = {}
        for key in {o.key: None for o in outcomes}:
            at_rung = helped if self.levels[self.rung(state, key)] > 0 else alone
            if key in at_rung:
                rates.setdefault(ALL if self.shared else key, []).append(at_rung[key][1])
        changes = {}
        for key, values in rates.items():
            rate, rung = sum(values) / len(values), self.rung(state, key)
            rung += (rate <= self.fail) - (rate >= self.succeed)
            changes[key] = (float(min(max(rung, 0), len(self.levels) - 1)),)
        return LadderState(state.rungs.with_rows(changes))
