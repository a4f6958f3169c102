"""Decoding: the loop of `g2rpo.sampling` against `model.generate`, the same prompts, the same lengths.

    python -m benchmarks.decode [CASE ...] [--rounds 5] [--clock cpu] [--json FILE]

Both sides take turns in one process, round by round. The model has random weights and the tokens carry the lengths (`scripted.py`), so
both sample as many. `ratio` is generate's median seconds over ours; `generate` draws from torch's generator, and so do we in `unseeded`
(same tokens, whose race is drawn for finished rows too), while `seeded` gives each row its own stream. `useful` is the share of rows times
longest row that was asked for: 1 / useful is what leaving finished rows out can gain where a step's cost is proportional to its rows.
"""

import argparse
import json
import time
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from transformers import GenerationConfig, PreTrainedModel

from benchmarks import scripted
from g2rpo.sampling.sample import sample_rows

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


@dataclass(frozen=True)
class Case:
    """`groups` prompts of `prompt` tokens, 8 rows each, of at most `longest` tokens."""

    name: str
    lengths: str = "uneven"
    groups: int = 8
    prompt: int = 64
    longest: int = 128
    vocabulary: int = 2048
    model: str = "1m"


CASES = (
    Case("uneven"),
    Case("uneven-16-rows", groups=2),
    Case("even", "even"),
    Case("long-prompts", prompt=512, longest=64),
    Case("vocab-32k", vocabulary=32_768, groups=4, longest=64),
    Case("vocab-152k", vocabulary=151_936, groups=2, longest=32),
    Case("model-25m", model="25m", groups=4, longest=64),
)


def prompts_of(case: Case, layout: scripted.Layout) -> list[list[int]]:
    """Each group's prompt, 8 times."""
    generator = torch.Generator().manual_seed(0)
    made = []
    for length in scripted.lengths(case.lengths, case.groups, case.longest):
        words = torch.randint(layout.filler, layout.vocabulary, (case.prompt - 1,), generator=generator).tolist()
        made += [[*words, layout.name(length)]] * 8
    return made


def measure(case: Case, rounds: int, clock: str) -> dict[str, Any]:
    """Seconds per round of each side, and the tokens they sampled."""
    layout = scripted.Layout(case.vocabulary, case.longest)
    spread = (1.0,) * 4 if case.lengths == "even" else scripted.SPREAD
    model: PreTrainedModel = scripted.model(case.model, layout, spread).eval()
    prompts, now = prompts_of(case, layout), CLOCKS[clock]
    config = GenerationConfig(do_sample=True, temperature=1.0)
    seconds: dict[str, list[float]] = {"generate": [], "unseeded": [], "seeded": []}
    sampled: dict[str, list[int]] = {}
    for _ in range(rounds):
        for side in seconds:
            torch.manual_seed(0)
            began = now()
            rows = sample_rows(
                model, prompts, [case.longest] * len(prompts), config, eos_ids=[scripted.EOS], pad_id=scripted.PAD,
                seeds=range(len(prompts)) if side == "seeded" else None, fast=side != "generate",
            )  # fmt: skip
            seconds[side].append(now() - began)
            sampled[side] = [len(row.ids) for row in rows]
    tokens = {side: sum(lengths) for side, lengths in sampled.items()}
    medians = {side: median(times) for side, times in seconds.items()}
    return {
        **asdict(case), "rounds": rounds, "clock": clock, "seconds": seconds, "tokens": tokens, "medians": medians,
        "useful": tokens["generate"] / (len(prompts) * max(sampled["generate"])),
        "ratio": {side: medians["generate"] / medians[side] for side in ("unseeded", "seeded")},
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", help=f"of {', '.join(c.name for c in CASES)}; all of them by default")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--clock", choices=CLOCKS, default="wall", help="cpu: the process's own time, for a machine that is shared"
    )
    parser.add_argument("--json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    chosen = [c for c in CASES if not options.cases or c.name in options.cases]
    table = Table(title=f"Decoding, medians of {options.rounds} rounds in turn, {options.clock} seconds", title_justify="left")
    for column in ("case", "rows", "tokens", "useful", "generate", "unseeded", "seeded", "ratio unseeded", "ratio seeded"):
        table.add_column(column, justify="left" if column == "case" else "right")
    results = []
    for case in chosen:
        results.append(r := measure(case, options.rounds, options.clock))
        table.add_row(
            case.name, str(8 * case.groups), str(r["tokens"]["generate"]), f"{r['useful']:.2f}",
            *(f"{r['medians'][side]:.3f}" for side in ("generate", "unseeded", "seeded")),
            f"{r['ratio']['unseeded']:.2f}", f"{r['ratio']['seeded']:.2f}",
        )  # fmt: skip
    Console(width=130).print(table)
    if options.json:
        with open(options.json, "w") as file:
            json.dump(results, file, indent=2)


if __name__ == "__main__":
    main()
