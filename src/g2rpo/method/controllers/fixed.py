"""Fixed guidance length, called naive guidance in arXiv 2508.13023.

    l_t = length

The authors' finding: reward rises early, and soon cannot be told from vanilla GRPO's.
"""

from dataclasses import dataclass
from typing import ClassVar

from g2rpo.errors import ConfigError
from g2rpo.method.controller import Ask, Controller, NoState, Unit, require


@dataclass(frozen=True)
class Schedule(Controller):
    """A rule whose length is `length` at first and depends on the step alone."""

    length: float = 1024
    unit: ClassVar[Unit] = "tokens"

    def __post_init__(self) -> None:
        require(self.length > 0, "length", self.length, "a length above 0")


@dataclass(frozen=True)
class Fixed(Schedule):
    def plan(self, state: NoState, ask: Ask) -> float:
        return self.length

    def check_traces(self, longest: int, unit: Unit) -> None:
        if unit == "tokens" and self.length > longest:
            raise ConfigError(
                "length",
                self.length,
                expected=f"at most {longest} tokens, the longest prefix that any trace of this data allows",
                then="Every trace is shorter, so every guided rollout would start at the end of its trace. Lower the length.",
            )
