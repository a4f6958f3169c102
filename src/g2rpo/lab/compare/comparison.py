"""`g2rpo compare`: from an experiment file to `comparison.json`, and the findings in words. No figure without its interval."""

import json
import os
import statistics
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from g2rpo.io import write_text
from g2rpo.lab.compare import reliability
from g2rpo.lab.compare.arm_run import mean
from g2rpo.lab.compare.experiment import BASE, Experiment
from g2rpo.lab.compare.live_table import Progress
from g2rpo.lab.compare.pool import run_all
from g2rpo.lab.compare.seed_statistics import (
    accuracy_interval,
    difference_interval,
    iqm_interval,
    probability_of_improvement,
    spent_to_reach,
)
from g2rpo.lab.compare.spec import RunResult
from g2rpo.lab.compare.treatment import check_runs
from g2rpo.processor import slow_bf16

RUNS, FILE = "runs", "comparison.json"
FEW_SEEDS = 5
UNITS = {"sampled_tokens": "sampled tokens", "trained_tokens": "trained tokens", "wall_s": "seconds of training"}


def compare(experiment: Experiment, output: Path, *, jobs: int = 0, other_code: str = "refuse") -> dict[str, Any]:
    """Runs what is not done yet, checks that the arms may be compared, and writes `comparison.json`.

    Raises:
        RunError: a run failed, the runs differ in more than the declared treatment, or one did not spend its budget.
    """
    from rich.console import Console

    console = Console(highlight=False)
    specs = experiment.runs()
    if experiment.question:
        console.print(experiment.question)
    device = "cuda" if torch.cuda.is_available() and not experiment.shared.get("use_cpu") else "cpu"
    if warning := slow_bf16(experiment.shared.get("bf16") is True, device):
        console.print(warning, style="bold")
    console.print(f"{len(specs)} runs of {_told(experiment)} each. Held-out accuracy, never guided:")
    results = run_all(specs, output / RUNS, jobs or os.cpu_count() or 1, Progress(specs, console), other_code)
    check_runs(experiment, specs, results, output / RUNS)
    summary = summarise(experiment, results, output)
    write_text(output / FILE, as_text(summary) + "\n")
    print_tables(console, summary)
    return summary


def as_text(value: Any, depth: int = 0) -> str:
    """JSON with a line per arm: what is short, or deeper than an arm of a task, stays on one line."""
    flat = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    if not isinstance(value, dict | list) or len(flat) <= 120 or depth == 4:
        return flat
    if isinstance(value, dict):
        items = [f"{json.dumps(key, ensure_ascii=False)}:{as_text(inner, depth + 1)}" for key, inner in value.items()]
    else:
        items = [as_text(inner, depth + 1) for inner in value]
    return flat[0] + "\n" + ",\n".join(" " * (depth + 1) + item for item in items) + "\n" + " " * depth + flat[-1]


def _told(experiment: Experiment) -> str:
    return f"{experiment.budget.amount:,.0f} {UNITS[experiment.budget.kind]}"


def summarise(experiment: Experiment, results: Sequence[RunResult], output: Path) -> dict[str, Any]:
    """The content of `comparison.json`."""
    by_cell: dict[tuple[str, str], list[RunResult]] = {}
    for result in results:
        by_cell.setdefault((result.task, result.arm), []).append(result)
    folders = {(s.task, s.arm, s.seed): s.folder for s in experiment.runs()}
    tasks = {task: _task(experiment, task, by_cell, folders) for task in experiment.tasks}
    summary = {
        "name": experiment.name,
        "question": experiment.question,
        "budget": asdict(experiment.budget),
        "seeds": list(experiment.seeds),
        "evaluation": asdict(experiment.evaluation),
        "shared": dict(experiment.shared),
        "arms": {
            name: {"meaning": experiment.meanings[name], "stages": [asdict(s) for s in stages]}
            for name, stages in experiment.arms.items()
        },
        "treatment": list(experiment.treatment),
        "against": list(experiment.against),
        "definitions": DEFINITIONS | reliability.DEFINITIONS,
        "tasks": tasks,
        "overall": _overall(experiment, by_cell) if len(experiment.tasks) > 1 else None,
        "code": sorted({r.code for r in results}),
        "facts": _facts(experiment, results, output),
    }
    summary["findings"] = findings(summary)
    return summary


DEFINITIONS = {
    "accuracy": "mean over seeds of the share of held-out problems solved at the end, one sample each, never guided; 95 % "
    "interval by a "
    "bootstrap over seeds and, within them, problems (with one seed: Wilson, over problems alone)",
    "difference": "in accuracy, paired by problem; 95 % interval by a bootstrap over seeds and problems; not corrected for the "
    "number of comparisons",
    "iqm": "interquartile mean of the seeds' accuracies (arXiv 2108.13264), 95 % bootstrap interval over seeds",
    "improvement": (
        "chance that a run of the arm ends above a run of the other, ties counting half; 95 % bootstrap interval over seeds"
    ),
    "to reach": (
        "budget spent at the first evaluation at or above the accuracy: median over all seeds, none where half never reach it"
    ),
}


def _task(experiment: Experiment, task: str, by_cell: dict, folders: dict) -> dict[str, Any]:
    evaluation = experiment.evaluation
    base = by_cell[task, BASE][0]
    thresholds = dict.fromkeys(f"{t:g}" for t in experiment.thresholds)
    reach = {name: float(name) for name in thresholds}
    reach |= {f"final accuracy of {name}": mean([r.accuracy for r in by_cell[task, name]]) for name in experiment.against}
    arms = {}
    for name in experiment.arms:
        runs = by_cell[task, name]
        accuracy, interval = accuracy_interval([r.scores for r in runs])
        iqm, iqm_ci = iqm_interval([[r.accuracy for r in runs]])
        left, held, spent = [], [], {at: [] for at in reach}
        for r in runs:
            curve = [a for _, _, a in r.curve]
            left.append(
                name != BASE
                and reliability.took_off(base.accuracy, len(base.scores), curve, evaluation.during, r.accuracy, len(r.scores))
            )
            held.append(left[-1] and reliability.held_best(curve, evaluation.during, mean(r.scores[: evaluation.during])))
            for at, value in reach.items():
                whole = [(s, a) for s, _, a in r.curve] + [(r.spent[experiment.budget.kind], r.accuracy)]
                spent[at].append(spent_to_reach(whole, value) if name != BASE else None)
        arms[name] = {
            "runs": [folders[task, name, r.seed] for r in runs],
            "accuracy": accuracy,
            "ci95": list(interval),
            "accuracy_by_seed": [r.accuracy for r in runs],
            "scores_by_seed": [_digits(r.scores) for r in runs],
            "iqm": iqm,
            "iqm_ci95": list(iqm_ci) if iqm_ci else None,
            "greedy_accuracy_by_seed": [r.greedy_accuracy for r in runs],
            "took_off": left,
            "held_best": held,
            "to_reach": {
                at: {"accuracy": reach[at], "median": _median(values), "by_seed": values} for at, values in spent.items()
            },
            "pass_at": {
                k: {"mean": mean([r.pass_at[k] for r in runs]), "by_seed": [r.pass_at[k] for r in runs]} for k in base.pass_at
            },
            "sets": {held_out: _scored([r.sets[held_out] for r in runs]) for held_out in base.sets},
            "spent": {kind: [round(r.spent[kind], 1) for r in runs] for kind in UNITS},
            "stages": [[{**s, "spent": {k: round(v, 1) for k, v in s["spent"].items()}} for s in r.stages] for r in runs],
            "curves": [[[round(s, 1), n, a] for s, n, a in r.curve] for r in runs],
        }
    return {
        "settings": dict(experiment.tasks[task] or {}),
        "arms": arms,
        "differences": [
            _difference(by_cell[task, ours], by_cell[task, theirs])
            for theirs in experiment.against
            for ours in experiment.arms
            if ours not in (theirs, BASE)
            and (ours, theirs)
            not in {(a, b) for b in experiment.against for a in experiment.against[: experiment.against.index(b)]}
        ],
    }


def _digits(scores: list[float]) -> str | list[float]:
    """Scores per held-out problem, in order: one digit each where all are 0 or 1; intervals can be computed again."""
    return "".join(str(int(s)) for s in scores) if {*scores} <= {0.0, 1.0} else scores


def _scored(scores_by_seed: list[list[float]]) -> dict[str, Any]:
    accuracy, interval = accuracy_interval(scores_by_seed)
    return {"accuracy": accuracy, "ci95": list(interval), "accuracy_by_seed": [mean(s) for s in scores_by_seed]}


def _median(values: Sequence[float | None]) -> float | None:
    """None counts as never, which is later than any time."""
    middle = statistics.median([float("inf") if v is None else v for v in values])
    return None if middle == float("inf") else middle


def _difference(ours: list[RunResult], theirs: list[RunResult]) -> dict[str, Any]:
    points, interval = difference_interval([r.scores for r in ours], [r.scores for r in theirs])
    better, better_ci = probability_of_improvement([[r.accuracy for r in ours]], [[r.accuracy for r in theirs]])
    return {
        "ours": ours[0].arm,
        "theirs": theirs[0].arm,
        "difference": points,
        "ci95": list(interval),
        "improvement": better,
        "improvement_ci95": list(better_ci) if better_ci else None,
    }


def _overall(experiment: Experiment, by_cell: dict) -> dict[str, Any]:
    """Over all tasks: interquartile means, and chances of improvement."""

    def accuracies(arm: str) -> list[list[float]]:
        return [[r.accuracy for r in by_cell[task, arm]] for task in experiment.tasks]

    arms = {}
    for name in experiment.arms:
        iqm, interval = iqm_interval(accuracies(name))
        arms[name] = {"iqm": iqm, "iqm_ci95": list(interval) if interval else None}
    improvements = []
    for theirs in experiment.against:
        for ours in experiment.arms:
            if ours not in (theirs, BASE):
                value, interval = probability_of_improvement(accuracies(ours), accuracies(theirs))
                improvements.append(
                    {
                        "ours": ours,
                        "theirs": theirs,
                        "improvement": value,
                        "improvement_ci95": list(interval) if interval else None,
                    }
                )
    return {"arms": arms, "improvements": improvements}


def _facts(experiment: Experiment, results: Sequence[RunResult], output: Path) -> dict[str, Any]:
    """Versions and machine, from the manifest of a run."""
    specs = experiment.runs()
    for spec, result in zip(specs, results, strict=True):
        if result.stages:
            manifest = json.loads((output / RUNS / spec.folder / result.stages[0]["folder"] / "manifest.json").read_text())
            return {name: manifest[name] for name in ("g2rpo", "commit", "versions", "python", "machine", "problems")}
    return {}


def findings(summary: dict[str, Any]) -> list[str]:
    """Sentences drawn from the numbers, whatever they are; what speaks against our own default first."""
    count = len(summary["seeds"])
    sentences = []
    for task, block in summary["tasks"].items():
        where = f" on {task}" if len(summary["tasks"]) > 1 else ""
        for d in sorted(block["differences"], key=lambda d: d["difference"] if d["ours"] == "g2rpo" else 1):
            low, high = d["ci95"]
            verdict = "beats" if low > 0 else "loses to" if high < 0 else "cannot be told from"
            sentences.append(
                f"{d['ours']} {verdict} {d['theirs']}{where}: {100 * d['difference']:+.1f} points (95 % interval "
                f"{100 * low:+.1f} to {100 * high:+.1f})."
            )
    if count < FEW_SEEDS:
        few = "one seed stands" if count == 1 else f"{count} seeds stand"
        sentences.append(
            f"Only {few} behind each figure: whether a run takes off varies more between seeds than between some arms."
        )
    return sentences


def print_tables(console: Any, summary: dict[str, Any]) -> None:
    from rich.table import Table

    for task, block in summary["tasks"].items():
        table = Table(title=f"{task}: held-out accuracy, {summary['evaluation']['problems']} problems", title_justify="left")
        for column in ("arm", "accuracy", "95 % interval", "IQM", "took off", "held best", "by seed"):
            table.add_column(column, justify="left" if column == "arm" else "right", no_wrap=column == "arm")
        for name, arm in block["arms"].items():
            low, high = arm["ci95"]
            n = len(arm["took_off"])
            trained = name != BASE
            table.add_row(
                name,
                f"{arm['accuracy']:.1%}",
                f"{low:.1%} – {high:.1%}",
                f"{arm['iqm']:.1%}",
                f"{sum(arm['took_off'])}/{n}" if trained else "",
                f"{sum(arm['held_best'])}/{n}" if trained else "",
                " ".join(f"{100 * a:.0f}" for a in arm["accuracy_by_seed"]),
            )
        console.print(table)
    for sentence in summary["findings"]:
        console.print(f"• {sentence}")
