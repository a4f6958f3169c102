"""The page of one run."""

import json
from collections.abc import Callable
from typing import Any

from g2rpo.errors import RunError
from g2rpo.lab.report.figures import Figure
from g2rpo.lab.report.page import Section, facts, figures, folded, page, table, text
from g2rpo.lab.report.rollouts import outcomes, sample
from g2rpo.lab.report.run_figures import run_figures
from g2rpo.training.run.run_directory import RunDirectory

MAIN_SETTINGS = (
    "model_name_or_path",
    "preset",
    "task",
    "task_steps",
    "dataset_name",
    "dataset_path",
    "rewards",
    "guidance_controller",
    "guidance_controller_kwargs",
    "guidance_ratio",
    "guidance_loss",
    "guidance_advantages",
    "num_generations",
    "generation_batch_size",
    "learning_rate",
    "beta",
    "loss_type",
    "temperature",
    "max_completion_length",
    "max_steps",
    "max_sampled_tokens",
    "seed",
)


def run_report(run: RunDirectory, decode: Callable | None) -> tuple[str, list[Figure]]:
    """The page and its figures."""
    steps = run.steps()
    drawn = run_figures(steps, outcomes(run))
    settings = settings_of(run)
    manifest = _read(run, "manifest.json")
    last = steps[-1]["metrics"] if steps else {}
    lead = f"{len(steps)} optimizer steps"
    if "guidance/tokens/sampled_total" in last:
        lead += f", {last['guidance/tokens/sampled_total']:,.0f} sampled tokens"
    if steps:
        lead += f", {steps[-1]['wall_s']:,.0f} s"
    sections = [
        Section("course", "Course of the run", figures(drawn)),
        Section("end", "Last step", _last(steps)),
        Section("rollouts", "Rollouts", note_on_rollouts(sample(run, decode))),
        Section("settings", "Settings", settings_html(settings)),
        Section("versions", "Versions", facts(versions(manifest))),
    ]
    return page(_title(run, settings), lead + ".", sections), drawn


def _title(run: RunDirectory, settings: dict[str, Any]) -> str:
    """What was done, on what; the folder's name tells runs of the same apart."""
    method = settings.get("preset") or settings.get("guidance_controller") or "Run"
    data = settings.get("task") or settings.get("dataset_name") or settings.get("dataset_path")
    return f"{method} on {data} ({run.path.resolve().name})" if data else f"{method} ({run.path.resolve().name})"


def settings_of(run: RunDirectory) -> dict[str, Any]:
    return {name: value for part in _read(run, "resolved.json").values() for name, value in part.items()}


def _read(run: RunDirectory, name: str) -> dict[str, Any]:
    try:
        return json.loads((run.path / name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(
            f"{name} of the run",
            str(run.path),
            expected=f"a file that g2rpo train wrote ({error})",
            then="Report on a whole run directory.",
        ) from error


def settings_html(settings: dict[str, Any]) -> str:
    """The ones that matter most at once, all of them folded."""
    main = {k: settings[k] for k in MAIN_SETTINGS if settings.get(k) is not None}
    return facts(main) + folded("All settings, as resolved", facts(dict(sorted(settings.items()))))


def versions(manifest: dict[str, Any]) -> dict[str, Any]:
    shown = {
        k: manifest[k] for k in ("g2rpo", "commit", "python", "machine", "problems", "data_digest") if manifest.get(k) is not None
    }
    return {**shown, **manifest.get("versions", {})}


def note_on_rollouts(body: str) -> str:
    return body and f"<p class=note>A sample. What was given is <mark>⟦marked⟧</mark>; the model wrote the rest.</p>{body}"


def _last(steps: list[dict[str, Any]]) -> str:
    if not steps:
        return ""
    rows = [(text(k), f"{v:.4g}") for k, v in sorted(steps[-1]["metrics"].items()) if isinstance(v, int | float)]
    return folded("All metrics of the last step", table(f"Step {steps[-1]['step']}", ("metric", "value"), rows))
