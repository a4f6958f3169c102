"""Micro-groups: the parts of a group are sampled one after the other, and a part is guided only where the ones before it mostly
failed (TRAPO, arXiv 2512.17636, and its code).

    x_k = levels[k] if the mean success of the rollouts in all parts before k is below thresholds[k], else 0;  x_0 = 0

    k            0    1      2      3
    sizes        4    2      1      1
    levels       -    1/4    1/2    1
    thresholds   -    1/2    2/3    1

So a problem that the model solves by itself stays unguided, and one that it cannot solve ends with the whole trace. Deviations:
the code moves the end of a prefix to the next blank line, up to 30 % of the trace further on; here `guidance_cut` decides.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import ClassVar

from g2rpo.errors import ConfigError
from g2rpo.method.controller import Ask, Controller, NoState, Unit, require


@dataclass(frozen=True)
class MicroGroups(Controller):
    sizes: Sequence[int] = (4, 2, 1, 1)
    levels: Sequence[float] = (1 / 4, 1 / 2, 1.0)
    thresholds: Sequence[float] = (1 / 2, 2 / 3, 1.0)
    unit: ClassVar[Unit] = "fraction"

    def __post_init__(self) -> None:
        for name in ("sizes", "levels", "thresholds"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        require(len(self.sizes) >= 2 and all(n >= 1 for n in self.sizes), "sizes", self.sizes, "two or more numbers of rollouts")
        for name in ("levels", "thresholds"):
            values = getattr(self, name)
            fits = len(values) == len(self.sizes) - 1 and all(0 <= x <= 1 for x in values)
            require(fits, name, values, f"{len(self.sizes) - 1} numbers in [0, 1], one for each of the sizes after the first")

    def micro_groups(self, group_size: int) -> Sequence[int]:
        return self.sizes

    def plan(self, state: NoState, ask: Ask) -> float:
        part = sum(ask.rollout_index >= end for end in accumulate(self.sizes))
        if part == 0 or ask.success_so_far is None or ask.success_so_far >= self.thresholds[part - 1]:
            return 0.0
        return self.levels[part - 1]

    def default_ratio(self, group_size: int) -> float:
        return 1.0

    def check_group(self, group_size: int, guidable: int) -> None:
        if sum(self.sizes) != group_size:
            raise ConfigError(
                "num_generations",
                group_size,
                expected=f"{sum(self.sizes)} rollouts per group, for micro-groups of {', '.join(map(str, self.sizes))}",
                then="Change num_generations, or sizes in guidance_controller_kwargs.",
            )
        if guidable != group_size:
            raise ConfigError(
                "guidance_ratio",
                guidable / group_size,
                expected="1: which rollouts are guided is decided by those before them",
                then="Leave it unset.",
            )
