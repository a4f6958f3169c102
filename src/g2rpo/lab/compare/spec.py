"""What a comparison is made of, as plain frozen values: a run is fully described by its spec, and named by the spec's hash."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import rlvr_graders

import g2rpo

BUDGETS = ("sampled_tokens", "trained_tokens", "wall_s")
METHODS = ("rl", "sft", "sdft", "harvest")


@dataclass(frozen=True)
class Budget:
    """What every run may spend, all stages together.

    `sampled_tokens`: tokens drawn in rollouts; imitation samples none, so each token it learns from counts as one.
    `trained_tokens`: tokens in the loss. `wall_s`: seconds of training, evaluations left out. A run stops after the step that
    reaches it.
    """

    kind: str
    amount: float


@dataclass(frozen=True)
class Evaluation:
    """How runs are judged, never guided; the same problems and the same randomness for all."""

    problems: int = 512
    """Held-out problems at the end, one sample each at the training temperature."""
    during: int = 128
    """The first so many of them are tried along the way."""
    points: int = 10
    """Evaluations along the way, evenly spaced over the budget, besides the one before the first step."""
    pass_k: tuple[int, ...] = ()
    """Each k of pass@k, from as many samples per problem as the largest k."""
    pass_problems: int = 64
    sets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Further held-out sets, tried at the end (and on the base): recipe fields that replace the run's own."""


@dataclass(frozen=True)
class Stage:
    """One leg of a run, from the weights of the leg before: reinforcement learning, imitation (`sft`), self-distillation
    (`sdft`), or a `harvest`: the model stays as it is, and its right solutions are the data of the legs that follow."""

    method: str
    fields: Mapping[str, Any]
    share: float = 1.0
    """Of the budget. The last stage gets what is left."""


@dataclass(frozen=True)
class RunSpec:
    """One cell of the matrix: an arm on a task with a seed. No stages: the base as it is."""

    arm: str
    task: str
    seed: int
    base: Mapping[str, Any]
    """Fields all arms share on this task."""
    stages: tuple[Stage, ...]
    budget: Budget
    evaluation: Evaluation
    threads: int = 1

    @property
    def hash(self) -> str:
        return hashlib.blake2b(json.dumps(asdict(self), sort_keys=True).encode(), digest_size=6).hexdigest()

    @property
    def folder(self) -> str:
        """Its place below the comparison's `runs/`: a changed spec has another one, so that no stale result is ever taken."""
        return f"{self.task}--{self.arm}--seed{self.seed}--{self.hash}"


def spec_from_json(data: Mapping[str, Any]) -> RunSpec:
    """The inverse of `dataclasses.asdict` through JSON."""
    evaluation = {**data["evaluation"], "pass_k": tuple(data["evaluation"]["pass_k"])}
    return RunSpec(
        **{
            **data,
            "stages": tuple(Stage(**s) for s in data["stages"]),
            "budget": Budget(**data["budget"]),
            "evaluation": Evaluation(**evaluation),
        }
    )


@dataclass(frozen=True)
class RunResult:
    """What came of a run."""

    arm: str
    task: str
    seed: int
    scores: list[float]
    """One number per held-out problem, in their order."""
    greedy_accuracy: float
    curve: list[list[float]]
    """[budget spent, optimizer steps, accuracy on the first `during` problems] per evaluation along the way."""
    sets: dict[str, list[float]]
    """Scores on the further held-out sets."""
    pass_at: dict[str, float]
    """pass@k by k, mean over problems."""
    spent: dict[str, float]
    """Sampled tokens with imitated ones, imitated tokens alone, trained tokens, and training seconds."""
    stages: list[dict[str, Any]]
    """Method, steps and spending of each stage."""
    held_out_digest: str
    code: str
    """Digest of the source that ran."""

    @property
    def accuracy(self) -> float:
        return sum(self.scores) / len(self.scores)


DECIDES_NOTHING = (Path("cli"), Path("lab/report"))
"""Packages that only show results."""


@lru_cache(maxsize=1)
def source_digest() -> str:
    """A digest of what decides results: both packages' code and the built-in models, without commands and reports."""
    digest = hashlib.blake2b(digest_size=8)
    for package in (g2rpo, rlvr_graders):
        root = Path(package.__file__).parent
        for path in sorted(root.rglob("*")):
            name = path.relative_to(root)
            if path.is_file() and _decides(name):
                digest.update(name.as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _decides(name: Path) -> bool:
    """Whether a file of a package may change a result, from its path below the package."""
    return "__pycache__" not in name.parts and not any(name.is_relative_to(package) for package in DECIDES_NOTHING)
