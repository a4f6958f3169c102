"""Two nodes and a vLLM server on a third, as examples/launch starts them; nodes are process groups of this machine here. One node
dies, the others end, and the same command goes on from the last checkpoint."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from g2rpo.models import resolve_model
from tests.engines.conftest import ENVIRONMENT, ROOT, free_port
from tests.engines.test_sharded import RECIPE, steps

TRAIN = (*RECIPE, "--per_device_train_batch_size", "4")
REMOTE = '#!/usr/bin/env bash\nexec bash -c "$2"\n'
"""ssh that stays here."""
SCONTROL = '#!/usr/bin/env bash\n[ "$1" = requeue ] && touch "$REQUEUED" || tr , "\\n" <<< "$3"\n'
SRUN = """#!/usr/bin/env bash
while [[ $1 == --* ]]; do [[ $1 != --ntasks=* ]] || tasks=${1#*=}; shift; done
trap 'kill $(jobs -p)' TERM
for ((i = 0; i < tasks; i++)); do SLURM_NODEID=$i "$@" & done
for ((i = 0; i < tasks; i++)); do wait -n || { status=$?; kill $(jobs -p); wait; exit $status; }; done
"""
"""Slurm's part: one task per node, and the end of all when one fails."""


@pytest.fixture
def nodes(tmp_path):
    """The environment of a launch on two nodes and a third for the server."""
    for name, text in {"remote": REMOTE, "srun": SRUN, "scontrol": SCONTROL}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    return {
        **ENVIRONMENT,
        "PATH": os.pathsep.join([str(tmp_path), str(Path(sys.executable).parent), os.environ["PATH"]]),
        "SETUP": ":",
        "PROCESSES": "1",
        "PORT": str(free_port()),
        "LAUNCH_FLAGS": "--mixed_precision no",
        "ON_PROCESSOR": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "SERVER_PORT": str(free_port()),
        "SERVER_FLAGS": f"--model {resolve_model('builtin')} --dtype float32 --max-model-len 256",
        "TRAINERS": "127.0.0.1 127.0.0.1",
        "REMOTE": str(tmp_path / "remote"),
        "REQUEUED": str(tmp_path / "requeued"),
        "SLURM_JOB_NODELIST": "localhost,localhost,localhost",
        "SLURM_JOB_ID": "1",
        "MAIN": "127.0.0.1",
    }


def start(form: str, environment: dict[str, str], folder: Path) -> subprocess.Popen:
    command = [str(ROOT / f"examples/launch/{form}.sh"), *TRAIN, "--output_dir", str(folder)]
    with folder.with_suffix(".log").open("a") as log:
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)


def test_ssh_with_a_server(nodes, tmp_path):
    process = start("ssh", {**nodes, "SERVER": "127.0.0.1"}, tmp_path / "run")
    assert process.wait(1200) == 0, (tmp_path / "run.log").read_text()[-3000:]
    assert [s["step"] for s in steps(tmp_path / "run")] == [1, 2, 3, 4, 5, 6]


def test_slurm(nodes, tmp_path):
    process = start("slurm", nodes, tmp_path / "run")
    assert process.wait(1200) == 0, (tmp_path / "run.log").read_text()[-3000:]
    assert len(steps(tmp_path / "run")) == 6
    assert not (tmp_path / "requeued").exists()


def test_a_node_dies(nodes, tmp_path):
    process = start("ssh", nodes, tmp_path / "run")
    while not (tmp_path / "run" / "checkpoint-2" / "guidance_state.json").exists():
        assert process.poll() is None, (tmp_path / "run.log").read_text()[-3000:]
        time.sleep(0.05)
    everyone = psutil.Process(process.pid).children(recursive=True)
    for one in [p for p in everyone if p.environ().get("NODE") == "1"]:
        one.kill()
    assert process.wait(300) != 0
    _, alive = psutil.wait_procs(everyone, timeout=60)
    assert not alive  # nobody waits for the dead node
    assert len(steps(tmp_path / "run")) < 6
    assert start("ssh", nodes, tmp_path / "run").wait(1200) == 0, (tmp_path / "run.log").read_text()[-3000:]
    assert [s["step"] for s in steps(tmp_path / "run")] == [1, 2, 3, 4, 5, 6]
