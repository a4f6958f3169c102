"""Runs arms in parallel processes, shows how far each is, skips what is done, and keeps the others when one fails."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from g2rpo.comparison.arm import ArmResult, ArmSpec, read_result
from g2rpo.errors import RunError

POLL_S = 0.5


def run_all(specs: Sequence[ArmSpec], jobs: int) -> list[ArmResult]:
    """Results in the order of the specs.

    Raises:
        RunError: an arm's process failed; the others were finished first, and what they gave is on disk.
    """
    waiting = [s for s in specs if not _file(s, "result").exists()]
    running: dict[subprocess.Popen, ArmSpec] = {}
    failed: list[ArmSpec] = []
    shown = {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                spec = waiting.pop(0)
                running[_start(spec)] = spec
            time.sleep(POLL_S)
            for process, spec in list(running.items()):
                _show(spec, shown)
                if process.poll() is not None:
                    del running[process]
                    if process.returncode != 0:
                        failed.append(spec)
    finally:
        for process in running:
            process.kill()
    if failed:
        log = _file(failed[0], "log")
        raise RunError(f"arm {failed[0].name}, seed {failed[0].seed}", expected="a run that ends well",
                       then=f"Its output is in {log}, and ends: {log.read_text()[-600:]!r}")  # fmt: skip
    return [read_result(_file(s, "result")) for s in specs]


def _file(spec: ArmSpec, kind: str) -> Path:
    ending = {"result": "result.json", "log": "log.txt", "spec": "spec.json"}[kind]
    return Path(spec.output_dir).with_name(f"{Path(spec.output_dir).name}.{ending}")


def _start(spec: ArmSpec) -> subprocess.Popen:
    import shutil

    shutil.rmtree(spec.output_dir, ignore_errors=True)  # what a killed attempt left; arms are short and start anew
    Path(spec.output_dir).parent.mkdir(parents=True, exist_ok=True)
    _file(spec, "spec").write_text(json.dumps(asdict(spec), indent=2))
    env = {
        **os.environ,
        "OMP_NUM_THREADS": str(spec.threads),
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONWARNINGS": "ignore",
    }
    with _file(spec, "log").open("w") as log:
        command = [sys.executable, "-m", "g2rpo.comparison.arm", str(_file(spec, "spec")), str(_file(spec, "result"))]
        return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=env)


def _show(spec: ArmSpec, shown: dict) -> None:
    """New evaluations in an arm's log, as plain lines."""
    lines = [line for line in _file(spec, "log").read_text(errors="replace").splitlines() if line.startswith('{"tokens"')]
    for line in lines[shown.get(spec.output_dir, 0) :]:
        point = json.loads(line)
        print(
            f"  {spec.name:<16} seed {spec.seed}  {point['tokens']:>9,} tokens  step {point['step']:>4}  held-out accuracy {point['accuracy']:.1%}",
            flush=True,
        )
    shown[spec.output_dir] = len(lines)
