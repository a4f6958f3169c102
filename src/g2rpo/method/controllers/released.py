"""G2RPO-A's adaptive guidance length as the authors' released code computes it, beside the paper's words.

The same ratio as in `paper`, with T = 2, but applied at every third step only, on windows that do not overlap:

    after steps 3j, 3j+1, 3j+2:   l <- int( clip( l * mean(r_{3j}, r_{3j+1}) / r_{3j+2},  1, 3072 ) )

Starts at 3072; unchanged when r or the mean is 0; truncated to an integer, so that l = 1 needs a ratio of 2 to move.
The released code finds its reward by the function name `accuracy_reward`; ours is chosen by `guidance_reward`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from g2rpo.method.controller import Ask, Controller, Unit, mean_success, require
from g2rpo.method.rollout import Outcome


@dataclass(frozen=True)
class ReleasedState:
    length: int
    rewards: tuple[float, ...] = ()
    """Rewards of the window that is being filled."""


@dataclass(frozen=True)
class Released(Controller):
    initial_length: int = 3072
    min_length: int = 1
    max_length: int = 3072
    window: int = 2
    unit: ClassVar[Unit] = "tokens"

    def __post_init__(self) -> None:
        require(self.window >= 1, "window", self.window, "at least 1 step")
        inside = 1 <= self.min_length <= self.initial_length <= self.max_length
        require(inside, "initial_length", self.initial_length, "1 <= min_length <= initial_length <= max_length")

    def initial(self) -> ReleasedState:
        return ReleasedState(self.initial_length)

    def plan(self, state: ReleasedState, ask: Ask) -> float:
        return state.length

    def update(self, state: ReleasedState, outcomes: Sequence[Outcome]) -> ReleasedState:
        reward = mean_success(outcomes)
        if reward is None:
            return state
        if len(state.rewards) < self.window:
            return ReleasedState(state.length, (*state.rewards, reward))
        mean, length = sum(state.rewards) / len(state.rewards), state.length
        if mean > 0 and reward > 0:
            length = int(min(max(length * mean / reward, self.min_length), self.max_length))
        return ReleasedState(length)
