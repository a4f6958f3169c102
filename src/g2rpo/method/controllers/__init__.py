"""One file per rule. A name here, or an entry point of the group `g2rpo.controllers` in any installed package."""

import dataclasses
from importlib.metadata import entry_points
from typing import Any

from g2rpo.errors import ConfigError, nearest
from g2rpo.method.controller import Controller
from g2rpo.method.controllers.adaptive_profile import AdaptiveProfile
from g2rpo.method.controllers.binary_search import BinarySearch
from g2rpo.method.controllers.concave import Concave
from g2rpo.method.controllers.cosine_binomial import CosineBinomial
from g2rpo.method.controllers.fixed import Fixed
from g2rpo.method.controllers.ladder import Ladder
from g2rpo.method.controllers.linear import Linear
from g2rpo.method.controllers.micro_groups import MicroGroups
from g2rpo.method.controllers.none import NoGuidance
from g2rpo.method.controllers.paper import Paper
from g2rpo.method.controllers.profile import Profile
from g2rpo.method.controllers.released import Released
from g2rpo.method.controllers.rungs import Rungs
from g2rpo.method.controllers.stepwise import Stepwise
from g2rpo.method.controllers.target_accuracy import TargetAccuracy
from g2rpo.method.controllers.uniform import Uniform
from g2rpo.method.controllers.window import Window

CONTROLLERS: dict[str, type] = {
    "none": NoGuidance,
    "paper": Paper,
    "released": Released,
    "fixed": Fixed,
    "linear": Linear,
    "concave": Concave,
    "stepwise": Stepwise,
    "uniform": Uniform,
    "rungs": Rungs,
    "cosine_binomial": CosineBinomial,
    "window": Window,
    "binary_search": BinarySearch,
    "target_accuracy": TargetAccuracy,
    "ladder": Ladder,
    "micro_groups": MicroGroups,
    "profile": Profile,
    "adaptive_profile": AdaptiveProfile,
}


def get_controller(name: str, **hyperparameters: Any) -> Controller:
    """Builds a controller by name; unknown names and hyperparameters are errors that name the nearest right one."""
    known = dict(CONTROLLERS)
    if name not in known:
        known |= {e.name: e.load() for e in entry_points(group="g2rpo.controllers")}
    if name not in known:
        raise ConfigError("guidance_controller", name, expected="a known controller", then=nearest(name, list(known)))
    kind: Any = known[name]
    types = {f.name: f.type for f in dataclasses.fields(kind)} if dataclasses.is_dataclass(kind) else {}
    fields = list(types)
    for key, value in hyperparameters.items():
        wanted: Any = {int: int, float: (int, float)}.get(types.get(key))  # type: ignore[arg-type]
        if wanted and (not isinstance(value, wanted) or isinstance(value, bool)):
            raise ConfigError(
                key,
                value,
                expected="a whole number" if wanted is int else "a number",
                then=f"Set it through guidance_controller_kwargs of {name!r}.",
            )
        if fields and key not in fields:
            raise ConfigError(
                f"guidance_controller_kwargs of {name!r}", key, expected="one of its hyperparameters", then=nearest(key, fields)
            )
    controller: Controller = kind(**hyperparameters)
    return controller
