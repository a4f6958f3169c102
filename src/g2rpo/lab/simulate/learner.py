"""Learners whose success rate is known for every revealed fraction, and which learn from what they are rewarded for.

    logistic:   p(x) = sigmoid(skill - d + lift x + jump [x >= critical])
    chain:      p(x) = prod_{j >= x n} sigmoid(theta_j - d),  n segments, all that are not revealed must come out right

d is the problem's difficulty. In a problem whose trace is wrong from fraction e on, no prefix longer than e leads to success.

Both follow REINFORCE on the rewards of their own rollouts, theta += rate mean_i A_i s_i with A the advantages and s the score,
the gradient of the log-probability of what was done. For one right-or-wrong decision of probability q the score of its logit is
1 - q if it came out right and -q if not. The logistic learner makes one decision, the chain one per segment until its first
mistake. So a chain learns only the segments that its rollouts write: long prefixes teach the end of a solution, and unguided
success needs the beginning. With `luck`, a rollout that failed is paid all the same, as a guessed answer is by a verifier.
"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z)) if z >= 0 else math.exp(z) / (1 + math.exp(z))


@dataclass(frozen=True)
class Attempt:
    """What one rollout did: from which decision on, the score of each decision, and its reward."""

    first: int
    scores: tuple[float, ...]
    reward: float


@dataclass
class Logistic:
    """One skill, one decision."""

    skill: float = -4.0
    lift: float = 6.0
    """What the whole trace adds to the logit."""
    jump: float = 0.0
    """What the critical segment adds at once."""
    critical: float = 0.6
    rate: float = 0.05

    def success(self, fraction: float, difficulty: float = 0.0, wrong_from: float = 1.0) -> float:
        if fraction > wrong_from:
            return 0.0
        return sigmoid(self.skill - difficulty + self.lift * fraction + (self.jump if fraction >= self.critical else 0.0))

    def attempt(self, draw: random.Random, fraction: float, difficulty: float = 0.0, wrong_from: float = 1.0) -> Attempt:
        p = self.success(fraction, difficulty, wrong_from)
        right = draw.random() < p
        return Attempt(0, (right - p,), float(right))

    def learn(self, attempts: Sequence[Attempt], advantages: Sequence[float]) -> None:
        gain = sum(a * t.scores[0] for t, a in zip(attempts, advantages, strict=True))
        self.skill += self.rate * gain / len(attempts)


@dataclass
class Chain:
    """A skill per segment; equal at first."""

    segments: int = 9
    skill: float = 0.41
    """Logit of getting one segment right; 0.41 is 60 %, and nine of them 1 %."""
    luck: float = 0.01
    rate: float = 0.3

    def __post_init__(self) -> None:
        self.skills = [self.skill] * self.segments

    def first(self, fraction: float) -> int:
        """The first segment that is not revealed whole."""
        return min(self.segments, int(fraction * self.segments + 1e-9))

    def success(self, fraction: float, difficulty: float = 0.0, wrong_from: float = 1.0) -> float:
        """Rate of right solutions, lucky guesses not counted."""
        if fraction > wrong_from:
            return 0.0
        p = 1.0
        for theta in self.skills[self.first(fraction) :]:
            p *= sigmoid(theta - difficulty)
        return p

    def attempt(self, draw: random.Random, fraction: float, difficulty: float = 0.0, wrong_from: float = 1.0) -> Attempt:
        first, scores, right = self.first(fraction), [], True
        for theta in self.skills[first:]:
            q = sigmoid(theta - difficulty)
            right = draw.random() < q
            scores.append(right - q)
            if not right:
                break
        right = (right and fraction <= wrong_from) or draw.random() < self.luck
        return Attempt(first, tuple(scores), float(right))

    def learn(self, attempts: Sequence[Attempt], advantages: Sequence[float]) -> None:
        for attempt, advantage in zip(attempts, advantages, strict=True):
            if advantage:
                step = self.rate * advantage / len(attempts)
                for j, score in enumerate(attempt.scores, attempt.first):
                    self.skills[j] += step * score


@dataclass
class Still:
    """Never learns; any success rate that depends on the fraction alone. Whatever a controller does then, it does to noise."""

    rate_at: Callable[[float], float]

    def success(self, fraction: float, difficulty: float = 0.0, wrong_from: float = 1.0) -> float:
        return self.rate_at(fraction)

    def attempt(self, draw: random.Random, fraction: float, difficulty: float = 0.0, wrong_from: float = 1.0) -> Attempt:
        return Attempt(0, (), float(draw.random() < self.rate_at(fraction)))

    def learn(self, attempts: Sequence[Attempt], advantages: Sequence[float]) -> None:
        pass


Learner = Logistic | Chain | Still
