"""The `bwrap+` level: zygotes inside of a hardened bubblewrap, each child in the landlock jail besides.

Namespaces for users, processes, mounts, network and IPC; no capability; an own root with the interpreter and nothing
else, all of it read-only, `/dev` too (bubblewrap's own temporary file systems would be writable to half of the
memory each).
"""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from .worker import INSIDE, interpreter

_FROM_SYSTEM = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache", "/etc/localtime")


def launcher() -> tuple[str, ...] | None:
    """The command words that put a zygote into bubblewrap; None where it is not installed."""
    program = shutil.which("bwrap")
    if program is None:
        return None
    words = [program, "--unshare-all", "--unshare-user", "--uid", "65534", "--gid", "65534"]
    if "--disable-userns" in subprocess.run([program, "--help"], capture_output=True, text=True, check=False).stdout:
        words.append("--disable-userns")  # since 0.8; the filter refuses namespaces anyway
    words += ["--cap-drop", "ALL", "--new-session", "--as-pid-1", "--hostname", "sandbox", "--clearenv"]
    for path in _FROM_SYSTEM:
        if os.path.islink(path):
            words += ["--symlink", os.readlink(path), path]
        elif os.path.exists(path):
            words += ["--ro-bind", path, path]
    words += ["--ro-bind-try", "/usr/share/zoneinfo", "/usr/share/zoneinfo"]
    for path in _interpreter_files():
        words += ["--ro-bind", path, path]
    for device in ("null", "zero", "urandom", "random"):
        words += ["--dev-bind", f"/dev/{device}", f"/dev/{device}"]
    words += ["--proc", "/proc", "--remount-ro", "/", "--chdir", "/"]
    for name, value in _variables().items():
        words += ["--setenv", name, value]
    return tuple([*words, "--"])


def _variables() -> dict[str, str]:
    from .worker import environment

    return environment()


def _interpreter_files() -> list[str]:
    """The interpreter, its libraries and our own half, as far as they are not below a system folder that is there
    already.
    """
    paths = [interpreter(), str(INSIDE)]
    paths += [sysconfig.get_path(key) for key in ("stdlib", "platstdlib")]
    own = Path(sys.base_prefix) / "lib"
    if own.is_dir():
        paths += [str(path) for path in own.iterdir() if ".so" in path.name]
    present = [path for path in _FROM_SYSTEM if not os.path.islink(path)]
    wanted: list[str] = []
    for path in dict.fromkeys(paths):
        if not any(Path(path).is_relative_to(folder) for folder in [*present, *wanted]):
            wanted.append(path)
    return wanted
