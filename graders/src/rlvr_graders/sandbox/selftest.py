"""Does the sandbox of this machine hold? Each probe tries what must fail, and a right program must pass."""

import os
import tempfile
import time
from pathlib import Path
from typing import Any

from .interface import Call, ExecRequest, ExecResult, Sandbox, SelfTest

# Each tries one forbidden thing and returns "" when it was refused, or a word about what it managed to do.
_ATTEMPTS = """
import os, sys, ctypes, signal
libc = ctypes.CDLL(None, use_errno=True)

def refused(attempt):
    try:
        got = attempt()
    except (OSError, ValueError, MemoryError):
        return ""
    return "" if got in (-1, None) else "managed to " + attempt.__name__

def read_a_secret():
    return open(SECRET).read()

def write_a_file():
    return os.open(FOLDER + "/left-behind", os.O_WRONLY | os.O_CREAT, 0o600)

def write_to_shared_memory():
    path = "/dev/shm/rlvr-graders-self-test-%d" % os.getpid()
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    os.unlink(path)
    return fd

def list_processes():
    return len(os.listdir("/proc"))

def read_parent_memory():
    return os.open("/proc/%d/mem" % os.getppid(), os.O_RDONLY)

def open_an_internet_socket():
    import socket
    return socket.socket(socket.AF_INET, socket.SOCK_STREAM).fileno()

def open_a_unix_socket():
    import socket
    return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).fileno()

def fork_a_process():
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    return pid

def execute_a_program():
    os.execv("/bin/true", ["true"])
    return 1

def signal_the_parent():
    os.kill(os.getppid(), 0)
    return 1

def make_a_memory_file():
    return os.memfd_create("x")

def make_shared_memory():
    segment = libc.shmget(0, 4096, 0o1600)
    if segment >= 0:
        libc.shmctl(segment, 0, None)
    return segment

def trace_a_process():
    return libc.ptrace(0, 0, 0, 0)

def change_a_limit():
    import resource
    resource.setrlimit(resource.RLIMIT_CPU, resource.getrlimit(resource.RLIMIT_CPU))
    return 1

def change_a_mode():
    os.chmod(SECRET, 0o777)
    return 1

def take_all_memory():
    return len(bytearray(1 << 40))

def attempt(name):
    return refused(globals()[name])
"""
_NAMES = [line[4 : line.index("(")] for line in _ATTEMPTS.splitlines() if line.startswith("def ")]
PROBES = tuple(name for name in _NAMES if name not in ("refused", "attempt"))

_CALIBRATION = """
def work():
    total, table = 0, {}
    for i in range(60000):
        table[i & 255] = total
        total += (i * i) % 7
    return total
"""
REFERENCE_S = 0.020
"""Wall seconds of the calibration job, start-up included, on the machine that the default limits were chosen on."""
MAX_SCALE = 10.0


def self_test(sandbox: Sandbox) -> SelfTest:
    """Run the probes. An isolated sandbox must refuse them all; one without isolation is only asked for the limits."""
    probes: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="rlvr-graders-self-test-") as folder:
        secret = Path(folder) / "secret"
        secret.write_text("a secret")
        setup = f"SECRET, FOLDER = {str(secret)!r}, {folder!r}"
        names = PROBES if sandbox.capabilities.isolated else ("take_all_memory",)
        requests = [
            ExecRequest("def f(x):\n    return x + 1", entry="f", calls=(Call((1,)), Call((41,)))),
            ExecRequest("print(int(input()) + 1)", mode="stdio", stdin=b"1\n"),
            ExecRequest("while True: pass", mode="stdio", timeout_s=0.1),
            *(ExecRequest(_ATTEMPTS, entry="attempt", calls=(Call((name,)),), setup=setup) for name in names),
        ]
        right, script, endless, *attempts = sandbox.run_many(requests)
        probes["run_a_right_program"] = _expect(right, [2, 42])
        probes["run_a_script"] = "" if script.status == "ok" and script.stdout == b"2\n" else _told(script)
        probes["stop_an_endless_loop"] = "" if endless.status == "timeout" else _told(endless)
        for name, result in zip(names, attempts, strict=True):
            probes[name] = _expect(result, [""])
        if os.listdir(folder) != ["secret"]:
            probes["write_a_file"] = "left a file behind"
    return SelfTest(probes)


def _told(result: ExecResult) -> str:
    return f"{result.status}: {result.reason or result.stderr.decode(errors='replace')[-200:]}"


def _expect(result: ExecResult, values: list[Any]) -> str:
    if result.status != "ok":
        return _told(result)
    got = [call.value() for call in result.results]
    return "" if got == values else str(got[0])


def calibrate(sandbox: Sandbox) -> float:
    """How much slower than the reference this machine is now: the best of three runs of a fixed job, from 1 to 10."""
    request = ExecRequest(_CALIBRATION, entry="work", calls=(Call(),), timeout_s=30.0)
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        (result,) = sandbox.run_many([request])
        if result.status == "ok":
            best = min(best, time.perf_counter() - start)
    return min(MAX_SCALE, max(1.0, best / REFERENCE_S))
