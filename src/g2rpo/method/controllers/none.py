"""No guidance: plain GRPO, step for step what TRL's own trainer does."""

from dataclasses import dataclass
from typing import ClassVar

from g2rpo.method.controller import Ask, Controller, NoState, Unit


@dataclass(frozen=True)
class NoGuidance(Controller):
    unit: ClassVar[Unit] = "tokens"

    def plan(self, state: NoState, ask: Ask) -> float:
        return 0.0
