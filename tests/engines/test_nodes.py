"""Two nodes and a vLLM server on a third, as examples/launch starts them; nodes are process groups of this machine here. One node
dies, the others end, and the same command goes on from the last checkpoint."""

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from g2rpo.models import resolve_model
from tests.engines.conftest import ENVIRONMENT, ROOT, free_port
from tests.engines.stand_ins import two_nodes_and_a_server
from tests.engines.test_sharded import RECIPE, steps

TRAIN = (*RECIPE, "--per_device_train_batch_size", "4")


@pytest.fixture
def nodes(tmp_path):
    """The environment of a launch on two nodes and a third for the server."""
    return {
        **ENVIRONMENT,
        **two_nodes_and_a_server(tmp_path, Path(sys.executable).parent),
        "PORT": str(free_port()),
        "LAUNCH_FLAGS": "--mixed_precision no",
        "ON_PROCESSOR": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "SERVER_PORT": str(free_port()),
        "SERVER_FLAGS": f"--model {resolve_model('builtin')} --dtype float32 --max-model-len 256",
    }


def start(form: str, environment: dict[str, str], folder: Path) -> subprocess.Popen:
    command = [str(ROOT / f"examples/launch/{form}.sh"), *TRAIN, "--output_dir", str(folder)]
    with folder.with_suffix(".log").open("a") as log:
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)


def test_ssh_with_a_server(nodes, tmp_path):
    process = start("ssh", nodes, tmp_path / "run")
    assert process.wait(1200) == 0, (tmp_path / "run.log").read_text()[-3000:]
    assert [s["step"] for s in steps(tmp_path / "run")] == [1, 2, 3, 4, 5, 6]


def test_slurm(nodes, tmp_path):
    process = start("slurm", nodes, tmp_path / "run")
    assert process.wait(1200) == 0, (tmp_path / "run.log").read_text()[-3000:]
    assert len(steps(tmp_path / "run")) == 6
    assert not (tmp_path / "requeued").exists()


def test_a_node_dies(nodes, tmp_path):
    nodes = {**nodes, "SERVER": ""}
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
