"""When to imitate before, or between, steps of RL: by measurement.

Where every rollout of a group fails, guided ones included, the group has no advantage and RL learns nothing. A model that lacks
the form of an answer starts like that in every group. Then imitation of the same traces (supervised, without any sampling) is
cheap and gives RL something to work with; where groups succeed from the start, it is not needed and can do harm (traces in a
notation that the model reads and does not write).

    s, f   groups with and without a success, guided rollouts included, since the model last imitated
    doubt  when (s + 1) / (s + f + 2) < 1/5 (four groups without a success): the next steps of RL guide from the longest prefixes,
           until 24 such rollouts are judged
    begin  imitation when fewer than one in four of them succeeded, and demonstrations are worth imitating: most traces state
           their answer, and their perplexity is below 100; otherwise give it up for good
    look   after 16, 32, 64, 64 ... imitation steps, at one step of RL without guidance: end imitation after two looks in a row
           that show no more success than the best one before; give it up for good when the fourth shows no success at all

The doubt has to be confirmed because prefixes begin with any length: groups also fail because theirs were short. A trace that
does not lead to its answer teaches to guess (accuracy 1 and 10 % where guidance alone has 69 and 67), and one that the model
would never write ruins it (0 and 2 % where guidance has 84 and 81). Perplexities of traces measured: 1.1 to 8.8 where imitation
helps, 5,000 and 29,000 in foreign notations. Two looks, because one shows few problems.

All of it is counted: imitated tokens belong to the budget like sampled ones. The rule is ours; the idea that imitation belongs
where whole groups fail is that of ReLIFT (arXiv 2506.07527) and HPT (2509.04419), the order imitation then RL that of 2604.23747.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from g2rpo.method.rollout import Outcome

DOUBT_BELOW = 1 / 5
ENOUGH = 1 / 4
"""Share of successes from the longest prefixes that refutes a doubt."""
PATIENCE = 2
"""Looks in a row without a new best that end imitation."""


@dataclass(frozen=True)
class WarmStartState:
    succeeded: float = 0.0
    failed: float = 0.0
    """Groups with and without a success since the model last imitated."""
    doubt: bool = False
    """Whether the next step of RL is to show what the longest prefixes bring."""
    judged: int = 0
    arrived: float = 0.0
    """Rollouts from the longest prefixes since the doubt, and successes among them."""
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
    """`judged` rollouts from the longest prefixes settle a doubt; `first` imitation steps come before the first look, at most
    `longest` between two; imitation is given up after `hopeless` looks without a success, and not begun where the perplexity of
    the demonstrations is `foreign` or more."""

    judged: int = 24
    first: int = 16
    longest: int = 64
    hopeless: int = 4
    foreign: float = 100.0

    def imitates(self, state: WarmStartState) -> bool:
        """Whether the next step imitates."""
        return state.remaining > 0

    def reveals(self, state: WarmStartState) -> float | None:
        """The share of each trace that the next step of RL reveals to guided rollouts; None leaves it to the controller."""
        return 0.0 if state.interval else 1.0 if state.doubt else None

    def after_imitation(self, state: WarmStartState) -> WarmStartState:
        return replace(state, remaining=state.remaining - 1)

    def after_rollouts(
        self, state: WarmStartState, outcomes: Sequence[Outcome], group_size: int, worthwhile: Callable[[], bool] = lambda: True
    ) -> WarmStartState:
        """The state after a step of RL with these outcomes, groups contiguous. Groups without a scored rollout do not count.

        `worthwhile` says whether the demonstrations are worth imitating; it is asked when imitation would begin.
        """
        succeeded = failed = 0
        for start in range(0, len(outcomes), group_size):
            scores = [o.success for o in outcomes[start : start + group_size] if o.success is not None]
            succeeded += any(s > 0 for s in scores)
            failed += bool(scores) and not any(s > 0 for s in scores)
        if not succeeded + failed:
            return state
        if state.interval:
            return self._looked(state, outcomes, succeeded, failed)
        if state.doubt:
            guided = [o.success for o in outcomes if o.guided and o.success is not None]
            judged, arrived = state.judged + len(guided), state.arrived + sum(guided)
            if judged < self.judged and guided:
                return replace(state, judged=judged, arrived=arrived)
            if arrived >= ENOUGH * judged > 0:
                return WarmStartState(succeeded, failed)
            if not worthwhile():
                return WarmStartState(succeeded, failed, given_up=True)
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
