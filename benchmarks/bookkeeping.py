"""Share of a training step that guidance bookkeeping, statistics and the run record take.

    python -m benchmarks.bookkeeping [--steps 12] [--json FILE]

Trains the built-in model with the default method and times, inside the same run: planning the prefixes, closing the generation
batch (gathering, advantages, statistics, controller), and writing steps and rollouts. Printed: median milliseconds per step and
share.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections import defaultdict

from g2rpo.lab.demo import EXPERIMENT
from g2rpo.method.planner import Planner
from g2rpo.training.run import train as training_run
from g2rpo.training.run.callbacks import RecordSteps
from g2rpo.training.run.recipe import read_yaml, resolve
from g2rpo.training.run.run_directory import RunDirectory
from g2rpo.training.trainer import GuidedGRPOTrainer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--json")
    options = parser.parse_args()
    spent: dict[str, float] = defaultdict(float)

    def timed(owner, name: str, label: str) -> None:
        original = getattr(owner, name)

        def wrapper(*args, **kwargs):
            began = time.perf_counter()
            try:
                return original(*args, **kwargs)
            finally:
                spent[label] += time.perf_counter() - began

        setattr(owner, name, wrapper)

    timed(Planner, "start", "plan prefixes")
    timed(GuidedGRPOTrainer, "_close_round", "close a round: advantages, outcomes")
    timed(GuidedGRPOTrainer, "_close_generation", "close generation batch, rollouts written")
    timed(RecordSteps, "on_log", "write steps.jsonl")
    timed(RunDirectory, "write_rollouts", "of which: rollouts as Parquet")
    steps: list[dict[str, float]] = []

    class Meter(training_run.TrainerCallback):
        def on_step_begin(self, args, state, control, **kwargs):
            spent.clear()
            self.began = time.perf_counter()

        def on_step_end(self, args, state, control, **kwargs):
            steps.append({"step": time.perf_counter() - self.began})

        def on_log(self, args, state, control, logs=None, **kwargs):
            if "loss" in logs:
                steps[-1].update(spent)

    fields = {
        **read_yaml(EXPERIMENT)["shared"],
        "preset": "g2rpo",
        "max_steps": options.steps,
        "rollouts_every": 1,
        "report_to": "none",
    }
    with tempfile.TemporaryDirectory() as folder:
        training_run.train(resolve({**fields, "output_dir": folder}), quiet=True, callbacks=[lambda trainer: Meter()])
    steps = steps[2:]
    total = statistics.median(s["step"] for s in steps)
    table = {"step": total}
    for label in (
        "plan prefixes",
        "close generation batch, rollouts written",
        "of which: rollouts as Parquet",
        "write steps.jsonl",
    ):
        table[label] = statistics.median(s.get(label, 0.0) for s in steps)
    ours = table["plan prefixes"] + table["close generation batch, rollouts written"] + table["write steps.jsonl"]
    for label, seconds in table.items():
        print(f"{label:<44} {1000 * seconds:9.2f} ms  {seconds / total:7.2%}")
    print(f"{'bookkeeping together':<44} {1000 * ours:9.2f} ms  {ours / total:7.2%}")
    if options.json:
        with open(options.json, "w") as file:
            json.dump({**table, "share": ours / total, "steps": len(steps)}, file, indent=2)


if __name__ == "__main__":
    main()
