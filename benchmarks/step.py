"""A whole training step: `GuidedGRPOTrainer` against stock TRL's `GRPOTrainer` on the same rollouts.

    python -m benchmarks.step [CASE ...] [--quick] [--clock cpu] [--json FILE]
    python -m benchmarks.step --scaling

Both sides train the same random-weights model on the same prompts, rewards and seeds, unguided, with rollouts of scripted lengths
(`scripted.py`), each in a process of its own, step by step in turn (`sides.py`): a ratio compares steps that ran side by side. By
default ours draws what TRL draws; guided runs draw from a stream per row, which is cheaper (`--seeded`). Both count their phases
with the same clock (`g2rpo.training.run.phase_times`). Stock TRL runs with its defaults (gradient checkpointing on;
`--no-checkpointing` turns it off), both in the same precision (`--precision`), one thread each.

`ratio` is stock's median seconds over ours, above 1 where ours is faster; the interval (95 %) is a bootstrap over the pairs of
steps. `--scaling` fits seconds per step to the number of rollouts, and to sampled tokens with the longest row fixed.
"""

import argparse
import dataclasses
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.sides import SIDES, Case, Side, run, to_json
from g2rpo.training.run.phase_times import PHASES

SMOLLM2 = {"model": "smollm2-135m", "vocabulary": 49_152, "prompt": 64, "completion": 96, "lengths": "uneven", "pairs": 3}
CASES = (
    Case("sparse", dead=0.6, groups=10),
    Case("dense"),
    Case("even", lengths="even"),
    Case("uneven", lengths="uneven"),
    Case("long-prompts", prompt=512, completion=64, groups=4),
    Case("vocab-32k", vocabulary=32_768, groups=4, pairs=4),
    Case("vocab-152k", vocabulary=151_936, groups=2, completion=64, pairs=3),
    Case("model-25m", model="25m", groups=4, completion=64, pairs=3),
    Case("model-100m", model="100m", groups=2, completion=64, pairs=3),
    *(
        Case(f"smollm2-135m{name}{suffix}", **SMOLLM2, **changes, precision=precision)
        for precision, suffix in (("bf16", ""), ("fp32", "-fp32"))
        for name, changes in (("", {"groups": 4}), ("-sparse", {"groups": 5, "dead": 0.6}))
    ),
)
GPU = {"vocabulary": 49_152, "prompt": 128, "completion": 400, "lengths": "uneven", "groups": 8, "micro": 32, "precision": "bf16"}
CASES += (
    Case("gpu-135m", model="smollm2-135m", **GPU),
    Case("gpu-135m-sparse", model="smollm2-135m", dead=0.6, **GPU),
    Case("gpu-0.5b", model="0.5b", pairs=3, **GPU | {"vocabulary": 151_936, "micro": 16}),
)
QUICK = {"groups": 2, "completion": 32, "pairs": 2}
ROLLOUTS = (2, 4, 8, 12)
"""Groups per step of the first scaling fit, 8 rollouts each."""
TOKENS = (8, 24, 48, 72, 98)
"""Length named by all groups but one in the second; that one has the longest row."""


@dataclass(frozen=True)
class Ratio:
    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def ratio(stock: Sequence[float], ours: Sequence[float], draws: int = 2000) -> Ratio | None:
    """Ratio of medians with its 95 % percentile interval over resampled pairs; None where ours takes no time."""
    if not median(ours):
        return None
    chosen = np.random.default_rng(0).integers(len(ours), size=(draws, len(ours)))
    drawn = np.median(np.asarray(stock)[chosen], axis=1) / np.median(np.asarray(ours)[chosen], axis=1)
    return Ratio(median(stock) / median(ours), *np.quantile(drawn, [0.025, 0.975]).tolist())


def summary(found: dict[str, Side]) -> dict[str, Any]:
    """Medians per side, and stock's over ours."""
    said: dict[str, Any] = {}
    for name, side in found.items():
        said[name] = {
            "step_s": median(s.total for s in side.steps),
            "phases_s": {phase: median(s.seconds[phase] for s in side.steps) for phase in PHASES},
            "tokens": median(s.tokens for s in side.steps),
            "longest": max(s.longest for s in side.steps),
            "tokens_per_s": sum(s.tokens for s in side.steps) / sum(s.total for s in side.steps),
            "peak_mib": side.peak_mib,
        }
    if set(SIDES) <= set(found):
        stock, ours = found["stock"].steps, found["ours"].steps
        said["ratio"] = {"step": ratio([s.total for s in stock], [s.total for s in ours])}
        for phase in ("decode", "update"):
            said["ratio"][phase] = ratio([s.seconds[phase] for s in stock], [s.seconds[phase] for s in ours])
        said["peak_ratio"] = found["stock"].peak_mib / found["ours"].peak_mib
    return said


def table(summaries: dict[str, dict[str, Any]]) -> Table:
    """Two lines per case: stock, ours; the ratios beside them."""
    shown = Table(title="seconds per step, medians")
    for column in ("case", "side", "step", *PHASES, "tokens", "tokens/s", "peak MiB"):
        shown.add_column(column, justify="left" if column in ("case", "side") else "right")
    for name, said in summaries.items():
        for side in SIDES:
            one = said[side]
            phases = (f"{one['phases_s'][phase]:.3f}" for phase in PHASES)
            cells = [
                f"{one['step_s']:.3f}",
                *phases,
                f"{one['tokens']:.0f}",
                f"{one['tokens_per_s']:.0f}",
                f"{one['peak_mib']:.0f}",
            ]
            shown.add_row(name if side == SIDES[0] else "", side, *cells)
        ratios = {key: str(value) if value else "" for key, value in said["ratio"].items()}
        cells = [ratios["step"], ratios["decode"], "", "", ratios["update"], "", "", "", f"{said['peak_ratio']:.2f}"]
        shown.add_row("", "ratio", *cells, style="bold", end_section=True)
    return shown


@dataclass(frozen=True)
class Line:
    """seconds = base + slope x, and the share of the variance that it explains."""

    base: float
    slope: float
    r2: float


def fit(x: Sequence[float], y: Sequence[float]) -> Line:
    slope, base = np.polyfit(x, y, 1)
    rest = np.asarray(y) - (base + slope * np.asarray(x))
    return Line(float(base), float(slope), 1.0 - float(rest.var() / np.var(y)))


def scaling(base: Case, console: Console) -> dict[str, Any]:
    """Fits of seconds per step to rollouts, and to sampled tokens at a fixed longest row."""
    groups = 8
    longest = round(base.completion / 1.3)
    series = {
        "rollouts": [replace(base, name=f"{8 * g} rollouts", groups=g) for g in ROLLOUTS],
        "tokens": [replace(base, name=f"rows near {n}", groups=groups, lengths=(longest, *[n] * (groups - 1))) for n in TOKENS],
    }
    results: dict[str, Any] = {}
    for name, cases in series.items():
        points = []
        for case in cases:
            console.print(f"{name}: {case.name} …", style="dim")
            points.append(summary(run(case)))
        shown = Table(title=f"seconds per step against {name}")
        for column in (name, "longest row", "stock", "ours"):
            shown.add_column(column, justify="right")
        x = [c.rollouts if name == "rollouts" else p["ours"]["tokens"] for c, p in zip(cases, points, strict=True)]
        for at, point in zip(x, points, strict=True):
            shown.add_row(f"{at:.0f}", str(point["ours"]["longest"]), *(f"{point[side]['step_s']:.3f}" for side in SIDES))
        lines = {side: fit(x, [p[side]["step_s"] for p in points]) for side in SIDES}
        console.print(shown)
        for side, line in lines.items():
            console.print(f"{side}: {line.base:.3f} s + {1000 * line.slope:.3f} ms per {name[:-1]}, R² {line.r2:.3f}")
        results[name] = {"x": x, "points": points, "fit": {side: dataclasses.asdict(line) for side, line in lines.items()}}
    return results


def machine() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "versions": {name: version(name) for name in ("torch", "transformers", "trl")},
    }


def main(arguments: Sequence[str] | None = None) -> None:
    known = {case.name: case for case in CASES}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", nargs="*", choices=[[], *known], help=f"which; all by default: {', '.join(known)}")
    parser.add_argument("--scaling", action="store_true", help="fit the cost of a step instead")
    parser.add_argument("--quick", action="store_true", help="small steps, two pairs: to see that it runs")
    parser.add_argument("--no-checkpointing", action="store_true", help="stock TRL without its default gradient checkpointing")
    parser.add_argument("--seeded", action="store_true", help="ours draws as guided runs do: same distribution, not TRL's draws")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="cpu: processor time, for a busy machine")
    parser.add_argument("--json", type=Path, help="where to write every measured step")
    for field in ("model", "vocabulary", "prompt", "completion", "lengths", "dead", "groups", "micro", "pairs", "precision"):
        kind = next(f.type for f in dataclasses.fields(Case) if f.name == field)
        parser.add_argument(f"--{field}", type=kind if kind in (int, float) else str, help="overrides the cases'")
    options = parser.parse_args(arguments)
    changes = {**QUICK} if options.quick else {}
    changes |= {f.name: v for f in dataclasses.fields(Case) if (v := getattr(options, f.name, None)) is not None}
    changes |= {"checkpointing": not options.no_checkpointing, "seeded": options.seeded}
    console = Console(width=max(130, Console().width))  # the table needs it, wherever it goes
    result: dict[str, Any] = {"machine": machine()}
    if options.scaling:
        result["scaling"] = scaling(replace(known["dense"], **changes), console)
    else:
        summaries, result["cases"] = {}, []
        for name in options.case or (name for name in known if not name.startswith("gpu-")):
            console.print(f"{name} …", style="dim")
            case = replace(known[name], **changes)
            found = run(case)
            summaries[name] = summary(found)
            result["cases"].append({**to_json(case, found), "summary": summaries[name]})
            if options.json:
                write(options.json, result)
        console.print(table(summaries))
    if options.json:
        write(options.json, result)


def write(path: Path, result: dict[str, Any]) -> None:
    path.write_text(json.dumps(result, indent=1, default=dataclasses.asdict) + "\n")


if __name__ == "__main__":
    main()
