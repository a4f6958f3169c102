"""Stock TRL and ours, each in a process of its own, taking their training steps in turn.

A pair of steps is compared only with each other: whatever else the machine is doing hits both. Each process has its own memory,
so its peak is its side's. Waiting for the turn is not counted.
"""

import contextlib
import multiprocessing
import os
import resource
import sys
import tempfile
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from typing import Any

SIDES = ("stock", "ours")


@dataclass(frozen=True)
class Case:
    """What one comparison trains: `groups` x `generations` rollouts per step, in micro-batches of `micro` rows."""

    name: str
    model: str = "1m"
    vocabulary: int = 2048
    prompt: int = 32
    completion: int = 128
    lengths: str | tuple[int, ...] = "moderate"
    dead: float = 0.0
    groups: int = 8
    generations: int = 8
    micro: int = 8
    pairs: int = 5
    checkpointing: bool = True
    """Gradient checkpointing in stock TRL, where it is the default. Ours has it off unless asked for."""
    seeded: bool = False
    """Ours draws each row from a stream of its own, as guided runs do, instead of what `generate` would draw."""
    precision: str = "fp32"
    """fp32, or bf16: float32 weights under autocast, TRL's default. Both sides alike."""
    clock: str = "wall"
    """wall, or cpu: the process's own processor time, for a machine that is busy with other things. One thread either way."""

    @property
    def rollouts(self) -> int:
        return self.groups * self.generations


@dataclass(frozen=True)
class Step:
    """One measured step: seconds per phase, sampled tokens, the longest row."""

    seconds: dict[str, float]
    tokens: int
    longest: int

    @property
    def total(self) -> float:
        return sum(self.seconds.values())


@dataclass(frozen=True)
class Side:
    steps: list[Step]
    peak_mib: float
    """The most memory at one time beyond what the libraries take."""


def run(case: Case, sides: tuple[str, ...] = SIDES) -> dict[str, Side]:
    """Runs `case.pairs` steps of each side, in turn, after one step each to warm up."""
    # The server imports the libraries once; each side is a fork of it that has trained nothing yet.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["benchmarks.sides", "benchmarks.train_side"])
    pipes: dict[str, Connection] = {}
    processes = []
    for side in sides:
        pipes[side], theirs = context.Pipe()
        process = context.Process(target=_child, args=(side, case, theirs), name=side)
        process.start()
        theirs.close()
        processes.append(process)
    steps: dict[str, list[Step]] = {side: [] for side in sides}
    try:
        for turn in range(case.pairs + 1):
            for side in sides if turn % 2 else reversed(sides):
                pipes[side].send("go")
                step = pipes[side].recv()
                if turn:
                    steps[side].append(step)
        return {side: Side(steps[side], pipes[side].recv()) for side in sides}
    except EOFError:
        raise RuntimeError(f"case {case.name}: a side ended before its last step; its own message stands above") from None
    finally:
        for pipe in pipes.values():
            pipe.close()
        for process in processes:
            process.join(10)
            process.kill()


def _child(side: str, case: Case, turn: Connection) -> None:
    from benchmarks.train_side import train

    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        train(side, case, folder, turn)


def peak_mib(reset: bool = False) -> float:
    """The process's highest resident memory; on Linux the mark can be set back to what it holds now."""
    try:
        if reset:
            with open("/proc/self/clear_refs", "w") as file:
                file.write("5")
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmHWM"))
    except OSError:  # not Linux
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (1024**2 if sys.platform == "darwin" else 1024)


def to_json(case: Case, found: dict[str, Side]) -> dict[str, Any]:
    return {"case": asdict(case), "sides": {name: asdict(side) for name, side in found.items()}}
