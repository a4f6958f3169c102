"""`g2rpo demo`: the experiment in `demo.yaml`, run like any other."""

from pathlib import Path
from typing import Any

from g2rpo.comparison.compare import compare
from g2rpo.comparison.experiment import read_experiment

EXPERIMENT = Path(__file__).with_name("demo.yaml")


def run_demo(output: Path, *, seeds: int | None = None, jobs: int = 0) -> dict[str, Any]:
    """Runs what is not done yet and writes `comparison.json`, whose content is returned."""
    return compare(read_experiment(EXPERIMENT, seeds), output, jobs=jobs)
