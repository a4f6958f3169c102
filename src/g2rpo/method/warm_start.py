"""When to imitate before, or between, steps of RL: by measurement.

Where every rollout of a group fails, guided ones included, the group has no advantage and RL learns nothing. A model that lacks
the form of an answer starts like that in every group. Then imitation of the same traces (supervised, without any sampling) is
cheap and gives RL something to work with; where groups succeed from the start, it is not needed and can do harm (traces in a
notation that the model reads and does not write).

    s, f   groups with and without a success, guided rollouts included, since the model last imitated
    doubt  when (s + 1) / (s + f + 2) < 1/5 (four groups without a success): the next step of RL guides from the longest prefixes
    begin  imitation when fewer than half of the groups have a success even so
    look   after 8, 16, 32, 64, 64 ... imitation steps, at one step of RL without guidance: go on while nothing succeeds, and
           while more succeeds than at the look before; otherwise end imitation

The doubt has to be confirmed because prefixes begin with any length: groups also fail because theirs were short, and imitation
does harm to a model that would have arrived from longer ones.

All of it is counted: imitated tokens belong to the budget like sampled ones. The rule is ours; the idea that imitation belongs
where whole groups fail is that of ReLIFT (arXiv 2506.07527) and HPT (2509.04419), the order imitation then RL that of 2604.23747.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from g2rpo.method.rollout import Outcome

DOUBT_BELOW = 1 / 5
ENOUGH = 1 / 2


@dataclass(frozen=True)
class WarmStartState:
    succeeded: float = 0.0
    failed: float = 0.0
    """Groups with and without a success since the model last imitated."""
    doubt: bool = False
    """Whether the next step of RL is to show what the longest prefixes bring."""
    remaining: int = 0
    """Imitation steps until the next look."""
    interval: int = 0
    """Length of the stretch of imitation that is under way or was looked at last; 0 outside of imitation."""
    success: float = 0.0
    """Success rate at the last look."""


@dataclass(frozen=True)
class WarmStart:
    """`first` imitation steps before the first look, at most `longest` between two."""

    first: int = 8
    longest: int = 64

    def imitates(self, state: WarmStartState) -> bool:
        """Whether the next step imitates."""
        return state.remaining > 0

    def reveals(self, state: WarmStartState) -> float | None:
        """The share of each trace that the next step of RL reveals to guided rollouts; None leaves it to the controller."""
        return 0.0 if state.interval else 1.0 if state.doubt else None

    def after_imitation(self, state: WarmStartState) -> WarmStartState:
        return WarmStartState(remaining=state.remaining - 1, interval=state.interval, success=state.success)

    def after_rollouts(self, state: WarmStartState, outcomes: Sequence[Outcome], group_size: int) -> WarmStartState:
        """The state after a step of RL with these outcomes, groups contiguous. Groups without a scored rollout do not count."""
        succeeded = failed = 0
        for start in range(0, len(outcomes), group_size):
            scores = [o.success for o in outcomes[start : start + group_size] if o.success is not None]
            succeeded += any(s > 0 for s in scores)
            failed += bool(scores) and not any(s > 0 for s in scores)
        if state.interval:
            scores = [o.success for o in outcomes if o.success is not None]
            success = sum(scores) / max(1, len(scores))
            if succeeded and success <= state.success:
                return WarmStartState(succeeded, failed)
            length = min(2 * state.interval, self.longest)
            return WarmStartState(remaining=length, interval=length, success=success)
        if state.doubt:
            if succeeded >= ENOUGH * (succeeded + failed):
                return WarmStartState(succeeded, failed)
            return WarmStartState(remaining=self.first, interval=self.first)
        s, f = state.succeeded + succeeded, state.failed + failed
        return WarmStartState(s, f, doubt=(s + 1) / (s + f + 2) < DOUBT_BELOW)
