"""Runs all hostile programs at one level and looks at what they got and what they left. Run as a script it prints JSON, so
that the suite can start it as another user.
"""

import ctypes
import glob
import json
import os
import resource
import socket
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from programs import KINDS
from rlvr_graders.code.grade import grade_programs
from rlvr_graders.code.tests import parse_tests
from rlvr_graders.sandbox.levels import make_pool

SUMS = [(3, 4), (10, -2), (120, 3), (-5, -6)]
FUNCTION = {"kind": "function", "entry": "solve", "cases": [{"args": [a, b], "expected": a + b} for a, b in SUMS]}
STDIO = {"kind": "stdio", "cases": [{"stdin": f"{a} {b}\n", "stdout": f"{a + b}\n"} for a, b in SUMS[:2]]}
CHECK = {
    "kind": "check",
    "entry": "solve",
    "test": "def check(candidate):\n" + "".join(f"    assert candidate({a}, {b}) == {a + b}\n" for a, b in SUMS),
}
JUDGED = {
    "kind": "assert",
    "setup": "import math\ndef near(a, b): return abs(a - b) < 1e-9",
    "asserts": [
        "assert (solve(3, 4) == 7) == True",
        "assert (solve(3, 4) != 7) == False",
        "assert [solve(3, 4) == 7] == [True]",
        "assert math.isclose(solve(3, 4), 7) == True",
        "assert near(solve(3, 4), 7) == True",
        "assert (abs(solve(3, 4) - 7) < 1) == True",
        "assert (isinstance(solve(3, 4), int), solve(3, 4) == 7) == (True, True)",
    ],
}
RIGHT = {
    "right": "def solve(a, b): return a + b",
    "stdio_right": "a, b = map(int, input().split())\nprint(a + b)",
    "check_right": "def solve(a, b): return a + b",
    "judged_right": "def solve(a, b): return a + b",
}
KEY = 0x67327270
TIMEOUT_S = 0.15
SECRET = "the secret that nobody may read"


def tests_for(name: str) -> dict:
    return {"stdio": STDIO, "check": CHECK, "judged": JUDGED}.get(name.partition("_")[0], FUNCTION)


def children() -> set[int]:
    """Direct children of this process, zombies included; orphans too, for it is a subreaper."""
    found = set()
    for task in os.listdir("/proc/self/task"):
        found |= set(map(int, Path(f"/proc/self/task/{task}/children").read_text().split()))
    return found


def grandchildren(pids: set[int]) -> set[int]:
    found: set[int] = set()
    for pid in pids:
        own = set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
        found |= own | grandchildren(own)
    return found


def own_settings() -> dict:
    names = [name for name in dir(resource) if name.startswith("RLIMIT_")]
    return {
        "limits": [resource.getrlimit(getattr(resource, name)) for name in names],
        "priority": os.getpriority(os.PRIO_PROCESS, 0),
        "affinity": sorted(os.sched_getaffinity(0)),
        "scheduler": os.sched_getscheduler(0),
    }


def left_behind(token: str, folder: str) -> list[str]:
    """Files, sockets and System V objects that carry our token or key."""
    places = ("/tmp", "/var/tmp", "/dev/shm", "/run", "/dev/mqueue", os.getcwd(), os.path.expanduser("~"), "/")
    found = [path for place in places for path in glob.glob(f"{place}/*{token}*")]
    found += [str(path) for path in Path(folder).iterdir() if path.name not in ("secret", "socket")]
    for kind in ("shm", "sem", "msg"):
        rows = Path(f"/proc/sysvipc/{kind}").read_text().splitlines()[1:]
        found += [f"{kind} {row}" for row in rows if int(row.split()[0]) == KEY]
    found += [line for line in Path("/proc/net/unix").read_text().splitlines() if f"@{token}" in line]
    return found


def run(level: str) -> dict:
    """Grade everything; returns verdicts by name, and what was found afterwards that should not be there."""
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # child subreaper: a daemon would become our child
    os.environ["A_SECRET_VARIABLE"] = SECRET
    token = f"g2rpo-hostile-{os.getpid()}"
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as tcp:
        secret = Path(folder, "secret")
        secret.write_text(SECRET)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams:
            datagrams.bind(f"{folder}/socket")
            words = {"TOKEN": token, "FOLDER": folder, "SECRET": str(secret), "KEY": KEY, "PORT": tcp.getsockname()[1]}
            names, codes, tests = [], [], []
            for kind, programs in [*KINDS.items(), ("right", RIGHT)]:
                for name, code in programs.items():
                    for word, value in words.items():
                        code = code.replace(f"@{word}@", str(value))
                    names.append(f"{kind}/{name}")
                    codes.append(code)
                    tests.append(parse_tests(tests_for(name)))
            before, settings = children(), own_settings()
            with make_pool(level, 2) as pool:
                zygotes = children() - before
                inside = grandchildren(zygotes)
                wrong = len(codes) - len(RIGHT)
                grades = grade_programs(codes[:wrong], tests[:wrong], pool, timeout_s=TIMEOUT_S, memory_mb=256)
                grades += grade_programs(codes[wrong:], tests[wrong:], pool)  # with time enough on any machine
                problems = [] if own_settings() == settings else ["a limit of the parent changed"]
                alive = children() - before
                problems += [f"the zygotes changed: {zygotes} {alive}"] if alive != zygotes else []
                problems += ["a process is left in a zygote"] if grandchildren(alive) != inside else []
            problems += [f"children left: {children() - before}"] if children() - before else []
            problems += left_behind(token, folder)
            problems += ["the secret was changed"] if secret.read_text() != SECRET else []
            stat = secret.stat()
            problems += (
                ["the secret's owner, mode or time was changed"] if stat.st_mode & 0o777 == 0o777 or not stat.st_mtime else []
            )
            for listener in (tcp, datagrams):
                listener.setblocking(False)
                try:
                    (listener.accept if listener is tcp else lambda: datagrams.recv(1))()
                    problems.append("a socket was reached")
                except BlockingIOError:
                    pass
    told = [f"{name}: {grade.reason}" for name, grade in zip(names, grades, strict=True)]
    problems += [line for line in told if SECRET in line or "managed" in line or "root:x:" in line]
    verdicts = {name: [g.verdict, g.score, g.reason, round(g.wall_s, 3)] for name, g in zip(names, grades, strict=True)}
    return {"verdicts": verdicts, "problems": problems}


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[1])))
