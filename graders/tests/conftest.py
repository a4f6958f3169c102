"""One pool for all tests of this folder: starting it is the expensive part."""

import sys

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
