"""The interface every controller fulfils: plan a length, take in the outcomes, hand over the next state. State is a value.

The state is a small frozen dataclass of plain numbers, tuples and, where a rule remembers single problems, `Table`s. As JSON it
is both the checkpoint and (tables summed up) the log line, the trainer freezes it within a step, and evaluation never touches it.
So a controller file holds nothing but its rule.

How many members of a group are guided is the controller's to say, too: the first `guidance_ratio` of a group *may* be guided, and
those for whom it plans 0 are not.
"""

import dataclasses
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Literal, Protocol, get_args

from g2rpo.errors import ConfigError, RunError
from g2rpo.seeds import rng
from g2rpo.method.rollout import Outcome

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
    group_size: int = 0
    """G; 0 where it is not known, and a rule then leaves the share of guided members alone."""
    guidable: int = 0
    """Members 0 .. guidable - 1 of the group may be guided."""

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


def mean_by_problem(outcomes: Sequence[Outcome], *, guided: bool) -> dict[str, tuple[float, float]]:
    """Per problem, over its scored guided (or unguided) rollouts of a step: (mean revealed fraction, mean driving reward)."""
    sums: dict[str, list[float]] = {}
    for o in outcomes:
        if o.guided == guided and o.success is not None:
            row = sums.setdefault(o.key, [0, 0.0, 0.0])
            row[0] += 1
            row[1] += o.fraction
            row[2] += o.success
    return {key: (fraction / n, success / n) for key, (n, fraction, success) in sums.items()}


class Table(Mapping[str, tuple[float, ...]]):
    """What a rule remembers of single problems: a few numbers per key. Immutable, so that states stay values.

    `with_rows` copies: some milliseconds for 100,000 problems, once per step. Only problems that were seen have a row.
    """

    __slots__ = ("_rows",)

    def __init__(self, rows: Mapping[str, Sequence[float]] = MappingProxyType({})) -> None:
        self._rows = {key: tuple(row) for key, row in rows.items()}

    def with_rows(self, changes: Mapping[str, tuple[float, ...]]) -> "Table":
        table = Table.__new__(Table)
        table._rows = {**self._rows, **changes}
        return table

    def __getitem__(self, key: str) -> tuple[float, ...]:
        return self._rows[key]

    def __iter__(self):
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __hash__(self) -> int:
        return hash(frozenset(self._rows.items()))

    def __repr__(self) -> str:
        return f"Table({len(self._rows)} problems)"


def state_to_json(state: Any) -> dict[str, Any]:
    """A controller's state as plain JSON data."""
    values = {f.name: getattr(state, f.name) for f in dataclasses.fields(state)}
    return {name: dict(value) if isinstance(value, Table) else value for name, value in values.items()}


def state_to_log(state: Any) -> dict[str, Any]:
    """The same for a line of the run record: a table is told by its size and the mean of its first column."""
    values = {f.name: getattr(state, f.name) for f in dataclasses.fields(state)}
    for name, value in values.items():
        if isinstance(value, Table):
            first = [row[0] for row in value.values()]
            values[name] = {"problems": len(first), "mean": sum(first) / len(first) if first else None}
    return values


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
    if isinstance(value, dict):
        return Table(value)
    return tuple(_frozen(v) for v in value) if isinstance(value, list) else value


def require(holds: bool, name: str, value: object, expected: str) -> None:
    """One line per rule on a hyperparameter."""
    if not holds:
        raise ConfigError(name, value, expected=expected, then="Set it through guidance_controller_kwargs.")
