"""One process per run directory: a second one is told who has it, a killed one's lock is no lock."""

import json
import os
import signal
import subprocess
import sys

import pytest

from g2rpo.errors import RunError
from g2rpo.training.run.lock import LOCK_FILE, locked
from g2rpo.training.run.recipe import resolve
from g2rpo.training.run.run_directory import RunDirectory
from g2rpo.training.run.train import train

HOLDER = """
import sys, time
from pathlib import Path
from g2rpo.training.run.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds `tmp_path / "run"`."""
    folder = tmp_path / "run"
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def recipe(folder):
    return resolve(
        {"model_name_or_path": "builtin", "task": "chains", "task_size": 8, "output_dir": str(folder), "use_cpu": True}
    )


@pytest.mark.parametrize("resume", [False, True])
def test_a_second_process_is_told_who_has_the_directory(tmp_path, holder, resume):
    with pytest.raises(RunError, match=rf"output_dir is .*no other process is writing; process {holder.pid} on .*Wait for it"):
        train(recipe(tmp_path / "run"), resume=resume)
    assert [p.name for p in (tmp_path / "run").iterdir()] == [LOCK_FILE]


def test_the_lock_of_a_killed_process_is_none(tmp_path, holder):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert json.loads((tmp_path / "run" / LOCK_FILE).read_text())["process"] == holder.pid
    with RunDirectory(tmp_path / "run").claimed():
        assert json.loads((tmp_path / "run" / LOCK_FILE).read_text())["process"] == os.getpid()
    assert not list((tmp_path / "run").iterdir())


def test_a_child_does_not_hold_it(tmp_path):
    """Sandboxes and data loaders may outlive a run for a moment."""
    with locked(tmp_path):
        child = os.fork()
        if child == 0:
            signal.pause()
    try:
        held = subprocess.run(
            [sys.executable, "-c", HOLDER.replace("time.sleep(600)", "pass"), str(tmp_path)], capture_output=True, text=True
        )
        assert held.stdout == "held\n", held.stderr
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_directory_that_cannot_be_written_is_left_to_whoever_writes(tmp_path):
    (tmp_path / "file").write_text("")
    with locked(tmp_path / "file" / "run"):
        pass
