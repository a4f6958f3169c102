"""ZeRO-2, ZeRO-3 and FSDP2 with two processes are one process: losses, advantages, controller states; killed and resumed, too."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

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


@pytest.mark.parametrize("kind", SHARDED)
def test_a_killed_run_goes_on_where_it_stopped(tmp_path, kind):
    def command(name, *more):
        return [
            *launch(kind, "g2rpo", *RECIPE),
            "--per_device_train_batch_size",
            "4",
            "--output_dir",
            str(tmp_path / name),
            *more,
        ]

    run(*command("whole"))
    with subprocess.Popen(
        [sys.executable, *command("killed")],
        cwd=ROOT,
        env=ENVIRONMENT,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        while not (tmp_path / "killed" / "checkpoint-2" / "guidance_state.json").exists():
            assert process.poll() is None
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGKILL)
    run(*command("killed", "--resume"))
    whole, killed = steps(tmp_path / "whole"), steps(tmp_path / "killed")
    assert [s["step"] for s in killed] == [1, 2, 3, 4, 5, 6]
    for a, b in zip(whole, killed, strict=True):
        assert a["controller"] == b["controller"]
        assert a["metrics"]["loss"] == pytest.approx(b["metrics"]["loss"], rel=1e-4, abs=1e-6)
        assert a["metrics"]["reward"] == b["metrics"]["reward"]
