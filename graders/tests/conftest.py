"""What the tests of the graders share: one pool, since starting it is the expensive part."""

import os
import sys
from pathlib import Path

import pytest
from rlvr_graders.sandbox.levels import make_pool
from rlvr_graders.sandbox.worker import WorkerLost


@pytest.fixture(scope="session")
def pool():
    """A landlock pool of two workers, or a skip where this machine cannot have one."""
    if sys.platform != "linux":
        pytest.skip("the local levels are Linux only")
    try:
        made = make_pool("landlock", 2)
    except WorkerLost as lost:
        pytest.skip(f"no Landlock here: {lost}")
    with made:
        yield made


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real data sets named by G2RPO_DATA; tests that need it are skipped where it is not set."""
    folder = os.environ.get("G2RPO_DATA")
    if not folder:
        pytest.skip("G2RPO_DATA is not set: checks on real data need the folder")
    return Path(folder)
