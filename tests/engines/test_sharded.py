"""ZeRO-2, ZeRO-3 and FSDP2 with two processes are one process: losses, advantages, controller states; killed and resumed, too."""

import json
import os
import random
import subprocess
import sys
import time

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


@pytest.mark.parametrize("kind", SHARDED)
def test_a_killed_run_goes_on_where_it_stopped(tmp_path, kind):
    """kill -9 at random points, `G2RPO_KILLS` times in a row; the end is that of a run which nobody killed."""
    kills, chance = int(os.environ.get("G2RPO_KILLS", "1")), random.Random(kind)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    length = ("--max_steps", str(10 * kills))
    run(*command(kind, whole, *length))
    for kill in range(kills):
        done = len(steps(killed))
        resume = ("--resume",) if kill else ()
        process = subprocess.Popen(
            [sys.executable, *command(kind, killed, *length, *resume)], cwd=ROOT, env=ENVIRONMENT, stderr=subprocess.DEVNULL
        )
        # The first steps of a resumed run are written again.
        wanted = max(done, 2) + chance.randint(0, 2)
        begun = time.time()
        while not (newest := [f for f in whole_checkpoints(killed) if f.stat().st_mtime > begun]) or len(steps(killed)) < wanted:
            assert process.poll() is None, (newest, wanted)
            time.sleep(0.02)
        time.sleep(chance.random() / 2)
        # Not the launcher alone: its processes have sessions of their own, and would train on.
        for one in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
            one.kill()
        process.wait()
        assert len(steps(killed)) < 10 * kills, "it had come to its end"
    run(*command(kind, killed, *length, "--resume"))
    assert (killed / "phases.json").exists()
    for a, b in zip(steps(whole), steps(killed), strict=True):
        assert a["step"] == b["step"]
        assert a["controller"] == b["controller"]
        assert a["metrics"]["loss"] == pytest.approx(b["metrics"]["loss"], rel=1e-4, abs=1e-6)
        assert a["metrics"]["reward"] == b["metrics"]["reward"]


def whole_checkpoints(folder) -> list:
    return list(folder.glob("checkpoint-*/guidance_state.json"))


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
