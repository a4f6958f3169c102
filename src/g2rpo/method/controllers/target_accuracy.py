"""Aim at a success rate, by a logistic fit of success against the revealed fraction (SEELE, arXiv 2509.06923).

    a(h) = 1 / (1 + exp(-(w_0 + w_1 h))),      h* = (logit(target) - w_0) / w_1, within [0, 1]

Each problem's (w_0, w_1) is a maximum a posteriori fit to what was seen of it, (h, mean success, rollouts) per visit and kind of
row; the prior is centred on the fit to the latest visits of all problems together, whose own prior says: half of the trace gives
one half. So a problem never seen is treated like the others, and one seen often by itself.

SEELE bounds the loss descent of a step by a(1 - a), largest at 1/2, and fits a(h) = c + (1 - c) / (1 + exp(-k (h - b))) to
several rounds of rollouts inside one step. Deviations: one round per step, the earlier visits being the other rounds; no guessing
floor c; the slope is kept above `MIN_SLOPE`, for the rule needs more prefix to mean more success.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from g2rpo.method.controller import Ask, Controller, Table, Unit, mean_by_problem, require
from g2rpo.method.rollout import Outcome

Visit = tuple[float, float, float]
"""(revealed fraction, mean success, rollouts)."""
MIN_SLOPE = 1.0
FIRST_GUESS = (-3.0, 6.0)
"""w_0, w_1: one half at half of the trace, 5 % without."""
SPREAD = (2.0, 2.0)
"""Standard deviations of the priors of w_0 and w_1."""


@dataclass(frozen=True)
class TargetState:
    recent: tuple[Visit, ...] = ()
    """The latest visits of all problems, oldest first."""
    visits: Table = Table()
    """Per problem its latest visits, flat: (h, success, rollouts, h, success, rollouts, ...)."""


@dataclass(frozen=True)
class TargetAccuracy(Controller):
    """`memory` visits are kept per problem, `pool` of all problems together."""

    target: float = 0.5
    memory: int = 4
    pool: int = 64
    unit: ClassVar[Unit] = "fraction"

    def __post_init__(self) -> None:
        require(0 < self.target < 1, "target", self.target, "a success rate in (0, 1)")
        require(self.memory >= 1, "memory", self.memory, "at least 1 visit")
        require(self.pool >= 1, "pool", self.pool, "at least 1 visit")

    def initial(self) -> TargetState:
        return TargetState()

    def plan(self, state: TargetState, ask: Ask) -> float:
        flat = state.visits.get(ask.key, ())
        own = tuple(zip(flat[::3], flat[1::3], flat[2::3], strict=True))
        intercept, slope = fit(own, fit(state.recent, FIRST_GUESS))
        wanted = math.log(self.target / (1 - self.target))
        return min(1.0, max(0.0, (wanted - intercept) / max(slope, MIN_SLOPE)))

    def update(self, state: TargetState, outcomes: Sequence[Outcome]) -> TargetState:
        recent = list(state.recent)
        changes: dict[str, tuple[float, ...]] = {}
        rollouts: dict[tuple[str, bool], int] = {}
        for o in outcomes:
            if o.success is not None:
                rollouts[o.key, o.guided] = rollouts.get((o.key, o.guided), 0) + 1
        for guided in (False, True):
            for key, (fraction, success) in mean_by_problem(outcomes, guided=guided).items():
                visit = (fraction, min(1.0, max(0.0, success)), float(rollouts[key, guided]))
                recent.append(visit)
                changes[key] = (*changes.get(key, state.visits.get(key, ())), *visit)[-3 * self.memory :]
        return TargetState(tuple(recent[-self.pool :]), state.visits.with_rows(changes))


@lru_cache(maxsize=4096)
def fit(visits: tuple[Visit, ...], prior: tuple[float, float]) -> tuple[float, float]:
    """(w_0, w_1) of the logistic regression with Gaussian priors around `prior`: Newton's method on a concave function."""
    w0, w1 = prior
    p0, p1 = SPREAD[0] ** -2, SPREAD[1] ** -2
    for _ in range(12):
        g0, g1 = p0 * (prior[0] - w0), p1 * (prior[1] - w1)
        h00, h01, h11 = p0, 0.0, p1
        for h, success, n in visits:
            a = 1 / (1 + math.exp(-max(-30.0, min(30.0, w0 + w1 * h))))
            g0, g1 = g0 + n * (success - a), g1 + n * (success - a) * h
            c = n * a * (1 - a)
            h00, h01, h11 = h00 + c, h01 + c * h, h11 + c * h * h
        det = h00 * h11 - h01 * h01
        d0, d1 = (h11 * g0 - h01 * g1) / det, (h00 * g1 - h01 * g0) / det
        # A full step from far away may overshoot; one bounded in length may not.
        scale = min(1.0, 3.0 / max(1e-12, abs(d0), abs(d1)))
        w0, w1 = w0 + scale * d0, w1 + scale * d1
        if abs(d0) + abs(d1) < 1e-6:
            break
    return w0, w1
