"""`g2rpo demo`: the built-in model, one sparse task, five arms at one budget, a page with the figures.

Every arm has the same base, problems, data order, optimizer and sampling temperature, the RL arms also batch and learning rate;
what differs is listed in `ARMS`. SFT samples nothing: its budget is the same number of tokens, learned instead of sampled.
"""

import json
import os
import time
from pathlib import Path
from typing import Any

from g2rpo.comparison.arm import ArmResult, ArmSpec
from g2rpo.comparison.pool import run_all
from g2rpo.statistics.seeds import accuracy_interval, difference_interval

TASK, STEPS = "chains", 9
BUDGET = 30_000
"""Tokens sampled per run."""
HELD_OUT = 512

SHARED: dict[str, Any] = {
    "task": TASK,
    "task_steps": [STEPS],
    "task_size": 2000,
    "rewards": ["exact"],
    "max_completion_length": 112,
    "temperature": 1.0,
    "num_generations": 8,
    "per_device_train_batch_size": 16,
    "learning_rate": 1.0e-4,
    "lr_scheduler_type": "constant",
    "max_steps": 400,
    "max_sampled_tokens": BUDGET,
    "use_cpu": True,
    "bf16": False,
    "report_to": "none",
    "save_strategy": "no",
    "rollouts_every": 5,
}

# The trace of such a problem has some 85 tokens: the paper's 3072 would always reveal all of it. Half the trace to begin with is
# in proportion to what the reproduction used on real data (384 of 768).
PAPER = {"initial_length": 42, "min_length": 1, "max_length": 84}
ARMS: dict[str, tuple[str, dict[str, Any]]] = {
    "base": ("base", {}),
    "grpo": ("rl", {"preset": "grpo"}),
    "g2rpo-a-paper": ("rl", {"preset": "g2rpo-a-paper", "beta": 0.0, "guidance_controller_kwargs": PAPER}),
    "g2rpo": ("rl", {"preset": "g2rpo"}),
    # Its own rate and batch, the best of a sweep (docs/log.md): an opponent should be strong.
    "sft": ("sft", {"learning_rate": 3.0e-4, "per_device_train_batch_size": 4}),
}
MEANING = {
    "base": "the built-in model as it is",
    "grpo": "plain GRPO, no guidance",
    "g2rpo-a-paper": "G²RPO-A as published (adaptive length, joint advantages, guidance in the loss)",
    "g2rpo": "our default (profile controller, stratified advantages, guidance masked)",
    "sft": "supervised fine-tuning on the same traces: the opponent to beat",
}


def specs(output: Path, seeds: int) -> list[ArmSpec]:
    """All runs, the long ones first."""
    return [
        ArmSpec(name, kind, seed, str(output / "runs" / f"{name}-seed{seed}"), {**SHARED, **fields}, held_out=HELD_OUT)
        for name, (kind, fields) in sorted(ARMS.items(), key=lambda arm: arm[1][0] != "rl")
        for seed in range(1 if kind == "base" else seeds)
    ]


def run_demo(output: Path, *, seeds: int = 1, jobs: int = 0) -> dict[str, Any]:
    """Runs what is not done yet, writes `demo.json`, and prints the table."""
    from rich.console import Console

    console, began = Console(highlight=False), time.monotonic()
    plan = specs(output, seeds)
    console.print(
        f"{len(plan)} runs: {TASK} of {STEPS} steps, {BUDGET:,} sampled tokens each. Held-out accuracy as they go, never guided:"
    )
    results = run_all(plan, jobs or os.cpu_count() or 1)
    summary = summarise(results, seeds)
    output.mkdir(parents=True, exist_ok=True)
    (output / "demo.json").write_text(json.dumps(summary, indent=2) + "\n")
    print_table(console, summary)
    console.print(f"\n{time.monotonic() - began:.0f} s. Rollouts: g2rpo show {output / 'runs' / 'g2rpo-seed0'}")
    return summary


def summarise(results: list[ArmResult], seeds: int) -> dict[str, Any]:
    """The content of `demo.json`."""
    arms: dict[str, Any] = {}
    by_name = {name: [r for r in results if r.name == name] for name in ARMS}
    for name, runs in by_name.items():
        accuracy, interval = accuracy_interval([r.scores for r in runs])
        arms[name] = {
            "accuracy": accuracy,
            "ci95": list(interval),
            "accuracy_by_seed": [r.accuracy for r in runs],
            "greedy_accuracy": sum(r.greedy_accuracy for r in runs) / len(runs),
            "sampled_tokens": [r.sampled_tokens for r in runs],
            "trained_tokens": [r.trained_tokens for r in runs],
            "steps": [r.steps for r in runs],
            "wall_s": [round(r.wall_s, 1) for r in runs],
            "curves": [r.curve for r in runs],
            "meaning": MEANING[name],
        }
    return {
        "task": TASK,
        "task_steps": STEPS,
        "held_out_problems": len(results[0].scores),
        "budget_sampled_tokens": BUDGET,
        "seeds": seeds,
        "arms": arms,
        "findings": findings(by_name),
    }


def findings(by_name: dict[str, list[ArmResult]]) -> list[str]:
    """Sentences drawn from the numbers, whatever they are."""

    def scores(name: str) -> list[list[float]]:
        return [r.scores for r in by_name[name]]

    seeds = len(by_name["grpo"])
    sentences = [
        f"{seeds} seed{'s stand' if seeds > 1 else ' stands'} behind each figure. "
        + (
            "One seed of one arm proves little: whether a run takes off varies more between seeds than between some arms. "
            if seeds < 5
            else ""
        )
        + "See docs/log.md for more seeds."
    ]
    for ours, theirs in (("g2rpo-a-paper", "grpo"), ("g2rpo", "grpo"), ("g2rpo", "g2rpo-a-paper"), ("g2rpo", "sft")):
        difference, (low, high) = difference_interval(scores(ours), scores(theirs))
        verdict = "beats" if low > 0 else "loses to" if high < 0 else "cannot be told from"
        sentences.append(
            f"{ours} {verdict} {theirs}: {100 * difference:+.1f} points (95 % interval {100 * low:+.1f} to {100 * high:+.1f})."
        )
    ours, sft = (sum(r.wall_s for r in by_name[name]) / len(by_name[name]) for name in ("g2rpo", "sft"))
    sentences.append(
        f"Tokens are not time: a run of g2rpo took {ours:.0f} s, one of sft {sft:.0f} s. At equal time see docs/log.md."
    )
    return sentences


def print_table(console: Any, summary: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table(
        title=f"Held-out accuracy, {summary['held_out_problems']} problems, at {summary['budget_sampled_tokens']:,} sampled tokens",
        title_justify="left",
    )
    for column in ("arm", "accuracy", "95 % interval", "by seed", "greedy", "seconds"):
        table.add_column(column, justify="left" if column == "arm" else "right", no_wrap=column == "arm")
    for name, arm in summary["arms"].items():
        low, high = arm["ci95"]
        seconds = sum(arm["wall_s"]) / len(arm["wall_s"])
        seeds = " ".join(f"{100 * a:.0f}" for a in arm["accuracy_by_seed"])
        table.add_row(
            name, f"{arm['accuracy']:.1%}", f"{low:.1%} – {high:.1%}", seeds, f"{arm['greedy_accuracy']:.1%}", f"{seconds:.0f}"
        )
    console.print(table)
    for name, arm in summary["arms"].items():
        console.print(f"  {name:<14} {arm['meaning']}")
    for sentence in summary["findings"]:
        console.print(f"• {sentence}")
