"""Chooses the sandbox level of this machine: the first, in order of preference, whose self-test passes."""

import logging
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NoReturn

from rlvr_graders.errors import SandboxError

from . import bwrap
from .interface import Sandbox, SelfTest
from .pool import Pool
from .worker import WorkerLost

log = logging.getLogger(__name__)

LANDLOCK_PROTECTS = (
    "reading, writing, creating or removing any file but the standard library and shared libraries (read-only)",
    "network and sockets, other processes (signals, tracing, their memory), new processes, execution of programs",
    "native code that was not installed; kernel interfaces: io_uring, bpf, keyrings, namespaces, System V memory",
    "memory, processor time, wall time, output size, open files and threads beyond the limits of the request",
    "reading another job's program, input or result",
)
LANDLOCK_NOT = (
    "a kernel bug in the roughly 130 system calls that stay allowed, or in Landlock or seccomp themselves",
    "learning that a path exists and its size (stat is not covered by Landlock)",
    "side channels: timing, load, caches shared with other processes",
    "a program that gives right answers for the tested inputs only",
)
BWRAP_PROTECTS = (*LANDLOCK_PROTECTS, "seeing any path, user, process or network interface of the machine (own namespaces)")
BWRAP_NOT = (
    "a kernel bug in the system calls that stay allowed; user namespaces enlarge what a kernel bug can reach",
    *LANDLOCK_NOT[2:],
)
RLIMITS_PROTECTS = (
    "memory and processor time beyond the limits (macOS does not enforce the memory limit)",
    "left-over children of one job",
)
RLIMITS_NOT = (
    "anything else: files, network and processes of this user are open to the program",
    "left-over processes of a program that forks",
)

PREFERENCE = ("landlock", "bwrap+")
"""Order in which `auto` tries: landlock needs nothing, is as fast, and opens no user namespaces."""


@dataclass(frozen=True)
class LevelReport:
    """One level on this machine, for `rlvr-graders self-test`."""

    name: str
    usable: bool
    reason: str
    probes: dict[str, str]
    protects: tuple[str, ...]
    does_not_protect: tuple[str, ...]


def open_sandbox(
    level: str = "auto", *, workers: int | None = None, allow_unsafe: bool = False, calibrate: bool = True
) -> Sandbox:
    """Start a sandbox whose self-test passes, and say once which one it is.

    Args:
        level: `auto`, `landlock`, `bwrap+`, or `rlimits` (with `allow_unsafe` only).
        workers: Programs that run at the same time; the number of processors by default.
        allow_unsafe: Accept limits without isolation where nothing better works. Model-written programs can then
            read and delete your files.
        calibrate: Scale time limits by the speed of this machine.

    Raises:
        SandboxError: The level does not work here, with the reason per level; or the platform has none.
    """
    if level not in ("auto", *PREFERENCE, "rlimits"):
        raise SandboxError("The sandbox level", level, expected="auto, landlock, bwrap+ or rlimits", then="Choose one of these.")
    if sys.platform == "win32":
        raise SandboxError(
            "A local sandbox on Windows",
            expected="Linux with Landlock or bubblewrap",
            then="Use a remote sandbox (SandboxFusion, E2B), or the Windows Subsystem for Linux.",
        )
    if level == "rlimits" and not allow_unsafe:
        _refuse({"rlimits": "limits only, no isolation"})
    tried: dict[str, str] = {}
    for name in PREFERENCE if level == "auto" else (level,):
        pool, _, reason = _try(name, workers)
        if pool is not None:
            return _taken(pool, calibrate)
        tried[name] = reason
    if not allow_unsafe:
        _refuse(tried)
    pool, _, reason = _try("rlimits", workers)
    if pool is None:
        _refuse(tried | {"rlimits": reason})
    log.warning("Model-written programs run WITHOUT isolation: they can read and delete files of this user.")
    return _taken(pool, calibrate)


def make_pool(name: str, workers: int | None = None) -> Pool:
    """The pool of one level, not yet tested. Raises `WorkerLost` where it cannot start."""
    if name == "landlock":
        return Pool(level=name, confined=True, workers=workers, protects=LANDLOCK_PROTECTS, does_not_protect=LANDLOCK_NOT)
    if name == "rlimits":
        return Pool(level=name, confined=False, workers=workers, protects=RLIMITS_PROTECTS, does_not_protect=RLIMITS_NOT)
    words = bwrap.launcher()
    if words is None:
        raise WorkerLost("bubblewrap (bwrap) is not installed")
    return Pool(level=name, confined=True, launcher=words, workers=workers, protects=BWRAP_PROTECTS, does_not_protect=BWRAP_NOT)


def describe_levels() -> list[LevelReport]:
    """Every local level with its self-test on this machine; starts and stops each of them, all at the same time."""
    names = (*PREFERENCE, "rlimits")
    with ThreadPoolExecutor(len(names)) as threads:
        return list(threads.map(_describe, names))


def _describe(name: str) -> LevelReport:
    protects, does_not = {
        "landlock": (LANDLOCK_PROTECTS, LANDLOCK_NOT),
        "bwrap+": (BWRAP_PROTECTS, BWRAP_NOT),
        "rlimits": (RLIMITS_PROTECTS, RLIMITS_NOT),
    }[name]
    pool, test, reason = _try(name, 1)
    if pool is not None:
        pool.close()
    return LevelReport(name, pool is not None, reason, dict(test.probes), protects, does_not)


def _try(name: str, workers: int | None) -> tuple[Pool | None, SelfTest, str]:
    try:
        pool = make_pool(name, workers)
    except (WorkerLost, OSError) as problem:
        return None, SelfTest({}), str(problem)
    test = pool.self_test()
    if test.ok:
        return pool, test, ""
    pool.close()
    return None, test, f"its self-test failed: {test.failures()}"


def _taken(pool: Pool, calibrate: bool) -> Pool:
    if calibrate:
        pool.calibrate()
    can = pool.capabilities
    print(f"Sandbox: level {can.level}, {can.workers} workers, time limits x {can.time_scale:.2f}", file=sys.stderr, flush=True)
    return pool


def _refuse(tried: dict[str, str]) -> NoReturn:
    raise SandboxError(
        "The sandbox for model-written programs",
        "; ".join(f"{name}: {reason}" for name, reason in tried.items()),
        expected="a level whose self-test passes",
        then="Use Linux 5.13 or later with Landlock enabled, install bubblewrap, or use a remote sandbox; "
        "`allow_unsafe` runs programs with limits and no protection.",
    )
