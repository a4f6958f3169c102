"""A run of a comparison ends with the process that started it, even where that was gone first."""

import subprocess
import sys

import pytest


@pytest.fixture
def gone():
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
        return process.pid


def test_a_run_whose_parent_is_gone_ends(tmp_path, gone):
    code = f"import time; from g2rpo.lab.compare.arm_run import _follow_parent; _follow_parent({gone}); time.sleep(60)"
    assert subprocess.run([sys.executable, "-c", code], timeout=50).returncode == 1
