"""Decoding: the loop of `g2rpo.sampling` against `model.generate`, the same prompts, the same lengths.

    python -m benchmarks.decode [CASE ...] [--rounds 5] [--clock cpu] [--json FILE]

All sides take turns in one process, round by round. The model has random weights and the tokens carry the lengths
(`scripted.py`), so all sample as many. `ratio` is generate's median seconds over ours; `generate` draws from torch's generator,
and so do we in `unseeded` (same tokens, whose race is drawn for finished rows too), while `seeded` gives each row its own stream.
`useful` is the share of rows times longest row that was asked for: 1 / useful is what leaving finished rows out can gain where a
step's cost is proportional to its rows. `products` is the share of the rate of large matrix products, measured in the same
rounds, at which `seeded` computes: the operations of its tokens and of each distinct prompt once, per second. `alone` is the
share of its time that the products of its steps take by themselves, with the same weights and as many rows in each step: with few
rows the weights are read from memory for little work, and products / alone is as near as any loop could come to the rate of large
ones. Where vLLM for processors is installed, it takes its turn, too (`vllm_side.py`).
"""

import argparse
import importlib.util
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from transformers import GenerationConfig, PreTrainedModel

from benchmarks import scripted
from benchmarks.limits import ROOF, Shape, product_rate, timed
from g2rpo.sampling.prepared import PreparedForward
from g2rpo.sampling.recognise import product_type, why_not_prepared
from g2rpo.sampling.sample import sample_rows

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
SMOLLM2 = {"vocabulary": 49_152, "model": "smollm2-135m", "groups": 4, "longest": 200, "precision": "bf16"}


@dataclass(frozen=True)
class Case:
    """`groups` prompts of `prompt` tokens, `rows` rows each, of at most `longest` tokens."""

    name: str
    lengths: str = "uneven"
    groups: int = 8
    rows: int = 8
    prompt: int = 64
    longest: int = 128
    vocabulary: int = 2048
    model: str = "1m"
    precision: str = "fp32"
    """fp32, bf16 (the weights), or autocast (float32 weights, products in bf16, as TRL trains by default)."""


CASES = (
    Case("uneven"),
    Case("uneven-16-rows", groups=2),
    Case("even", "even"),
    Case("long-prompts", prompt=512, longest=64),
    Case("vocab-32k", vocabulary=32_768, groups=4, longest=64),
    Case("vocab-152k", vocabulary=151_936, groups=2, longest=32),
    Case("model-25m", model="25m", groups=4, longest=64),
    Case("smollm2-135m", **SMOLLM2),
    Case("smollm2-135m-autocast", **SMOLLM2 | {"precision": "autocast"}),
    Case("smollm2-135m-fp32", **SMOLLM2 | {"precision": "fp32"}),
    Case("smollm2-135m-distinct", **SMOLLM2 | {"groups": 32, "rows": 1}),
)


def prompts_of(case: Case, layout: scripted.Layout) -> list[list[int]]:
    """Each group's prompt, as often as it has rows."""
    generator = torch.Generator().manual_seed(0)
    made = []
    for length in scripted.lengths(case.lengths, case.groups, case.longest):
        words = torch.randint(layout.filler, layout.vocabulary, (case.prompt - 1,), generator=generator).tolist()
        made += [[*words, layout.name(length)]] * case.rows
    return made


def model_of(case: Case, layout: scripted.Layout) -> PreTrainedModel:
    spread = (1.0,) * 4 if case.lengths == "even" else scripted.SPREAD
    model = scripted.model(case.model, layout, spread).eval()
    if case.precision == "bf16":
        return model.to(torch.bfloat16)
    if case.precision == "autocast":
        model.forward = torch.autocast(model.device.type, torch.bfloat16)(model.forward)
    return model


def operations(case: Case, lengths: list[int]) -> float:
    """Of sampling rows of these lengths, each distinct prompt computed once, but for its last token, which each row computes."""
    shape = Shape(*scripted.SIZES[case.model], case.vocabulary)
    prefill = case.groups * (case.prompt - 1) * (shape.decode_flops(1, case.prompt / 2) - 2 * shape.head)
    return prefill + sum(n * shape.decode_flops(1, case.prompt + n / 2) for n in lengths)


def alone(model: PreTrainedModel, lengths: list[int], clock: Callable[[], float]) -> float | None:
    """Seconds of the products alone in all steps of rows of these lengths; None for a model that has no prepared pass."""
    if why_not_prepared(model):
        return None
    forward = PreparedForward(model, product_type(model))
    layers = [x for layer in forward.layers for x in (layer.qkv, layer.out, layer.gate_up, layer.down)] + [forward.head.forward]
    steps = Counter(sum(length > step for length in lengths) for step in range(max(lengths)))
    seconds = 0.0
    with torch.inference_mode():
        for rows, count in steps.items():
            inputs = {n: torch.randn(rows, 1, n).to(forward.dtype) for n in {layer.inputs for layer in layers}}
            seconds += count * timed(lambda: [layer(inputs[layer.inputs]) for layer in layers], clock, at_least_s=0.0)  # noqa: B023
    return seconds


def measure(case: Case, rounds: int, clock: str, vllm: bool = False) -> dict[str, Any]:
    """Seconds per round of each side, and the tokens they sampled."""
    layout = scripted.Layout(case.vocabulary, case.longest)
    model, prompts, now = model_of(case, layout), prompts_of(case, layout), CLOCKS[clock]
    config = GenerationConfig(do_sample=True, temperature=1.0)

    def sampled(side: str) -> list[int]:
        torch.manual_seed(0)
        rows = sample_rows(
            model,
            prompts,
            [case.longest] * len(prompts),
            config,
            eos_ids=[scripted.EOS],
            pad_id=scripted.PAD,
            seeds=range(len(prompts)) if side == "seeded" else None,
            fast=side != "generate",
        )
        return [len(row.ids) for row in rows]

    sides: dict[str, Callable[[], list[int]]] = {s: lambda s=s: sampled(s) for s in ("generate", "unseeded", "seeded")}
    if vllm:
        from benchmarks.vllm_side import Engine

        engine = Engine(case, layout.vocabulary)
        lengths = sampled("seeded")  # its tokens carry no lengths: each row is given one
        sides["vllm"] = lambda: engine.sample(prompts, lengths)
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    lengths_of: dict[str, list[int]] = {}
    rates: list[float] = []
    by_themselves: list[float | None] = []
    square, kind = [(ROOF, ROOF, ROOF)], torch.float32 if case.precision == "fp32" else torch.bfloat16
    for _ in range(rounds):
        rates.append(product_rate(square, kind, now))
        for side, sample in sides.items():
            began = now()
            lengths_of[side] = sample()
            seconds[side].append(now() - began)
        by_themselves.append(alone(model, lengths_of["seeded"], now))
    tokens = {side: sum(lengths) for side, lengths in lengths_of.items()}
    medians = {side: median(times) for side, times in seconds.items()}
    return {
        **asdict(case),
        "rounds": rounds,
        "clock": clock,
        "seconds": seconds,
        "tokens": tokens,
        "medians": medians,
        "useful": tokens["generate"] / (len(prompts) * max(lengths_of["generate"])),
        "ratio": {side: medians["generate"] / medians[side] for side in sides if side != "generate"},
        "product_rates": rates,
        "products": operations(case, lengths_of["seeded"]) / medians["seeded"] / median(rates),
        "alone": None if None in by_themselves else median(by_themselves) / medians["seeded"],
    }


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
    vllm = importlib.util.find_spec("vllm") is not None and not torch.cuda.is_available()
    sides = ("generate", "unseeded", "seeded", *(("vllm",) if vllm else ()))
    chosen = [c for c in CASES if not options.cases or c.name in options.cases]
    table = Table(title=f"Decoding, medians of {options.rounds} rounds in turn, {options.clock} seconds", title_justify="left")
    for column in ("case", "rows", "tokens", "useful", *sides, *(f"ratio {side}" for side in sides[1:]), "products", "alone"):
        table.add_column(column, justify="left" if column == "case" else "right")
    results = []
    for case in chosen:
        results.append(r := measure(case, options.rounds, options.clock, vllm))
        if options.json:
            with open(options.json, "w") as file:
                json.dump(results, file, indent=2)
        table.add_row(
            case.name,
            str(case.rows * case.groups),
            str(r["tokens"]["generate"]),
            f"{r['useful']:.2f}",
            *(f"{r['medians'][side]:.3f}" for side in sides),
            *(f"{r['ratio'][side]:.2f}" for side in sides[1:]),
            f"{r['products']:.0%}",
            "" if r["alone"] is None else f"{r['alone']:.0%}",
        )
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
