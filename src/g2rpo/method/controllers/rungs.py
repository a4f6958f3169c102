"""Every rollout of a group on a rung of its own (the hint levels of Scaf-GRPO, arXiv 2510.19807).

    x_i = (i + 1) / n        i = 0 .. n - 1, the guidable rollouts of the group

For a second round of rollouts (`guidance_second_round: member`), which takes the success that was shown least.
"""

from dataclasses import dataclass
from typing import ClassVar

from g2rpo.method.controller import Ask, Controller, NoState, Unit


@dataclass(frozen=True)
class Rungs(Controller):
    unit: ClassVar[Unit] = "fraction"

    def plan(self, state: NoState, ask: Ask) -> float:
        return (ask.rollout_index + 1) / max(1, ask.guidable)
