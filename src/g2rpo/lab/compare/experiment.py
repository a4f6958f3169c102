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
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from g2rpo.errors import ConfigError, nearest
from g2rpo.lab.compare.spec import BUDGETS, METHODS, Budget, Evaluation, RunSpec, Stage
from g2rpo.training.presets import preset
from g2rpo.training.run.data_config import DataConfig
from g2rpo.training.run.recipe import read_yaml, resolve
from g2rpo.training.sdft import resolve_sdft
from g2rpo.training.sft import resolve_sft

BASE = "base"
TREATMENT = ("preset", "guidance_*")
"""What arms may always differ in; what a preset sets belongs to it."""
OWNED = ("seed", "output_dir", "max_sampled_tokens")
"""Fields that the comparison itself sets."""
WORDS = {"sft": "SFT on the traces", "sdft": "self-distillation", "harvest": "harvest of own solutions"}
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
        tasks=_mappings("tasks", given.get("tasks")) or {str(given["shared"].get("task", "task")): {}},
        arms=arms,
        meanings=meanings,
        treatment=(*TREATMENT, *_list("treatment", given.get("treatment"))),
        against=_list("against", given.get("against")) or (next(n for n in arms if n != BASE),),
        thresholds=_numbers("thresholds", given.get("thresholds")),
        threads=_count("threads", given.get("threads", 1)),
    )
    for name in experiment.against:
        if name not in arms:
            raise ConfigError("against", name, expected="arms of this experiment", then=nearest(name, list(arms)))
    _check_treatment(experiment)
    _check_runs(experiment)
    return experiment


def _seeds(value: Any) -> tuple[int, ...]:
    seeds = tuple(range(value)) if isinstance(value, int) and not isinstance(value, bool) else value
    if (
        not isinstance(seeds, tuple | list)
        or not seeds
        or not all(isinstance(s, int) for s in seeds)
        or len(set(seeds)) < len(seeds)
    ):
        raise ConfigError(
            "seeds", value, expected="a positive number, or a list of different whole numbers", then="Write seeds: 5."
        )
    return tuple(seeds)


def _budget(value: Mapping[str, Any]) -> Budget:
    [(kind, amount), *more] = value.items()
    if more or kind not in BUDGETS:
        raise ConfigError("budget", value, expected=f"one of {', '.join(BUDGETS)}", then="Write budget: {sampled_tokens: 30000}.")
    amount = _number(f"{kind} of the budget", amount)
    if amount <= 0:
        raise ConfigError("budget", value, expected="a positive amount", then="Write budget: {sampled_tokens: 30000}.")
    return Budget(kind, amount)


def _evaluation(value: Any) -> Evaluation:
    if not isinstance(value, dict):
        raise ConfigError("evaluation", value, expected="a mapping", then="Write evaluation: {problems: 512}.")
    known = [f.name for f in fields(Evaluation)]
    for key in value:
        if key not in known:
            raise ConfigError("evaluation", key, expected="one of its fields", then=nearest(key, known))
    counts = {
        name: _count(f"{name} of the evaluation", value.get(name, getattr(Evaluation, name)))
        for name in ("problems", "during", "points", "pass_problems")
    }
    if "during" not in value:
        counts["during"] = min(Evaluation.during, counts["problems"])
    pass_k = _numbers("pass_k of the evaluation", value.get("pass_k"), whole=True)
    evaluation = Evaluation(**counts, pass_k=tuple(sorted(pass_k)), sets=_mappings("sets of the evaluation", value.get("sets")))
    if not 1 <= evaluation.during <= evaluation.problems:
        raise ConfigError(
            "during of the evaluation", evaluation.during, expected=f"1 to {evaluation.problems}, its problems", then="Lower it."
        )
    return evaluation


def _number(what: str, value: Any, example: str = "30000") -> float:
    """A finite number, from YAML's text as well: 1e5 is one to everybody but YAML 1.1."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ConfigError(what, value, expected="a number", then=f"Write it like {example}.")
    return number


def _count(what: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(
            what, value, expected="a whole number, 1 or more", then="Write it like 8, or leave it out for its default."
        )
    return value


def _numbers(what: str, value: Any, whole: bool = False) -> tuple[Any, ...]:
    if value is None:
        return ()
    example = "8" if whole else "0.5"
    if not isinstance(value, list):
        raise ConfigError(what, value, expected="a list of numbers", then=f"Write it in brackets: [{example}].")
    return tuple(_count(what, v) if whole else _number(what, v, example) for v in value)


def _mappings(what: str, value: Any) -> dict[str, Mapping[str, Any]]:
    """Names, each with the fields that it changes."""
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(fields_ is None or isinstance(fields_, dict) for fields_ in value.values()):
        raise ConfigError(what, value, expected="names, each with its fields", then="Write it like {longer: {task_steps: [12]}}.")
    return {str(name): fields_ or {} for name, fields_ in value.items()}


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
    if legs is not None and (not isinstance(legs, list) or not all(isinstance(leg, dict) for leg in legs)):
        raise ConfigError(
            f"stages of arm {name!r}",
            legs,
            expected="a list of stages, each a mapping of fields",
            then="Write stages: [{method: sft, share: 0.2}, {preset: grpo}].",
        )
    stages = []
    for leg in legs if legs is not None else [arm]:
        leg = dict(leg)
        method, share = leg.pop("method", "rl"), leg.pop("share", None)
        if method not in METHODS:
            raise ConfigError(
                f"method of arm {name!r}", method, expected=f"one of {', '.join(METHODS)}", then="Leave it out for rl."
            )
        stages.append((method, leg, None if share is None else _number(f"share of a stage of arm {name!r}", share, "0.2")))
    # Stages without a share divide evenly what the others leave.
    taken = sum(s for _, _, s in stages if s is not None)
    open_ = sum(s is None for _, _, s in stages)
    if (
        not stages
        or any(s is not None and not 0 < s <= 1 for _, _, s in stages)
        or (taken >= 1 if open_ else abs(taken - 1) > 1e-9)
    ):
        raise ConfigError(
            f"shares of arm {name!r}",
            [s for _, _, s in stages],
            expected="shares of the budget that add up to 1",
            then="Leave one stage's share out: it gets the rest.",
        )
    if stages[-1][0] == "harvest" or any(m == "harvest" for m, *_ in stages[1:]):
        raise ConfigError(
            f"stages of arm {name!r}",
            "harvest",
            expected="it first, and a stage after it that learns from what was harvested",
            then="Write stages: [{method: harvest, share: 0.3}, {preset: prefix-rl}].",
        )
    made = tuple(Stage(m, f, s if s is not None else (1 - taken) / open_) for m, f, s in stages)
    return made, meaning or " → ".join(_told(stage, len(made) > 1) for stage in made)


def _told(stage: Stage, several: bool) -> str:
    changes = [f"{k}={v}" for k, v in stage.fields.items() if k != "preset"]
    name = WORDS.get(stage.method) or str(stage.fields.get("preset", "rl"))
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
                    raise ConfigError(
                        f"arm {name!r}",
                        field,
                        expected="fields in which arms may differ: " + ", ".join(experiment.treatment),
                        then="The comparison sets it itself."
                        if field in OWNED
                        else "Move it to `shared`, or declare it: treatment: [" + field + "].",
                    )
    for part in (experiment.shared, *experiment.tasks.values()):
        for field in part or {}:
            if field in OWNED:
                raise ConfigError(
                    "shared of the experiment",
                    field,
                    expected="fields other than " + ", ".join(OWNED),
                    then="The comparison sets it: see seeds and budget.",
                )


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
                    raise ConfigError(
                        f"arm {name!r} on task {task!r}: {error.what}", error.value, expected=error.expected, then=error.then
                    ) from error
        trained = resolve({**base, "output_dir": "unused", "preset": "grpo"}).data
        for name, extra in {f"task {task!r}": {}, **experiment.evaluation.sets}.items():
            try:
                data = resolve({**base, **(extra or {}), "output_dir": "unused", "preset": "grpo"}).data
                _check_held_out(data, trained)
                if data.task is not None:  # quickly drawn; a data set is opened by the first run
                    replace(data, task_size=max(2, data.trace_limit or 0, data.few_shot + 1)).problems("test")
            except ConfigError as error:
                raise ConfigError(
                    f"held-out set {name}: {error.what}", error.value, expected=error.expected, then=error.then
                ) from error


def _check_held_out(data: DataConfig, trained: DataConfig) -> None:
    """Held-out problems are those of the split `test`. A single file has no splits: whatever is asked of it is all of it."""

    def place(of: DataConfig) -> tuple[Any, ...]:
        return of.task, of.task_steps if of.task else None, of.dataset_name, of.dataset_path, of.dataset_config

    one_file = data.dataset_path is not None and Path(os.path.expandvars(data.dataset_path)).is_file()
    if place(data) != place(trained) or not (one_file or trained.dataset_split == "test"):
        return
    if one_file:
        raise ConfigError(
            "dataset_path",
            data.dataset_path,
            expected="a folder with a file train and a file test: a single file would be trained on and be the held-out set, too",
            then="Split it, say into mine/train.csv and mine/test.csv, and write dataset_path: mine.",
        )
    raise ConfigError(
        "dataset_split",
        trained.dataset_split,
        expected="another split than test, whose problems are the held-out ones",
        then="Leave it out to train on train.",
    )


def stage_recipe(base: Mapping[str, Any], stage: Stage, *, seed: int, output_dir: str, **more: Any) -> Any:
    """What `train` (rl), `train_sft`, `train_sdft` or `run_harvest` takes."""
    values = {**base, **stage.fields, "seed": seed, "output_dir": output_dir, **more}
    return {"sft": resolve_sft, "sdft": resolve_sdft}.get(stage.method, resolve)(values)


def names(runs: Sequence[RunSpec]) -> list[str]:
    """Arms in the order of the file."""
    return list(dict.fromkeys(r.arm for r in runs))
