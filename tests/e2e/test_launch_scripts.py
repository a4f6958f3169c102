"""examples/launch ends as a whole: with the trainers, with the first of them that fails, with the server that they need."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.engines.stand_ins import two_nodes_and_a_server

ROOT = Path(__file__).parents[2]
PYTHON = """#!/usr/bin/env bash
echo "$@" >> "$CALLS"
case "$*" in *vllm.entrypoints*) as=$SERVES ;; *"--machine_rank 1"*) as=$NODE_1 ;; *) as=$NODE_0 ;; esac
exec $as
"""
"""Neither trains nor serves: does what the test says."""


@pytest.mark.parametrize("form", ["ssh", "slurm"])
@pytest.mark.parametrize(
    ("serves", "node_0", "node_1", "status"),
    [
        pytest.param("sleep 600", "true", "true", 0, id="all-is-well"),
        pytest.param("false", "sleep 600", "sleep 600", 1, id="the-server-fails"),
        pytest.param("true", "sleep 600", "sleep 600", 1, id="the-server-ends"),
        pytest.param("sleep 600", "sleep 600", "false", 1, id="a-node-fails"),
    ],
)
def test_ends_as_a_whole(tmp_path, form, serves, node_0, node_1, status):
    (tmp_path / "python").write_text(PYTHON)
    (tmp_path / "python").chmod(0o755)
    calls = {"CALLS": str(tmp_path / "calls"), "SERVES": serves, "NODE_0": node_0, "NODE_1": node_1}
    environment = {
        **os.environ,
        **two_nodes_and_a_server(tmp_path, tmp_path),
        **calls,
        "SERVER_WAIT": "77",
        "SERVER_FLAGS": "--model x",
    }
    command = [str(ROOT / f"examples/launch/{form}.sh"), "train", "recipes/chains.yaml"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)  # none sleeps on
    assert done.returncode == status, done.stderr
    assert (tmp_path / "requeued").exists() == (form == "slurm" and status != 0)
    trained = [line for line in (tmp_path / "calls").read_text().splitlines() if "accelerate" in line]
    assert all("--resume auto" in line and "--vllm_server_timeout 77" in line for line in trained)
