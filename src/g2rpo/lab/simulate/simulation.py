"""`simulate`: a controller plans, a known learner answers by chance, the controller is told, the learner learns."""

import math
import random
import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from g2rpo.errors import ConfigError, nearest
from g2rpo.lab.simulate.learner import Chain, Learner, Logistic, Still
from g2rpo.method.controller import Ask, Controller, state_to_log
from g2rpo.method.guided_share import guided_count
from g2rpo.method.rollout import Outcome

EPS = 1e-4


@dataclass(frozen=True)
class Scenario:
    """A situation: the learner, the problems, how they come.

    Difficulties are spread evenly over [-spread, spread]; `wrong_traces` of the problems have a wrong step, at an evenly
    spread place. With `curriculum` they come from easy to hard over the run, else in random order.
    """

    name: str
    about: str
    learner: Callable[[], Learner]
    problems: int = 256
    spread: float = 0.5
    curriculum: bool = False
    wrong_traces: float = 0.0


SCENARIOS: dict[str, Scenario] = {
    s.name: s
    for s in (
        Scenario("zero", "no rollout ever succeeds, whatever is revealed", lambda: Still(lambda x: 0.0)),
        Scenario(
            "noise", "half of all rollouts succeed, whatever is revealed, and nothing is learned", lambda: Still(lambda x: 0.5)
        ),
        Scenario("smooth", "logistic learner, 2 % alone, 88 % with the whole trace", Logistic),
        Scenario("jump", "logistic learner whose success jumps at 60 % of the trace", lambda: Logistic(lift=2.0, jump=4.0)),
        Scenario("curriculum", "logistic learner, problems from easy to hard", Logistic, spread=2.0, curriculum=True),
        Scenario("chain", "nine segments, 1 % alone; a rollout teaches only the segments that it writes", Chain),
        Scenario("chain-long", "fourteen segments, 0.08 % alone", lambda: Chain(segments=14), spread=0.2),
        Scenario("chain-dense", "nine segments, 24 % alone", lambda: Chain(skill=1.76)),
        Scenario("wrong", "the chain; every trace has one wrong step somewhere", Chain, wrong_traces=1.0),
    )
}


def scenario(name: str) -> Scenario:
    if name not in SCENARIOS:
        raise ConfigError("scenario", name, expected="a known scenario", then=nearest(name, list(SCENARIOS)))
    return SCENARIOS[name]


@dataclass
class Simulation:
    """What happened, one number per step in each list."""

    controller: str
    scenario: str
    seed: int
    length: list[float] = field(default_factory=list)
    """Mean revealed fraction of the guided rollouts; 0 where none was."""
    guided_share: list[float] = field(default_factory=list)
    unguided: list[float] = field(default_factory=list)
    """True unguided success rate, mean over a fixed sample of all problems."""
    guided: list[float | None] = field(default_factory=list)
    """Observed success rate of the guided rollouts."""
    signal: list[float] = field(default_factory=list)
    """Mean of p (1 - p) over the rollouts: what the step can teach."""
    tokens: list[float] = field(default_factory=list)
    """Sampled so far, in whole solutions."""
    state: dict[str, Any] = field(default_factory=dict)

    @property
    def final(self) -> float:
        """Unguided success, mean of the last twentieth."""
        return statistics.fmean(self.unguided[-max(1, len(self.unguided) // 20) :])

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def simulate(
    controller: Controller,
    situation: Scenario,
    *,
    steps: int = 1000,
    groups: int = 4,
    group_size: int = 8,
    ratio: float = 0.5,
    seed: int = 0,
    trace_tokens: int = 3072,
    state: Any = None,
    watch: Callable[[int, Any, list[Outcome]], None] | None = None,
) -> Simulation:
    """Runs a controller for `steps` generation batches of `groups` problems; the same arguments give the same numbers.

    Args:
        ratio: Share of each group that may be guided (`guidance_ratio`).
        trace_tokens: Tokens that each trace may reveal, for rules that count tokens.
        state: Go on from here; the controller's first state if not given.
        watch: Called after each step with (step, next state, outcomes).
    """
    draw, learner = random.Random(seed), situation.learner()
    pool = _problems(situation)
    probes = pool[:: max(1, len(pool) // 16)]
    guidable, state = guided_count(ratio, group_size), controller.initial() if state is None else state
    result = Simulation(type(controller).__name__, situation.name, seed)
    spent = 0.0
    for step in range(steps):
        if situation.curriculum:
            first = int((len(pool) - groups) * step / max(1, steps - 1))
            batch = range(first, first + groups)
        else:
            batch = draw.sample(range(len(pool)), groups)
        starts, attempts, advantages, outcomes = [], [], [], []
        for number in batch:
            _, difficulty, wrong_from = pool[number]
            fractions: list[float] = []
            tried: list[Any] = []
            for size in controller.micro_groups(group_size):
                so_far = _mean([t.reward for t in tried])
                for rollout_index in range(len(fractions), len(fractions) + size):
                    amount = 0.0
                    if rollout_index < guidable:
                        ask = Ask(step, steps, str(number), rollout_index, seed, group_size, guidable, so_far)
                        amount = controller.plan(state, ask)
                    fraction = min(1.0, max(0.0, amount if controller.unit == "fraction" else amount / trace_tokens))
                    fractions.append(int(fraction * trace_tokens + 1e-9) / trace_tokens)
                tried += [learner.attempt(draw, x, difficulty, wrong_from) for x in fractions[len(tried) :]]
            worth = stratified_advantages([t.reward for t in tried], [x > 0 for x in fractions])
            starts += [(x, difficulty, wrong_from) for x in fractions]
            attempts += tried
            advantages += worth
            for rollout_index, (x, t, a) in enumerate(zip(fractions, tried, worth, strict=True)):
                given = round(x * trace_tokens)
                outcomes.append(
                    Outcome(str(number), rollout_index, given > 0, given, x, trace_tokens - given, t.reward, t.reward, a)
                )
        rates = {start: learner.success(*start) for start in set(starts)}
        state = controller.update(state, outcomes)
        learner.learn(attempts, advantages)
        spent += sum(1 - o.fraction for o in outcomes)
        helped = [o for o in outcomes if o.guided]
        result.length.append(_mean([o.fraction for o in helped]) or 0.0)
        result.guided.append(_mean([o.success for o in helped]))
        result.guided_share.append(len(helped) / len(outcomes))
        result.unguided.append(_mean([learner.success(0.0, d) for _, d, _ in probes]))
        result.signal.append(_mean([rates[start] * (1 - rates[start]) for start in starts]))
        result.tokens.append(spent)
        if watch:
            watch(step, state, outcomes)
    result.state = state_to_log(state)
    return result


def _problems(situation: Scenario) -> list[tuple[int, float, float]]:
    """(number, difficulty, fraction from which its trace is wrong), easy first."""
    n, places = situation.problems, random.Random(0)
    return [
        (i, situation.spread * (2 * i / max(1, n - 1) - 1), places.random() if places.random() < situation.wrong_traces else 1.0)
        for i in range(n)
    ]


def stratified_advantages(rewards: list[float], guided: list[bool]) -> list[float]:
    """As in `algo/advantages.py`, for one group on plain floats: a simulated step must take a millisecond."""
    advantages = [0.0] * len(rewards)
    for kind in (False, True):
        members = [i for i, g in enumerate(guided) if g == kind]
        values = [rewards[i] for i in members]
        if len(set(values)) > 1:
            mean = sum(values) / len(values)
            spread = math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1))
            for i in members:
                advantages[i] = (rewards[i] - mean) / (spread + EPS)
    return advantages


def _mean(values: list) -> Any:
    return sum(values) / len(values) if values else None
