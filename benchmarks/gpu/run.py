"""Everything that needs a GPU, in one command that fits into a short loan.

    python -m benchmarks.gpu.run PART ... --seconds 500 --output FOLDER

Parts are run in the order given; each ends by itself or at the time that is left. What was finished by then is in FOLDER: a log
and figures per benchmark, and of experiments the results of the runs, without weights.

    tests            what only a CUDA device can show: recorded steps against single launches
    decode, step     the benchmarks of the same names at 135 M and 0.5 B shapes, bfloat16
    EXPERIMENT.yaml  an experiment of `g2rpo compare`, on the GPU; those that stand side by side in the command run side by side.
                     EXPERIMENT.yaml:3 takes three seeds, EXPERIMENT.yaml:3:grpo,sft these arms alone

`--rates-from SWEEP` gives every stage of an arm the learning rate at which its method did best in an experiment that has run
before, whose arms are called METHOD@RATE or METHOD@RATE,RATE; guided arms that it does not name take the rate of `g2rpo`, those
that begin with SFT the rates of `sft-then-grpo`.

`pack.sh` packs what the machine lacks, `stage.sh` unpacks it there.
"""

import argparse
import itertools
import json
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import yaml

PYTHON = [sys.executable, "-m"]
BENCHMARKS = {
    "tests": [*PYTHON, "pytest", "-q", "-p", "no:cacheprovider", "-o", "addopts=", "tests/semantics/test_graphed_decoding.py"],
    "decode": [*PYTHON, "benchmarks.decode", "smollm2-135m", "smollm2-135m-autocast", "smollm2-135m-distinct", "--rounds", "1"],
    "step": [*PYTHON, "benchmarks.step", "gpu-135m", "gpu-135m-sparse", "gpu-0.5b", "--seeded"],
}
SPARE_S = 25
"""Left for packing at the end."""
RESULTS = (
    "result.json",
    "spec.json",
    "log.txt",
    "comparison.json",
    "steps.jsonl",
    "manifest.json",
    "resolved.json",
    "phases.json",
)


def best_rates(sweep: Path) -> dict[str, list[float]]:
    """The rate of each stage of each method that ended best."""
    best: dict[str, tuple[float, list[float]]] = {}
    for file in sweep.rglob("result.json"):
        result = json.loads(file.read_text())
        method, _, rates = result["arm"].partition("@")
        accuracy = sum(result["scores"]) / len(result["scores"])
        if rates and accuracy > best.get(method, (-1.0, []))[0]:
            best[method] = accuracy, [float(rate) for rate in rates.split(",")]
    return {method: rates for method, (_, rates) in best.items()}


def on_gpu(experiment: Path, output: Path, arms: list[str], rates: dict[str, list[float]]) -> Path:
    """A copy of an experiment file that trains on the GPU, with these arms (all if none), at these rates."""
    plan = yaml.safe_load(experiment.read_text())
    plan["shared"]["use_cpu"] = False
    if arms:
        plan["arms"] = {name: arm for name, arm in plan["arms"].items() if name in arms}
        plan["against"] = [name for name in plan["against"] if name in arms]
    for name, arm in plan["arms"].items() if rates else ():
        stages = arm.get("stages", [arm])
        method = name if name in rates else "sft-then-grpo" if len(stages) > 1 else "g2rpo"
        for stage, rate in zip(stages, rates[method], strict=True):
            stage["learning_rate"] = rate
    copy = output / experiment.name
    copy.write_text(yaml.safe_dump(plan, sort_keys=False, allow_unicode=True))
    return copy


def run_together(commands: dict[str, list[str]], output: Path, seconds: float) -> None:
    """Runs commands side by side, each with a log, and ends them after so many seconds."""
    began = time.monotonic()
    running = {}
    for name, command in commands.items():
        with (output / f"{name}.log").open("w") as log:
            running[name] = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    for name, process in running.items():
        try:
            process.wait(max(1.0, began + seconds - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.terminate()  # a comparison ends its runs with itself
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
        print(f"{name}: {process.poll()} after {time.monotonic() - began:.0f} s", flush=True)
        print((output / f"{name}.log").read_text(errors="replace")[-1500:], flush=True)


def pack(runs: Path, output: Path) -> None:
    """What describes the runs, as one archive per experiment."""
    for experiment in sorted(p for p in runs.iterdir() if p.is_dir()):
        with tarfile.open(output / f"{experiment.name}.tar.xz", "w:xz") as archive:
            for file in experiment.rglob("*"):
                if file.name in RESULTS or (file.parent.name == "rollouts" and file == max(file.parent.iterdir())):
                    archive.add(file, file.relative_to(runs))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+")
    parser.add_argument("--seconds", type=float, default=500)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--runs", type=Path, default=Path("/tmp/g2rpo/runs"), help="where experiments run; on a large disk")
    parser.add_argument("--jobs", type=int, default=14, help="runs at a time, over all experiments that stand side by side")
    parser.add_argument("--each", type=float, default=120, help="seconds that one benchmark may take")
    parser.add_argument("--rates-from", metavar="SWEEP")
    options = parser.parse_args()
    deadline = time.monotonic() + options.seconds - SPARE_S
    options.output.mkdir(parents=True, exist_ok=True)
    options.runs.mkdir(parents=True, exist_ok=True)
    for benchmark, group in itertools.groupby(options.parts, lambda part: part in BENCHMARKS):
        parts = list(group)
        for part in parts if benchmark else []:
            figures = [] if part == "tests" else ["--json", str(options.output / f"{part}.json")]
            left = min(deadline - time.monotonic(), options.each)
            run_together({part: BENCHMARKS[part] + figures}, options.output, left)
        commands = {}
        for part in [] if benchmark else parts:
            name, seeds, arms, *_ = [*part.split(":"), "", ""]
            rates = best_rates(options.runs / options.rates_from) if options.rates_from else {}
            file = on_gpu(Path(name), options.output, arms.split(",") if arms else [], rates)
            commands[file.stem] = [
                *[*PYTHON, "g2rpo", "compare", str(file), "--output", str(options.runs / file.stem)],
                *["--jobs", str(max(1, options.jobs // len(parts))), *(["--seeds", seeds] if seeds else [])],
            ]
        if commands:
            run_together(commands, options.output, deadline - time.monotonic())
    pack(options.runs, options.output)
    print(json.dumps({"left_s": round(deadline + SPARE_S - time.monotonic())}))


if __name__ == "__main__":
    main()
