"""No guidance: vanilla GRPO, step for step what TRL's own trainer does."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from g2rpo.method.controller import Ask, Unit
from g2rpo.method.rollout import Outcome


@dataclass(frozen=True)
class NoState:
    """Nothing to remember."""


@dataclass(frozen=True)
class NoGuidance:
    unit: ClassVar[Unit] = "tokens"

    def initial(self) -> NoState:
        return NoState()

    def plan(self, state: NoState, ask: Ask) -> float:
        return 0.0

    def update(self, state: NoState, outcomes: Sequence[Outcome]) -> NoState:
        return state
