"""`g2rpo demo`: the experiment in `demo.yaml` (`real_demo.yaml` with a pretrained model), and its figures once more in short."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from g2rpo.lab.compare.comparison import compare
from g2rpo.lab.compare.experiment import read_experiment
from g2rpo.models import resolve_model
from g2rpo.processor import computes_bf16

EXPERIMENT = Path(__file__).with_name("demo.yaml")
PRETRAINED = Path(__file__).with_name("real_demo.yaml")


def run_demo(output: Path, *, seeds: int | None = None, jobs: int = 0, pretrained: bool = False) -> dict[str, Any]:
    """Runs what is not done yet; writes `comparison.json`, and `demo.json`, whose content is returned."""
    plan = read_experiment(PRETRAINED if pretrained else EXPERIMENT, seeds)
    if "bf16" in plan.shared and not computes_bf16():
        plan = replace(plan, shared={**plan.shared, "bf16": False})
    resolve_model(plan.shared.get("model_name_or_path", "builtin"))  # fetched or converted once, before the first run
    figures = in_short(compare(plan, output, jobs=jobs))
    (output / "demo.json").write_text(json.dumps(figures, indent=2) + "\n")
    return figures


def in_short(summary: dict[str, Any]) -> dict[str, Any]:
    """A comparison of one task: the budget and, per arm, held-out accuracy with its 95 % interval."""
    [(task, block)] = summary["tasks"].items()
    told = ("accuracy", "ci95", "accuracy_by_seed", "took_off", "held_best")
    return {
        "task": task,
        "task_steps": summary["shared"]["task_steps"],
        "budget_sampled_tokens": int(summary["budget"]["amount"]),
        "seeds": len(summary["seeds"]),
        "held_out_problems": summary["evaluation"]["problems"],
        "arms": {
            name: {
                **{key: arm[key] for key in told},
                "wall_s": arm["spent"]["wall_s"],
                "meaning": summary["arms"][name]["meaning"],
            }
            for name, arm in block["arms"].items()
        },
        "findings": summary["findings"],
    }
