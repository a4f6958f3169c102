"""What the tests with real engines share. They run in an environment of their own (`make test-engines`), and are not collected
elsewhere."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from importlib.util import find_spec
from pathlib import Path

import pytest

from g2rpo.errors import ConfigError
from g2rpo.models import resolve_model

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {
    **os.environ,
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
    "DS_ACCELERATOR": "cpu",
    "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    "PYTHONWARNINGS": "ignore",
    # Not the user's: a killed run leaves locks there, and another environment's build is built again.
    "TORCH_EXTENSIONS_DIR": str(Path(sys.prefix) / "torch_extensions"),
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
}
collect_ignore_glob = [] if find_spec("vllm") and find_spec("deepspeed") else ["test_*.py"]


def run(*command: str, timeout: int = 1200, **environment: str) -> subprocess.CompletedProcess:
    """A command with this interpreter in the repository's root; fails with the end of its output."""
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env={**ENVIRONMENT, **environment}, capture_output=True, text=True, timeout=timeout
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-1500:]}\n{done.stderr[-4000:]}"
    return done


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


SHARDED = {"zero2": (), "zero3": (), "fsdp": ("-m", "tests.engines.fsdp_on_cpu")}
"""Launch configurations of `recipes/accelerate`, and what a processor needs in front of the script."""


def launch(kind: str, *script: str, dtype: str = "no") -> list[str]:
    """`python -m accelerate.commands.launch …` of two processes."""
    module = script if SHARDED[kind] else (("-m", *script) if not script[0].endswith(".py") else script)
    return [
        "-m",
        "accelerate.commands.launch",
        "--config_file",
        str(ROOT / f"recipes/accelerate/{kind}.yaml"),
        "--num_processes",
        "2",
        "--mixed_precision",
        dtype,
        "--main_process_port",
        str(free_port()),
        *SHARDED[kind],
        *module,
    ]


@pytest.fixture(scope="session")
def smollm2() -> str:
    try:
        return resolve_model("smollm2-135m")
    except ConfigError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """`server(model)`: the URL of a vLLM server in float32 for it; ends with the module."""
    started = []

    def start(model: str) -> str:
        url, log = f"http://127.0.0.1:{(port := free_port())}", tmp_path_factory.mktemp("server") / "log"
        command = [
            "-m",
            "vllm.entrypoints.openai.api_server",
            "--model",
            model,
            "--port",
            str(port),
            "--dtype",
            "float32",
            "--enforce-eager",
            "--max-model-len",
            "256",
            "--logprobs-mode",
            "processed_logprobs",
            "--max-logprobs",
            "-1",
            "--worker-extension-cls",
            "g2rpo.training.engine.cpu.PlainWeights",
        ]
        settings = {**ENVIRONMENT, "VLLM_SERVER_DEV_MODE": "1", "VLLM_CPU_KVCACHE_SPACE": "1"}
        with log.open("w") as output:
            process = subprocess.Popen(
                [sys.executable, *command], cwd=ROOT, env=settings, stdout=output, stderr=output, start_new_session=True
            )
        started.append(process)
        for _ in range(600):
            assert process.poll() is None, log.read_text()[-3000:]
            try:
                urllib.request.urlopen(f"{url}/health", timeout=1)
                return url
            except OSError:
                time.sleep(1)
        raise AssertionError(log.read_text()[-3000:])

    yield start
    for process in started:
        os.killpg(process.pid, 15)
        process.wait(30)
