"""Do the arms differ in the declared treatment alone? Judged by what the runs wrote down themselves, not by what was asked
for."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from g2rpo.errors import RunError
from g2rpo.lab.compare.experiment import OWNED, Experiment, treated
from g2rpo.lab.compare.spec import RunResult, RunSpec

PLACES = {"output_dir", "logging_dir", "run_name", "hub_model_id", "model_name_or_path", "model_init_kwargs", "preset", *OWNED}
"""What differs by its nature: where a run is written, its seed and budget, and the weights a later stage starts from."""
ORIGIN = ("versions", "python", "g2rpo")
FOLLOWS = {
    "per_device_train_batch_size": ("generation_batch_size",),
    "gradient_accumulation_steps": ("generation_batch_size",),
    "curriculum": ("shuffle_dataset",),
    "guidance_controller": ("guidance_ratio", "guidance_warm_start"),
}
"""Settings that are derived: whoever declares the one has changed the other."""
ALWAYS_MATTER = {"guidance_controller", "guidance_seeded_sampling", "guidance_style", "guidance_reward"}
"""Of the guidance settings; the others do nothing in a run that is not guided."""
DATA_FIELDS = {"trace_limit", "trace_noise", "trace_style"}
DATA_PLACE = {"task", "dataset_path"}
"""Where the problems are; only a harvest may change it."""


def check_runs(experiment: Experiment, specs: Sequence[RunSpec], results: Sequence[RunResult], root: Path) -> None:
    """Compares the settings, versions, data and held-out problems of all runs of a task.

    Raises:
        RunError: names the first thing that differs without being a declared treatment, or a run that has not spent its budget.
    """
    for task in experiment.tasks:
        seen: dict[str, tuple[str, Any]] = {}
        for spec, result in zip(specs, results, strict=True):
            if spec.task != task:
                continue
            who = f"arm {spec.arm!r}, seed {spec.seed}"
            _same(seen, "held-out problems", result.held_out_digest, who)
            if spec.stages and result.spent[spec.budget.kind] < spec.budget.amount:
                raise RunError(
                    f"{spec.budget.kind} of {who} on {task!r}",
                    result.spent[spec.budget.kind],
                    expected=f"the whole budget, {spec.budget.amount:g}",
                    then="It ran out of steps first: raise max_steps.",
                )
            own_data = False
            for stage, made in zip(spec.stages, result.stages, strict=True):
                if stage.method == "harvest":  # what follows learns from its problems
                    own_data = True
                    continue
                facts, settings = _read(root / spec.folder / made["folder"])
                own = treated(stage.fields) | PLACES | (DATA_PLACE if own_data else set())
                own |= {derived for name in own & FOLLOWS.keys() for derived in FOLLOWS[name]}
                for name in ORIGIN:
                    _same(seen, name, facts[name], who)
                if not own_data:
                    _same(seen, "questions", facts["questions_digest"], who)
                if not own & (DATA_FIELDS | DATA_PLACE):
                    _same(seen, "data", facts["data_digest"], who)
                idle = settings.get("guidance_controller") == "none"
                for name, value in settings.items():
                    if name not in own and not (idle and name.startswith("guidance_") and name not in ALWAYS_MATTER):
                        # The two methods have settings of their own; the experiment's are common to both.
                        kind = "setting" if name in spec.base else f"setting of {made['method']}"
                        _same(seen, f"{kind} {name}", value, who)


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    facts = json.loads((folder / "manifest.json").read_text())
    resolved = json.loads((folder / "resolved.json").read_text())
    return facts, {name: value for part in resolved.values() for name, value in part.items()}


def _same(seen: dict[str, tuple[str, Any]], what: str, value: Any, who: str) -> None:
    first, known = seen.setdefault(what, (who, value))
    if known != value:
        raise RunError(
            f"{what} of {who}",
            value,
            expected=f"{known!r}, as in {first}: arms may differ in the declared treatment alone",
            then="Declare it in `treatment`, or run the comparison again in a new folder.",
        )
