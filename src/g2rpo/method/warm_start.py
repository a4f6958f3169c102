"""When to imitate before, or between, steps of RL: by measurement.

Where every rollout of a group fails, guided ones included, the group has no advantage and RL learns nothing. A model that lacks
the form of an answer starts like that in every group. Then imitation of the same traces (supervised, without any sampling) is
cheap and gives RL something to work with; where groups succeed from the start, it is not needed and can do harm (traces in a
notation that the model reads and does not write).

    s, f   groups with and without a success, guided rollouts included, since the model last imitated
    doubt  when (s + 1) / (s + f + 2) < 1/5 (four groups without a success): the next step of RL guides from the longest prefixes
    begin  imitation when fewer than half of the groups have a success even so
    look   after 16, 32, 64, 64 ... imitation steps, at one step of RL without guidance: end imitation after two looks in a row
           that show no more success than the best one before; give it up for good when the fourth shows no success at all

The doubt has to be confirmed because prefixes begin with any length: groups also fail because theirs were short, and imitation
does harm to a model that would have arrived from longer ones. Two looks, because one shows few problems.

All of it is counted: imitated tokens belong to the budget like sampled ones. The rule is ours; the idea that imitation belongs
where whole groups fail is that of ReLIFT (arXiv 2506.07527) and HPT (2509.04419), the order imitation then RL that of 2604.23747.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from g2rpo.method.rollout import Outcome

DOUBT_BELOW = 1 / 5
ENOUGH = 1 / 2
"""Share of groups with a success from the longest prefixes that refutes a doubt. A rate of rollouts does not tell the two cases
apart: it is 0 to 12 % in a model that imitation helps and 0 to 17 % in one that it ruins."""
PATIENCE = 2
"""Looks in a row without a new best that end imitation."""


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
    looks: int = 0
    stale: int = 0
    """Looks so far, and the last of them in a row that showed no new best."""
    best: float = 0.0
    """Largest success rate at a look."""
    given_up: bool = False
    """Whether imitation brought nothing; it does not begin again."""


@dataclass(frozen=True)
class WarmStart:
    """`first` imitation steps come before the first look, at most `longest` between two; imitation is given up after `hopeless`
    looks without a success."""

    first: int = 16
    longest: int = 64
    hopeless: int = 4

    def imitates(self, state: WarmStartState) -> bool:
        """Whether the next step imitates."""
        return state.remaining > 0

    def reveals(self, state: WarmStartState) -> float | None:
        """The share of each trace that the next step of RL reveals to guided rollouts; None leaves it to the controller."""
        return 0.0 if state.interval else 1.0 if state.doubt else None

    def after_imitation(self, state: WarmStartState) -> WarmStartState:
        return replace(state, remaining=state.remaining - 1)

    def after_rollouts(self, state: WarmStartState, outcomes: Sequence[Outcome], group_size: int) -> WarmStartState:
        """The state after a step of RL with these outcomes, groups contiguous. Groups without a scored rollout do not count."""
        succeeded = failed = 0
        for start in range(0, len(outcomes), group_size):
            scores = [o.success for o in outcomes[start : start + group_size] if o.success is not None]
            succeeded += any(s > 0 for s in scores)
            failed += bool(scores) and not any(s > 0 for s in scores)
        if state.interval:
            return self._looked(state, outcomes, succeeded, failed)
        if state.doubt:
            if succeeded >= ENOUGH * (succeeded + failed):
                return WarmStartState(succeeded, failed, given_up=state.given_up)
            return WarmStartState(remaining=self.first, interval=self.first)
        s, f = state.succeeded + succeeded, state.failed + failed
        doubt = not state.given_up and (s + 1) / (s + f + 2) < DOUBT_BELOW
        return WarmStartState(s, f, doubt=doubt, given_up=state.given_up)

    def _looked(self, state: WarmStartState, outcomes: Sequence[Outcome], succeeded: int, failed: int) -> WarmStartState:
        """The state after a step of RL without guidance, between two stretches of imitation."""
        scores = [o.success for o in outcomes if o.success is not None]
        success, looks = sum(scores) / max(1, len(scores)), state.looks + 1
        stale = state.stale + 1 if 0 < state.best >= success else 0
        given_up = looks >= self.hopeless and not max(success, state.best)
        if stale >= PATIENCE or given_up:
            return WarmStartState(succeeded, failed, given_up=given_up)
        length = min(2 * state.interval, self.longest)
        return WarmStartState(remaining=length, interval=length, looks=looks, stale=stale, best=max(state.best, success))
