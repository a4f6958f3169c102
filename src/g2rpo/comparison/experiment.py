"""An experiment: one YAML file with arms, seeds, tasks, one budget and one evaluation; read, checked, and laid out as runs.

    question: Does guidance help where success is rare?
    seeds: 5                                   # 0 .. 4, or a list
    budget: {sampled_tokens: 30000}            # or trained_tokens, or wall_s
    evaluation: {problems: 512, during: 128, points: 10, pass_k: [1, 8, 64], sets: {longer: {task_steps: [12]}}}
    shared: {task: chains, task_steps: [9], learning_rate: 1.0e-4, ...}
    tasks: {sparse: {task_steps: [9]}, dense: {task_steps: [3]}}     # optional: blocks of the matrix, fields over `shared`
    arms:
      grpo: {preset: grpo}
      g2rpo: {preset: g2rpo}
      sft-then-grpo:
        stages:
          - {method: sft, share: 0.2, learning_rate: 3.0e-4}
          - {preset: grpo}
    treatment: [learning_rate]                 # what arms may differ in, besides preset and guidance_*
    against: [grpo]                            # arms that the others are compared with

An arm is what it lists and nothing else: all fields of `shared` and of the task hold for every arm, and an arm that sets a field
which is not a declared treatment is refused. The base as it is, untrained, is always measured beside the arms.
"""

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from g2rpo.comparison.spec import BUDGETS, METHODS, Budget, Evaluation, RunSpec, Stage
from g2rpo.errors import ConfigError, nearest
from g2rpo.training.presets import preset
from g2rpo.training.recipe import read_yaml, resolve
from g2rpo.training.sft import resolve_sft

BASE = "base"
TREATMENT = ("preset", "guidance_*")
"""What arms may always differ in; what a preset sets belongs to it."""
OWNED = ("seed", "output_dir", "max_sampled_tokens")
"""Fields that the comparison itself sets."""
DEFAULTS = {"report_to": "none", "save_strategy": "no", "rollouts_every": 5}
_KEYS = ("question", "seeds", "budget", "evaluation", "shared", "tasks", "arms", "treatment", "against", "thresholds", "threads")


@dataclass(frozen=True)
class Experiment:
    """As the file says it, checked."""

    name: str
    question: str
    seeds: tuple[int, ...]
    budget: Budget
    evaluation: Evaluation
    shared: Mapping[str, Any]
    tasks: Mapping[str, Mapping[str, Any]]
    arms: Mapping[str, tuple[Stage, ...]]
    meanings: Mapping[str, str]
    treatment: tuple[str, ...]
    against: tuple[str, ...]
    thresholds: tuple[float, ...]
    """Accuracies for which the budget needed is told, besides the final accuracy of each arm in `against`."""
    threads: int

    def runs(self) -> list[RunSpec]:
        """The whole matrix, trained arms first; the base once per task, with the first seed."""
        return [
            RunSpec(arm, task, seed, {**DEFAULTS, **self.shared, **changes}, stages, self.budget, self.evaluation, self.threads)
            for seed in self.seeds
            for task, changes in self.tasks.items()
            for arm, stages in self.arms.items()
            if stages or seed == self.seeds[0]
        ]


def read_experiment(path: str | Path, seeds: int | None = None) -> Experiment:
    """Reads and checks an experiment file; every run's settings are resolved, so that nothing can fail on a typo hours later.

    Args:
        path: The file.
        seeds: Instead of the file's: 0 .. seeds - 1.

    Raises:
        ConfigError: names the part of the file that is wrong.
    """
    given = read_yaml(path)
    for key in given:
        if key not in _KEYS:
            raise ConfigError("experiment", key, expected="a part of an experiment", then=nearest(key, _KEYS))
    for key in ("shared", "arms", "budget"):
        if not isinstance(given.get(key), dict) or not given[key]:
            raise ConfigError(f"{key} of the experiment", given.get(key), expected="a mapping", then="See recipes/experiments/.")
    arms, meanings = {BASE: ()}, {BASE: "the model as it is, untrained"}
    for name, arm in given["arms"].items():
        if name == BASE:
            raise ConfigError("arm", name, expected="another name: the base is always measured", then="Leave it out.")
        arms[name], meanings[name] = _arm(name, arm or {})
    experiment = Experiment(
        name=Path(path).stem,
        question=str(given.get("question", "")).strip(),
        seeds=_seeds(given.get("seeds", 1) if seeds is None else seeds),
        budget=_budget(given["budget"]),
        evaluation=_evaluation(given.get("evaluation") or {}),
        shared=given["shared"],
        tasks=given.get("tasks") or {str(given["shared"].get("task", "task")): {}},
        arms=arms,
        meanings=meanings,
        treatment=(*TREATMENT, *_list("treatment", given.get("treatment"))),
        against=_list("against", given.get("against")) or (next(n for n in arms if n != BASE),),
        thresholds=tuple(float(t) for t in given.get("thresholds") or ()),
        threads=int(given.get("threads", 1)),
    )
    for name in experiment.against:
        if name not in arms:
            raise ConfigError("against", name, expected="arms of this experiment", then=nearest(name, list(arms)))
    _check_treatment(experiment)
    _check_runs(experiment)
    return experiment


def _seeds(value: Any) -> tuple[int, ...]:
    seeds = tuple(range(value)) if isinstance(value, int) and not isinstance(value, bool) else tuple(value or ())
    if not seeds or not all(isinstance(s, int) for s in seeds) or len(set(seeds)) < len(seeds):
        raise ConfigError(
            "seeds", value, expected="a positive number, or a list of different whole numbers", then="Write seeds: 5."
        )
    return seeds


def _budget(value: Mapping[str, Any]) -> Budget:
    [(kind, amount), *more] = value.items()
    if more or kind not in BUDGETS:
        raise ConfigError("budget", value, expected=f"one of {', '.join(BUDGETS)}", then="Write budget: {sampled_tokens: 30000}.")
    amount = float(amount)
    if amount <= 0:
        raise ConfigError("budget", value, expected="a positive amount", then="Write budget: {sampled_tokens: 30000}.")
    return Budget(kind, amount)


def _evaluation(value: Mapping[str, Any]) -> Evaluation:
    known = [f.name for f in fields(Evaluation)]
    for key in value:
        if key not in known:
            raise ConfigError("evaluation", key, expected="one of its fields", then=nearest(key, known))
    during = min(Evaluation.during, value.get("problems", Evaluation.problems))
    evaluation = Evaluation(**{"during": during, **value, "pass_k": tuple(sorted(value.get("pass_k") or ()))})
    if not 1 <= evaluation.during <= evaluation.problems:
        raise ConfigError("during of the evaluation", evaluation.during, expected=f"1 to {evaluation.problems}, its problems",
                          then="Lower it.")  # fmt: skip
    return evaluation


def _list(name: str, value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise ConfigError(f"{name} of the experiment", value, expected="a list of names", then=f"Write {name}: [a, b].")
    return tuple(value)


def _arm(name: str, arm: Mapping[str, Any]) -> tuple[tuple[Stage, ...], str]:
    """The stages of an arm and what it means in words."""
    if not isinstance(arm, dict):
        raise ConfigError(f"arm {name!r}", arm, expected="fields, or stages: [...]", then="Write it like {preset: grpo}.")
    arm = dict(arm)
    meaning = str(arm.pop("meaning", "")).strip()
    legs = arm.pop("stages", None)
    if legs is not None and arm:
        raise ConfigError(f"arm {name!r}", sorted(arm), expected="its fields within its stages", then="Move them there.")
    stages = []
    for leg in legs if legs is not None else [arm]:
        leg = dict(leg)
        method, share = leg.pop("method", "rl"), leg.pop("share", None)
        if method not in METHODS:
            raise ConfigError(
                f"method of arm {name!r}", method, expected=f"one of {', '.join(METHODS)}", then="Leave it out for rl."
            )
        stages.append((method, leg, share))
    # Stages without a share divide evenly what the others leave.
    taken = sum(float(s) for _, _, s in stages if s is not None)
    open_ = sum(s is None for _, _, s in stages)
    if (
        not stages
        or any(s is not None and not 0 < float(s) <= 1 for _, _, s in stages)
        or (taken >= 1 if open_ else abs(taken - 1) > 1e-9)
    ):
        raise ConfigError(f"shares of arm {name!r}", [s for _, _, s in stages], expected="shares of the budget that add up to 1",
                          then="Leave one stage's share out: it gets the rest.")  # fmt: skip
    made = tuple(Stage(m, f, float(s) if s is not None else (1 - taken) / open_) for m, f, s in stages)
    return made, meaning or " → ".join(_told(stage, len(made) > 1) for stage in made)


def _told(stage: Stage, several: bool) -> str:
    changes = [f"{k}={v}" for k, v in stage.fields.items() if k != "preset"]
    name = "SFT on the traces" if stage.method == "sft" else str(stage.fields.get("preset", "rl"))
    share = f"{stage.share:.0%} of the budget" if several else ""
    inside = ", ".join([share] * bool(share) + changes)
    return f"{name} ({inside})" if inside else name


def treated(fields_: Mapping[str, Any]) -> set[str]:
    """The fields that an arm's own settings decide: those it lists, and those its preset sets."""
    return {*fields_, *(preset(fields_["preset"]) if fields_.get("preset") else ())}


def _check_treatment(experiment: Experiment) -> None:
    for name, stages in experiment.arms.items():
        for stage in stages:
            for field in stage.fields:
                declared = any(fnmatch.fnmatchcase(field, pattern) for pattern in experiment.treatment)
                of_preset = stage.fields.get("preset") and field in preset(stage.fields["preset"])
                if field in OWNED or not (declared or of_preset):
                    raise ConfigError(f"arm {name!r}", field, expected="fields in which arms may differ: " + ", ".join(experiment.treatment),
                                      then="The comparison sets it itself." if field in OWNED else
                                      "Move it to `shared`, or declare it: treatment: [" + field + "].")  # fmt: skip
    for part in (experiment.shared, *experiment.tasks.values()):
        for field in part or {}:
            if field in OWNED:
                raise ConfigError("shared of the experiment", field, expected="fields other than " + ", ".join(OWNED),
                                  then="The comparison sets it: see seeds and budget.")  # fmt: skip


def _check_runs(experiment: Experiment) -> None:
    """Resolves every stage of every arm on every task, and the further evaluation sets."""
    for task, changes in experiment.tasks.items():
        base = {**DEFAULTS, **experiment.shared, **(changes or {})}
        if "max_completion_length" not in base:
            raise ConfigError("shared of the experiment", expected="max_completion_length", then="Evaluations need it, too.")
        for name, stages in experiment.arms.items():
            for stage in stages:
                try:
                    stage_recipe(base, stage, seed=0, output_dir="unused")
                except ConfigError as error:
                    raise ConfigError(f"arm {name!r} on task {task!r}: {error.what}", error.value, expected=error.expected,
                                      then=error.then) from error  # fmt: skip
        for name, extra in {f"task {task!r}": {}, **experiment.evaluation.sets}.items():
            try:
                data = resolve({**base, **(extra or {}), "output_dir": "unused", "preset": "grpo"}).data
                if data.task is not None:  # quickly drawn; a data set is opened by the first run
                    replace(data, task_size=max(2, data.trace_limit or 0)).problems("test")
            except ConfigError as error:
                raise ConfigError(f"held-out set {name}: {error.what}", error.value, expected=error.expected, then=error.then) from error  # fmt: skip


def stage_recipe(base: Mapping[str, Any], stage: Stage, *, seed: int, output_dir: str, **more: Any) -> Any:
    """What `train` (rl) or `train_sft` (sft) takes."""
    values = {**base, **stage.fields, "seed": seed, "output_dir": output_dir, **more}
    return resolve_sft(values) if stage.method == "sft" else resolve(values)


def names(runs: Sequence[RunSpec]) -> list[str]:
    """Arms in the order of the file."""
    return list(dict.fromkeys(r.arm for r in runs))
