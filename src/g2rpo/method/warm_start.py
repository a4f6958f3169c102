"""When to imitate before, or between, steps of RL: by measurement.

Where every rollout of a group fails, guided ones included, the group has no advantage and RL learns nothing. A model that lacks the form of
an answer starts like that in every group. Then a few steps of imitation of the same traces (supervised, without any sampling) are cheap and
give RL something to work with; where groups succeed from the start, imitation is not needed and can do harm (traces in a notation
that the model reads and does not write).

    s, f   groups with and without a success, guided rollouts included, since the model last imitated
    begin  imitation when (s + 1) / (s + f + 2) < 1/8:          seven groups without a success
    look   after 8, 16, 32 ... imitation steps, at one step of RL: end imitation when at least half of its groups have a success,
           otherwise imitate again, twice as long

All of it is counted: imitated tokens belong to the budget like sampled ones. The rule is ours; the idea that imitation belongs
where whole groups fail is that of ReLIFT (arXiv 2506.07527) and HPT (2509.04419), the order imitation then RL that of 2604.23747.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from g2rpo.method.rollout import Outcome

BEGIN_BELOW = 1 / 8
END_FROM = 1 / 2


@dataclass(frozen=True)
class WarmStartState:
    succeeded: float = 0.0
    failed: float = 0.0
    """Groups with and without a success since the model last imitated."""
    remaining: int = 0
    """Imitation steps until the next look."""
    interval: int = 0
    """Length of the stretch of imitation that is under way or was looked at last; 0 outside of imitation."""


@dataclass(frozen=True)
class WarmStart:
    """`first` imitation steps before the first look, at most `longest` between two."""

    first: int = 8
    longest: int = 64

    def imitates(self, state: WarmStartState) -> bool:
        """Whether the next step imitates."""
        return state.remaining > 0

    def after_imitation(self, state: WarmStartState) -> WarmStartState:
        return WarmStartState(remaining=state.remaining - 1, interval=state.interval)

    def after_rollouts(self, state: WarmStartState, outcomes: Sequence[Outcome], group_size: int) -> WarmStartState:
        """The state after a step of RL with these outcomes, groups contiguous. Groups without a scored rollout do not count."""
        succeeded = failed = 0
        for start in range(0, len(outcomes), group_size):
            scores = [o.success for o in outcomes[start : start + group_size] if o.success is not None]
            succeeded += any(s > 0 for s in scores)
            failed += bool(scores) and not any(s > 0 for s in scores)
        if state.interval:  # a look at what imitation has brought
            if succeeded >= END_FROM * (succeeded + failed):
                return WarmStartState(succeeded, failed)
            length = min(2 * state.interval, self.longest)
            return WarmStartState(remaining=length, interval=length)
        s, f = state.succeeded + succeeded, state.failed + failed
        if (s + 1) / (s + f + 2) < BEGIN_BELOW:
            return WarmStartState(remaining=self.first, interval=self.first)
        return WarmStartState(s, f)
