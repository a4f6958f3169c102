"""No hostile program passes, and none leaves anything behind: at both levels, as this user and, for root, as nobody."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rlvr_graders.sandbox.levels import make_pool
from rlvr_graders.sandbox.worker import WorkerLost

HERE = Path(__file__).parent
SOURCE = HERE.parents[1] / "src"
NOBODY = 65534
LEVELS = ("landlock", "bwrap+")

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the local levels are Linux only")


def python_for_nobody() -> str | None:
    """An interpreter that an ordinary user may start, of a version that the package runs on."""
    for program in (os.path.realpath(sys.executable), "/usr/bin/python3", "/usr/local/bin/python3"):
        test = [program, "-I", "-S", "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
        try:
            if subprocess.run(test, user=NOBODY, cwd="/", capture_output=True, check=False).returncode == 0:
                return program
        except OSError:
            continue
    return None


def outcome(level: str, user: int | None) -> dict:
    program = sys.executable if user is None else python_for_nobody()
    if program is None:
        pytest.skip("no Python 3.11 that an ordinary user may start")
    identity = {} if user is None else {"user": user, "group": user, "extra_groups": []}
    done = subprocess.run(
        [program, "-W", "error", str(HERE / "runner.py"), level],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(SOURCE), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        **identity,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def need(level: str) -> None:
    if level == "bwrap+" and shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not installed")
    try:
        make_pool(level, 1).close()
    except WorkerLost as lost:
        pytest.skip(f"{level} does not work here: {lost}")


@pytest.mark.parametrize("user", [None, NOBODY], ids=["this-user", "nobody"])
@pytest.mark.parametrize("level", LEVELS)
def test_no_hostile_program_passes_or_leaves_anything(level, user):
    need(level)
    if user is not None and os.geteuid() != 0:
        pytest.skip("only root can become another user; this user is an ordinary one already")
    result = outcome(level, user)
    hostile = {name: told for name, told in result["verdicts"].items() if not name.startswith("right/")}
    right = {name: told for name, told in result["verdicts"].items() if name.startswith("right/")}
    assert len(hostile) >= 120
    assert [name for name, told in hostile.items() if told[0] == "pass" or told[1] is None or told[1] >= 1] == []
    assert {name: told[0] for name, told in right.items()} == dict.fromkeys(right, "pass")
    assert result["problems"] == []
