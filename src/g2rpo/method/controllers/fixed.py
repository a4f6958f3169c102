"""Fixed guidance length, called naive guidance in arXiv 2508.13023.

    l_t = length

The authors' finding: reward rises early, and soon cannot be told from vanilla GRPO's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from g2rpo.method.controller import Ask, Unit, require
from g2rpo.method.controllers.none import NoState
from g2rpo.method.rollout import Outcome


@dataclass(frozen=True)
class Fixed:
    length: float = 1024
    unit: ClassVar[Unit] = "tokens"

    def __post_init__(self) -> None:
        require(self.length > 0, "length", self.length, "a length above 0")

    def initial(self) -> NoState:
        return NoState()

    def plan(self, state: NoState, ask: Ask) -> float:
        return self.length

    def update(self, state: NoState, outcomes: Sequence[Outcome]) -> NoState:
        return state
