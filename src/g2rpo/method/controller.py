"""What a controller is: it plans a guidance length, takes in the outcomes of a step, and returns its next state. The state is a
value.

The state is a small frozen dataclass of plain numbers, tuples and, where a rule remembers single problems, `Table`s. As JSON it
is both the checkpoint and (tables summarized) the log line; the trainer holds it constant within a step; evaluation never changes
it. So a controller file contains nothing but its rule.

The controller also decides how many rollouts of a group are guided: the first `guidance_ratio` of a group *may* be guided, and
those for which it plans 0 are not.
"""

import dataclasses
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Literal, get_args

from g2rpo.errors import ConfigError, RunError
from g2rpo.method.rollout import Outcome
from g2rpo.seeds import rng

Unit = Literal["tokens", "fraction", "steps"]
"""What a length counts: tokens of the trace (the paper's), a share of what may be revealed, or whole reasoning steps."""
UNITS: tuple[str, ...] = get_args(Unit)


@dataclass(frozen=True)
class Ask:
    """The question put to a controller: how much guidance does this rollout of this problem's group get at this step?"""

    step: int
    """Generation batches finished so far in this run."""
    total_steps: int
    """Generation batches the whole run will have."""
    key: str
    """The problem."""
    rollout_index: int
    """The index in the group, among the guided ones."""
    seed: int
    """The run's seed."""
    group_size: int = 0
    """G; 0 where it is not known, and a rule then leaves the share of guided rollouts as it is."""
    guidable: int = 0
    """Rollouts 0 .. guidable - 1 of the group may be guided."""
    success_so_far: float | None = None
    """Mean primary reward of those rollouts of the group that were sampled before this one, for rules with micro-groups."""

    def rng(self, *purpose: int | str) -> random.Random:
        """Randomness for the whole group of this step; add `ask.rollout_index` to the purpose for one of its rollouts alone."""
        return rng(self.seed, "guidance", self.step, self.key, *purpose)


@dataclass(frozen=True)
class NoState:
    """The state of a rule that remembers nothing."""


class Controller:
    """A rule for the guidance length. Subclasses are frozen dataclasses of their hyperparameters; only `plan` has no default."""

    unit: ClassVar[Unit] = "fraction"
    """The unit of the published form of the rule; the setting `guidance_unit` overrides it."""

    warm_start: ClassVar[bool] = False
    """Whether an unset `guidance_warm_start` is on; published rules have none."""

    def initial(self) -> Any:
        """The state before the first step."""
        return NoState()

    def plan(self, state: Any, ask: Ask) -> float:
        """Guidance length in the controller's unit. More than allowed is cut; 0 or less means unguided."""
        raise NotImplementedError

    def update(self, state: Any, outcomes: Sequence[Outcome]) -> Any:
        """The next state, from all rollouts of one step: guided and unguided, all processes, unscored ones included."""
        return state

    def micro_groups(self, group_size: int) -> Sequence[int]:
        """Sizes of the parts of a group, in the order of rollout indices, that are sampled one after the other: each is planned
        when the ones before it are graded (`Ask.success_so_far`)."""
        return (group_size,)

    def default_ratio(self, group_size: int) -> float:
        """The share of a group of that size that may be guided where `guidance_ratio` is not set."""
        return 0.5

    def check_group(self, group_size: int, guidable: int) -> None:
        """Refuses groups in which the rule cannot work. `guidable` rollouts of each group may be guided.

        Raises:
            ConfigError: names the setting and what would do.
        """

    def check_traces(self, longest: int, unit: Unit) -> None:
        """Refuses data for which the rule cannot work. `longest` is the longest prefix that any trace allows, in tokens.

        Raises:
            ConfigError: names the setting and what would do.
        """


def mean_success(outcomes: Sequence[Outcome]) -> float | None:
    """Mean of the primary reward over all scored rollouts of a step: the paper's r_k. None when nothing was scored."""
    scored = [o.success for o in outcomes if o.success is not None]
    return sum(scored) / len(scored) if scored else None


def mean_by_problem(outcomes: Sequence[Outcome], *, guided: bool) -> dict[str, tuple[float, float]]:
    """Per problem, over its scored guided (or unguided) rollouts of a step: (mean revealed fraction, mean primary reward)."""
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

    def __iter__(self) -> Iterator[str]:
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
    """The same for a line of the run record: a table is shown as its size and the mean of its first column."""
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
