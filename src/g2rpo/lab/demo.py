"""`g2rpo demo`: the experiment in `demo.yaml`, run like any other, and its figures once more in short."""

import json
from pathlib import Path
from typing import Any

from g2rpo.lab.compare.comparison import compare
from g2rpo.lab.compare.experiment import read_experiment

EXPERIMENT = Path(__file__).with_name("demo.yaml")


def run_demo(output: Path, *, seeds: int | None = None, jobs: int = 0) -> dict[str, Any]:
    """Runs what is not done yet; writes `comparison.json`, and `demo.json`, whose content is returned."""
    figures = in_short(compare(read_experiment(EXPERIMENT, seeds), output, jobs=jobs))
    (output / "demo.json").write_text(json.dumps(figures, indent=2) + "\n")
    return figures


def in_short(summary: dict[str, Any]) -> dict[str, Any]:
    """A comparison of one task: the budget and, per arm, held-out accuracy with its 95 % interval."""
    [(task, block)] = summary["tasks"].items()
    told = ("accuracy", "ci95", "accuracy_by_seed", "left_ground", "held_best")
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
