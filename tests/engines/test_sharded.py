"""ZeRO-2, ZeRO-3 and FSDP2 with two processes are one process: losses, advantages, controller states; killed and resumed, too."""

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file

from g2rpo.models import resolve_model
from tests.engines.conftest import ENVIRONMENT, ROOT, SHARDED, launch, run

RATE = "5e-5"
"""Adam turns the rounding of gradients near 0 into whole steps: at 1e-3, two processes under DDP differ from one by 5e-4 after
two."""
SCRIPT = str(ROOT / "tests/contract/distributed_run.py")
RECIPE = (
    "train",
    "recipes/chains.yaml",
    "--num_generations",
    "4",
    "--max_steps",
    "6",
    "--save_steps",
    "2",
    "--save_total_limit",
    "9",
    "--task_steps",
    "4",
    "--max_completion_length",
    "64",
    "--disable_tqdm",
)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What one process makes of the script."""
    out = tmp_path_factory.mktemp("alone") / "one"
    run(SCRIPT, resolve_model("builtin"), str(out), "12", "profile", RATE)
    return json.loads(out.with_name("one-0.json").read_text())


@pytest.mark.parametrize("kind", SHARDED)
def test_two_processes_are_one(alone, tmp_path, kind):
    run(*launch(kind, SCRIPT, resolve_model("builtin"), str(tmp_path / "two"), "6", "profile", RATE))
    first, second = (json.loads((tmp_path / f"two-{rank}.json").read_text()) for rank in (0, 1))
    assert first["state"] == second["state"] == alone["state"]
    for a, b in zip(alone["steps"], first["steps"], strict=True):
        for name in a:
            assert a[name] == pytest.approx(b[name], rel=1e-4, abs=2e-5), name


def steps(folder) -> list[dict]:
    lines = (folder / "steps.jsonl").read_text().splitlines() if (folder / "steps.jsonl").exists() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


def command(kind: str, folder, *more: str, dtype: str = "no") -> list[str]:
    return [
        *launch(kind, "g2rpo", *RECIPE, dtype=dtype),
        "--per_device_train_batch_size",
        "4",
        "--output_dir",
        str(folder),
        *more,
    ]


KILLS = int(os.environ.get("G2RPO_KILLS", "1"))
"""How often a run is killed, each time at another point, before it may come to its end."""


@pytest.mark.parametrize("kind", SHARDED)
def test_a_killed_run_goes_on_where_it_stopped(tmp_path, kind):
    """kill -9 at random points, each of a run that goes on from the one before; the end is that of a run which nobody killed."""
    chance = random.Random(f"{kind} {KILLS}")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    length = ("--max_steps", str(6 * KILLS + 4))
    run(*command(kind, whole, *length))
    for kill in range(KILLS):
        kill_within(command(kind, killed, *length, *(["--resume"] if kill else [])), killed, chance)
        print(f"kill {kill + 1}: after step {len(steps(killed))}, newest whole checkpoint {newest(killed).parent.name}")
    run(*command(kind, killed, *length, "--resume"))
    assert (killed / "phases.json").exists()
    assert len(steps(whole)) == 6 * KILLS + 4
    for a, b in zip(steps(whole), steps(killed), strict=True):
        assert untimed(a) == untimed(b), f"step {a['step']}"
    for name, weight in load_file(whole / "model.safetensors").items():
        assert torch.equal(weight, load_file(killed / "model.safetensors")[name]), name


def kill_within(command: list[str], folder: Path, chance: random.Random) -> None:
    """Starts a run and kills all its processes at a random point behind its first new checkpoint.

    Killing the launcher alone would not do: its processes have sessions of their own, and would train on.
    """
    begun, done = time.time(), len(steps(folder))
    process = subprocess.Popen([sys.executable, *command], cwd=ROOT, env=ENVIRONMENT, stderr=subprocess.DEVNULL)
    wanted = max(done, 2) + chance.randint(0, 2)  # a resumed run writes its first steps again
    while len(steps(folder)) < wanted or newest(folder) is None or newest(folder).stat().st_mtime < begun:
        assert process.poll() is None, "it came to its end"
        time.sleep(0.02)
    time.sleep(chance.random())
    assert process.poll() is None, "it came to its end"
    for one in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
        one.kill()
    process.wait()


def newest(folder: Path) -> Path | None:
    """The file that is written last, of the newest whole checkpoint."""
    return max(folder.glob("checkpoint-*/guidance_state.json"), key=lambda file: file.stat().st_mtime, default=None)


def untimed(step: dict) -> dict:
    """A line of steps.jsonl without what the clock says."""
    metrics = {name: value for name, value in step["metrics"].items() if not name.startswith(("time/", "step_time"))}
    return {**step, "metrics": metrics, "wall_s": None}


@pytest.mark.parametrize("kind", ["zero2", "zero3"])
def test_bf16_leaves_the_weights_in_float32(tmp_path, kind):
    rows = ("--bf16", "true", "--task_steps", "6", "--max_completion_length", "96", "--num_generations", "8", "--max_steps", "3")
    run("-m", "g2rpo", *RECIPE, *rows, "--per_device_train_batch_size", "32", "--output_dir", str(tmp_path / "one"))
    run(*command(kind, tmp_path / "two", *rows, "--per_device_train_batch_size", "16", dtype="bf16"))
    saved = load_file(tmp_path / "two" / "model.safetensors")
    assert {weight.dtype for weight in saved.values()} == {torch.float32}
    norms = [[s["metrics"]["grad_norm"] for s in steps(tmp_path / name)] for name in ("one", "two")]
    assert max(norms[0]) > 0
    assert norms[0] == pytest.approx(norms[1], rel=1e-2, abs=1e-6)
