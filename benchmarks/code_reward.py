"""Share of a training step that the code reward takes, sandbox included.

    python -m benchmarks.code_reward [--model runs/programs-sft] [--steps 8] [--programs [--work N]] [--at-once] [--json FILE]

Trains with recipes/programs.yaml and times, inside the same run, each call of the reward (all rollouts of the step) and each step
(generation, rewards, loss, update). The first step is left out: it fills caches. Printed: median milliseconds and median share.
A model that writes no program makes the reward cheap: `--programs` grades in place of each completion the reference solution of
its problem, so that every rollout runs; `--work` makes each of them count to N first. Rows are graded while others still decode;
`--at-once` grades them when all have ended.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

from rlvr_graders.code import CodeReward

from g2rpo.training.run.recipe import read_yaml, resolve
from g2rpo.training.run.train import train
from g2rpo.training.trainer import GuidedGRPOTrainer

RECIPE = Path(__file__).parents[1] / "recipes" / "programs.yaml"


def measure(model: str, steps: int, programs: bool, work: int, at_once: bool) -> dict[str, float]:
    """Medians over the steps after the first, in milliseconds, and the share; with the verdicts that were given."""
    rewards: list[float] = []
    whole: list[float] = []
    graded, told, step = CodeReward.__call__, CodeReward.ahead, GuidedGRPOTrainer.training_step

    def solution(completion, tests):
        if not programs:
            return completion
        code = f"for _ in range({work}):\n    pass\n" * bool(work) + json.loads(tests)["solution"]
        return [{"role": "assistant", "content": f"```python\n{code}\n```"}]

    def told_solution(self, completion, tests, **columns):
        if not at_once:
            told(self, solution(completion, tests), tests)

    def timed_reward(self, completions, tests, **columns):
        completions = [solution(*pair) for pair in zip(completions, tests, strict=True)]
        began = time.perf_counter()
        scores = graded(self, completions, tests, **columns)
        rewards.append(time.perf_counter() - began)
        return scores

    def timed_step(self, *args, **kwargs):
        began = time.perf_counter()
        loss = step(self, *args, **kwargs)
        whole.append(time.perf_counter() - began)
        return loss

    CodeReward.__call__, CodeReward.ahead, GuidedGRPOTrainer.training_step = timed_reward, told_solution, timed_step
    try:
        with tempfile.TemporaryDirectory() as folder:
            flags = ["--model_name_or_path", model, "--max_steps", str(steps), "--output_dir", f"{folder}/run"]
            trainer = train(resolve(read_yaml(RECIPE), [*flags, "--disable_tqdm", "true"]), quiet=True)
    finally:
        CodeReward.__call__, CodeReward.ahead, GuidedGRPOTrainer.training_step = graded, told, step
    [func] = trainer.reward_funcs
    func.close()
    shares = [reward / one for reward, one in zip(rewards, whole, strict=True)][1:]
    return {
        "steps": len(shares),
        "rollouts_per_step": trainer.args.generation_batch_size,
        "step_ms": 1000 * statistics.median(whole[1:]),
        "reward_ms": 1000 * statistics.median(rewards[1:]),
        "share": statistics.median(shares),
        "share_max": max(shares),
        "verdicts": dict(func.counts),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="builtin")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--programs", action="store_true", help="grade the reference solutions, so that every rollout runs")
    parser.add_argument("--work", type=int, default=0, help="with --programs: what each counts to before it begins")
    parser.add_argument("--at-once", action="store_true", help="grade when all rows have ended")
    parser.add_argument("--json")
    options = parser.parse_args()
    found = measure(options.model, options.steps, options.programs, options.work, options.at_once)
    for name, value in found.items():
        print(f"{name:20} {value:.3f}" if isinstance(value, float) else f"{name:20} {value}")
    if options.json:
        Path(options.json).write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
