"""The interface every controller fulfils: plan a length, take in the outcomes, hand over the next state. State is a value.

The state is a small frozen dataclass of plain numbers and tuples. Its `asdict` is both the checkpoint and the log line, the
trainer freezes it within a step, and evaluation never touches it. So a controller file holds nothing but its rule.
"""

import dataclasses
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, get_args

from g2rpo.errors import ConfigError, RunError
from g2rpo.seeds import rng
from g2rpo.types import Outcome

Unit = Literal["tokens", "fraction", "steps"]
"""What a length counts: tokens of the trace (the paper's), a share of what may be revealed, or whole reasoning steps."""
UNITS: tuple[str, ...] = get_args(Unit)


@dataclass(frozen=True)
class Ask:
    """The question put to a controller: how much guidance for this member of this problem's group, now?"""

    step: int
    """Generation batches finished so far in this run."""
    total_steps: int
    """Generation batches the whole run will have."""
    key: str
    """The problem."""
    member: int
    """The slot in the group, among the guided ones."""
    seed: int
    """The run's seed."""

    def rng(self, *purpose: int | str) -> random.Random:
        """Randomness for the whole group of this step; add `ask.member` to the purpose for one of its members alone."""
        return rng(self.seed, "guidance", self.step, self.key, *purpose)


class Controller(Protocol):
    """A rule for the guidance length. Instances are frozen dataclasses of their hyperparameters."""

    unit: ClassVar[Unit]
    """The unit that the published form of the rule speaks in; the setting `guidance_unit` overrides it."""

    def initial(self) -> Any:
        """The state before the first step."""

    def plan(self, state: Any, ask: Ask) -> float:
        """Guidance length in the controller's unit; what is longer than allowed is cut, 0 or less means unguided."""

    def update(self, state: Any, outcomes: Sequence[Outcome]) -> Any:
        """The next state, from all rollouts of one step: guided and unguided, all processes, unscored ones included."""


def mean_success(outcomes: Sequence[Outcome]) -> float | None:
    """Mean of the driving reward over all scored rollouts of a step: the paper's r_k. None when nothing was scored."""
    scored = [o.success for o in outcomes if o.success is not None]
    return sum(scored) / len(scored) if scored else None


def state_to_json(state: Any) -> dict[str, Any]:
    """A controller's state as plain JSON data."""
    return dataclasses.asdict(state)


def state_from_json(controller: Controller, data: Mapping[str, Any]) -> Any:
    """The inverse of `state_to_json`; an error when the data belongs to another controller."""
    template = controller.initial()
    names = {f.name for f in dataclasses.fields(template)}
    if set(data) != names:
        raise RunError(
            f"saved state of the controller {type(controller).__name__}",
            sorted(data),
            expected=f"the fields {sorted(names)}",
            then="Resume with the controller the run was started with, or start a new run directory.",
        )
    return type(template)(**{name: _frozen(value) for name, value in data.items()})


def _frozen(value: Any) -> Any:
    return tuple(_frozen(v) for v in value) if isinstance(value, list) else value


def require(holds: bool, name: str, value: object, expected: str) -> None:
    """One line per rule on a hyperparameter."""
    if not holds:
        raise ConfigError(name, value, expected=expected, then="Set it through guidance_controller_kwargs.")
