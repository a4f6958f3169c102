"""What this machine can do, and how much of it decoding and the update reach.

    python -m benchmarks.limits [--models 1m 25m 100m] [--clock cpu] [--json FILE]

Measured first: the rate of large matrix products (fp32 and bf16, the roof that shares refer to), the rate at the shapes that the
model's layers have (training: a micro-batch of tokens; decoding: one token per row), and memory bandwidth (reading a tensor much
larger than the caches). Then a few steps of `GuidedGRPOTrainer` with rollouts of even length, so that every row works to the end.

    update   FLOPs of the tokens trained: 6 per weight of the layers and token, 6 per weight of the head and scored token,
             12 x layers x width x (positions seen) per token for attention; against fp32 products
    decode   the time that a step of the rows needs at least: its weights and cache read once at the measured bandwidth, or its
             2 FLOPs per weight and row at the measured rate, whichever is longer; against the time it took. What is missing is
             overhead: calls, sampling, cache upkeep
"""

import argparse
import dataclasses
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.scripted import SIZES
from benchmarks.sides import Case, run

ROOF = 2048
"""Side of the square product that stands for the machine."""
LARGE_BYTES = 512 * 1024**2
CASES = {
    "1m": Case("1m", lengths="even", groups=8, pairs=3),
    "25m": Case("25m", model="25m", lengths="even", groups=4, completion=64, pairs=3),
    "100m": Case("100m", model="100m", lengths="even", groups=2, completion=64, pairs=3),
}


@dataclass(frozen=True)
class Shape:
    """Sizes that the arithmetic needs, of the models in `scripted.py`."""

    hidden: int
    layers: int
    width: int
    key_heads: int
    vocabulary: int

    @property
    def products(self) -> list[tuple[int, int]]:
        """(in, out) of each weight matrix of one layer: query, key, value, output; gate, up, down."""
        inner, shared = self.hidden // 64 * 64, self.key_heads * 64
        return [
            (self.hidden, inner),
            (self.hidden, shared),
            (self.hidden, shared),
            (inner, self.hidden),
            (self.hidden, self.width),
            (self.hidden, self.width),
            (self.width, self.hidden),
        ]

    @property
    def weights(self) -> int:
        """Of the layers; the head has hidden x vocabulary more."""
        return self.layers * sum(a * b for a, b in self.products)

    @property
    def head(self) -> int:
        return self.hidden * self.vocabulary

    def update_flops(self, prompt: int, completion: int) -> float:
        """Forward and backward of one row. The last token is scored by nothing, the prompt's last scores the first of the
        completion."""
        tokens = prompt + completion
        attention = 12 * self.layers * (self.hidden // 64 * 64) * tokens * (tokens + 1) / 2
        return 6 * self.weights * tokens + 6 * self.head * completion + attention

    def decode_bytes(self, rows: int, seen: float) -> float:
        """Read by one step of fp32 decoding: all weights, and the keys and values of `seen` positions per row."""
        cache = 2 * self.layers * self.key_heads * 64 * seen * rows
        return 4 * (self.weights + self.head + cache)

    def decode_flops(self, rows: int, seen: float) -> float:
        return rows * (2 * (self.weights + self.head) + 4 * self.layers * (self.hidden // 64 * 64) * seen)


def timed(work: Callable[[], Any], clock: Callable[[], float], at_least_s: float = 0.3) -> float:
    """Median seconds of one call."""
    work()
    taken: list[float] = []
    while len(taken) < 3 or sum(taken) < at_least_s:
        began = clock()
        work()
        taken.append(clock() - began)
    return median(taken)


def product_rate(shapes: Sequence[tuple[int, int, int]], dtype: torch.dtype, clock: Callable[[], float]) -> float:
    """FLOP/s of products (rows, in) x (in, out), one after another."""
    flops = seconds = 0.0
    for m, k, n in shapes:
        a, b = torch.randn(m, k, dtype=dtype), torch.randn(n, k, dtype=dtype)
        seconds += timed(lambda a=a, b=b: torch.nn.functional.linear(a, b), clock)
        flops += 2 * m * k * n
    return flops / seconds


def bandwidth(clock: Callable[[], float]) -> float:
    """Bytes per second of reading a tensor that no cache holds."""
    large = torch.ones(LARGE_BYTES // 4)
    return LARGE_BYTES / timed(large.sum, clock)


def limits(size: str, case: Case, roof: float, read: float, clock: Callable[[], float]) -> dict[str, Any]:
    """Rates at the model's shapes, and the shares that a few measured steps reach."""
    shape = Shape(*SIZES[size], case.vocabulary)
    tokens = case.micro * (case.prompt + round(0.75 * case.completion))
    train = [(tokens, k, n) for k, n in shape.products]
    decode = [(case.rollouts, k, n) for k, n in [*shape.products * shape.layers, (shape.hidden, shape.vocabulary)]]
    rates = {
        "train_fp32": product_rate(train, torch.float32, clock),
        "train_bf16": product_rate(train, torch.bfloat16, clock),
        "decode_fp32": product_rate(decode[-8:], torch.float32, clock),
    }
    side = run(case, sides=("ours",))["ours"]
    shares = {"update": [], "update_at_shapes": [], "decode": []}
    for step in side.steps:
        length = step.tokens / case.rollouts  # all alike
        flops = case.rollouts * shape.update_flops(case.prompt, round(length))
        shares["update"].append(flops / step.seconds["update"] / roof)
        shares["update_at_shapes"].append(flops / step.seconds["update"] / rates["train_fp32"])
        seen = case.prompt + length / 2
        by_bytes = shape.decode_bytes(case.rollouts, seen) / read
        by_flops = shape.decode_flops(case.rollouts, seen) / rates["decode_fp32"]
        shares["decode"].append(length * max(by_bytes, by_flops) / step.seconds["decode"])
        bound = "bandwidth" if by_bytes > by_flops else "products"
    found = {name: median(values) for name, values in shares.items()}
    return {
        "parameters": shape.weights + shape.head,
        "rates": rates,
        "shares": found,
        "decode_bound": bound if found["decode"] > 0.5 else f"overhead, then {bound}",
        "update_s": median(s.seconds["update"] for s in side.steps),
        "decode_s": median(s.seconds["decode"] for s in side.steps),
        "case": dataclasses.asdict(case),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="cpu: processor time, for a busy machine")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    clock = {"wall": time.perf_counter, "cpu": time.process_time}[options.clock]
    console = Console(width=max(130, Console().width))
    square = [(ROOF, ROOF, ROOF)]
    result: dict[str, Any] = {
        "fp32_flops": product_rate(square, torch.float32, clock),
        "bf16_flops": product_rate(square, torch.bfloat16, clock),
        "read_bytes_per_s": bandwidth(clock),
        "models": {},
    }
    console.print(
        f"one thread: products {result['fp32_flops'] / 1e9:.0f} GFLOP/s in fp32, {result['bf16_flops'] / 1e9:.0f} in bf16; "
        f"reading {result['read_bytes_per_s'] / 1e9:.1f} GB/s"
    )
    shown = Table(title="GFLOP/s of products at the model's shapes; shares reached")
    for column in (
        "model",
        "parameters",
        "train fp32",
        "train bf16",
        "decode fp32",
        "update, of the roof",
        "update, at its shapes",
        "decode, of its limit",
        "decode bound by",
    ):
        shown.add_column(column, justify="right")
    for size in options.models:
        case = dataclasses.replace(CASES[size], clock=options.clock)
        # Again for each model: what else runs on the machine changes what it can do.
        roof, read = product_rate(square, torch.float32, clock), bandwidth(clock)
        found = limits(size, case, roof, read, clock)
        result["models"][size] = {**found, "fp32_flops": roof, "read_bytes_per_s": read}
        rates, shares = found["rates"], found["shares"]
        shown.add_row(
            size,
            f"{found['parameters'] / 1e6:.1f} M",
            *(f"{rates[k] / 1e9:.0f}" for k in ("train_fp32", "train_bf16", "decode_fp32")),
            *(f"{shares[k]:.0%}" for k in ("update", "update_at_shapes", "decode")),
            found["decode_bound"],
        )
    console.print(shown)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
