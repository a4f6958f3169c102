"""Two processes give the controller states and the group statistics of one: slots, draws and sampling know nothing of ranks."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from g2rpo.data.tasks import make

SCRIPT = Path(__file__).with_name("distributed_run.py")


def launch(processes: int, *arguments: str, script: Path = SCRIPT) -> None:
    if processes == 1:
        command = [sys.executable, str(script), *arguments]
    else:
        command = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            f"--nproc-per-node={processes}",
            str(script),
            *arguments,
        ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("controller", ["profile", "paper"])
def test_two_processes_are_one(checkpoint, tmp_path, controller):
    model = checkpoint("qwen3", initializer_range=0.3)
    launch(1, model, str(tmp_path / "one"), "12", controller)
    # 6 rows a process, groups of 6, two accumulation steps: one rank's slice starts where the other's ends
    launch(2, model, str(tmp_path / "two"), "6", controller)
    one, two, second = (json.loads((tmp_path / name).read_text()) for name in ("one-0.json", "two-0.json", "two-1.json"))
    assert two["state"] == second["state"]
    assert one["state"] == two["state"]
    for a, b in zip(one["steps"], two["steps"], strict=True):
        assert a.keys() == b.keys()
        for name in a:
            assert a[name] == pytest.approx(b[name], abs=2e-5), name
    # The problems come in the same order, too; without shuffling, in that of the rows.
    assert one["keys"] == [a + b for a, b in zip(two["keys"], second["keys"], strict=True)]
    if controller == "paper":
        rows = [problem.key for problem in make("chains", "train", 12, steps=4)]
        assert [key for batch in one["keys"] for key in batch] == [key for key in rows for _ in range(6)]
    assert any(step["loss"] for step in one["steps"])


@pytest.mark.parametrize("preset", ["guide", "scaf-grpo"])
def test_a_second_round_keeps_processes_together_where_one_alone_has_failed_groups(checkpoint, tmp_path, preset):
    launch(2, checkpoint("qwen3"), str(tmp_path / "run"), preset, script=SCRIPT.with_name("second_round_run.py"))
    one, two = (json.loads((tmp_path / f"run-{rank}.json").read_text()) for rank in (0, 1))
    assert one["calls"] == two["calls"] == [8, 8]
    # Each group has one success: of the second round in the first process, of the first round in the other.
    right, wrong = pytest.approx(1.5, abs=1e-3), pytest.approx(-0.5, abs=1e-3)
    assert two["advantages"] == [wrong, wrong, right, wrong] * 2
    if preset == "guide":
        assert one["advantages"] == [wrong, wrong, right, wrong] * 2
        assert (one["hinted"], two["hinted"]) == ([True] * 8, [False] * 8)
    else:  # the success takes the first rollout's place
        assert one["advantages"] == [right, wrong, wrong, wrong] * 2
    assert one["items"] == two["items"] == one["tokens"] + two["tokens"]
