"""No hostile program passes, and none leaves anything behind: at both levels, as this user and, for root, as nobody."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from rlvr_graders.sandbox.levels import make_pool
from rlvr_graders.sandbox.worker import WorkerLost

HERE = Path(__file__).parent
SOURCE = HERE.parents[1] / "src" / "rlvr_graders"
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


@pytest.fixture(scope="module")
def open_copy():
    """The package and the programs where every user can read them: a clone may stand in a folder that only its owner may
    enter."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        for source, name in ((SOURCE, "src/rlvr_graders"), (HERE, "hostile")):
            shutil.copytree(source, Path(folder, name), ignore=shutil.ignore_patterns("__pycache__"))
        for path in (Path(folder), *Path(folder).rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        yield Path(folder)


def outcome(level: str, user: int | None, copy: Path) -> dict:
    program = sys.executable if user is None else python_for_nobody()
    if program is None:
        pytest.skip("no Python 3.11 that an ordinary user may start")
    identity = {} if user is None else {"user": user, "group": user, "extra_groups": []}
    done = subprocess.run(
        [program, "-W", "error", str(copy / "hostile" / "runner.py"), level],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(copy / "src"), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
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
def test_no_hostile_program_passes_or_leaves_anything(level, user, open_copy):
    need(level)
    if user is not None and os.geteuid() != 0:
        pytest.skip("only root can become another user; this user is an ordinary one already")
    result = outcome(level, user, open_copy)
    hostile = {name: told for name, told in result["verdicts"].items() if not name.startswith("right/")}
    right = {name: told for name, told in result["verdicts"].items() if name.startswith("right/")}
    assert len(hostile) >= 120
    assert [name for name, told in hostile.items() if told[0] == "pass" or told[1] is None or told[1] >= 1] == []
    assert {name: told[0] for name, told in right.items()} == dict.fromkeys(right, "pass")
    assert result["problems"] == []
