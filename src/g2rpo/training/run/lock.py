"""One process writes a directory at a time: two runs in one `output_dir` would mix their steps and overwrite each other's
checkpoints."""

import errno
import fcntl
import json
import os
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from g2rpo.errors import RunError

LOCK_FILE = ".lock"


@contextmanager
def locked(folder: Path, name: str = "output_dir") -> Iterator[None]:
    """Inside, this process alone holds `folder`. The folder is made where it is not there; the lock file goes at the end.

    The lock is the operating system's (POSIX, `lockf`): it ends with the process, however that ends, and no child inherits it. On
    NFS it holds between machines. The file says who holds it, for people; a file that a killed process left does not lock
    anything.

    Args:
        folder: What is written.
        name: What the user calls it.

    Raises:
        RunError: another process has it; says which.
    """
    path = folder / LOCK_FILE
    descriptor = _acquired(path, name)
    try:
        yield
    finally:
        if descriptor is not None:
            with suppress(OSError):
                path.unlink()  # before the lock is let go: who opened this file meanwhile finds that it is no longer there
            os.close(descriptor)


def _acquired(path: Path, name: str) -> int | None:
    """A descriptor that holds the lock; None where the folder cannot be written (whoever writes there says so) or has no
    locks."""
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError:
            return None
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(descriptor, 4096).decode(errors="replace")
            os.close(descriptor)
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                from accelerate.logging import get_logger  # it loads torch, which a reader of run directories does not need

                get_logger(__name__).warning(
                    f"{path.parent} is on a file system without locks ({error.strerror}): nothing keeps a second process out "
                    "of it."
                )
                return None
            raise RunError(
                name,
                str(path.parent),
                expected=f"a directory that no other process is writing; {_told(holder)} is",
                then="Wait for it to end, stop it, or choose another directory.",
            ) from None
        with suppress(OSError):
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                break
        os.close(descriptor)  # its holder has just removed it
    mine = {"process": os.getpid(), "host": platform.node(), "since": time.strftime("%Y-%m-%d %H:%M:%S"), "command": sys.argv}
    os.ftruncate(descriptor, 0)
    with suppress(OSError):  # a full disk is told by whoever writes something that matters
        os.write(descriptor, json.dumps(mine).encode())
    return descriptor


def _told(holder: str) -> str:
    try:
        facts = json.loads(holder)
        return f"process {facts['process']} on {facts['host']}, since {facts['since']}, ({' '.join(facts['command'])})"
    except (ValueError, KeyError, TypeError):  # it has not written its name yet
        return "another process"
