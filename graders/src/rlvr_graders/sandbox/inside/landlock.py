"""What a jailed program may see of the file system, by Landlock (`Documentation/userspace-api/landlock.rst`).

Reading the standard library and the shared libraries, and nothing else: no write, no execution, no other file. The
rules are built once and put on by each child; they cannot be taken off, and cover `ptrace` of anything outside as well.
"""

import ctypes
import os
import struct

from .syscalls import this_machine

READ_FILE, READ_DIR, WRITE_FILE = 1 << 2, 1 << 3, 1 << 1
# All file-system rights of each ABI: 1 has 13, 2 adds REFER, 3 TRUNCATE, 5 IOCTL_DEV.
_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
_BIND_AND_CONNECT = 3
_ABSTRACT_SOCKETS_AND_SIGNALS = 3
_VERSION, _PATH_BENEATH = 1, 1


class Ruleset:
    """A ruleset that is ready to be put on.

    Args:
        readable: Files and directories (with all below) that stay readable; absent ones are left out.
        listable: Directories whose names may be listed, without a look into the files.
        writable: Device files that may be written too.

    Raises:
        OSError: The kernel has no Landlock, or it is not enabled.
    """

    def __init__(self, readable: list[str], listable: list[str], writable: tuple[str, ...] = ("/dev/null",)) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        machine = this_machine()
        self._numbers = machine.setup | machine.zygote
        self.abi = abi()
        if self.abi < 1:
            raise OSError("the kernel has no Landlock, or it is not among the enabled security modules")
        self._handled = _RIGHTS[min(self.abi, max(_RIGHTS))]
        attributes = struct.pack("=Q", self._handled)
        if self.abi >= 4:
            attributes += struct.pack("=Q", _BIND_AND_CONNECT)
        if self.abi >= 6:
            attributes += struct.pack("=Q", _ABSTRACT_SOCKETS_AND_SIGNALS)
        buffer = ctypes.create_string_buffer(attributes, len(attributes))
        self._fd = self._call("landlock_create_ruleset", buffer, ctypes.c_size_t(len(attributes)), 0)
        for path in readable:
            self._allow(path, READ_FILE | READ_DIR)
        for path in listable:
            self._allow(path, READ_DIR)
        for path in writable:
            self._allow(path, READ_FILE | WRITE_FILE)

    def _call(self, name: str, *arguments: object) -> int:
        result = self._libc.syscall(self._numbers[name], *arguments)
        if result < 0:
            raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")
        return result

    def _allow(self, path: str, rights: int) -> None:
        try:
            fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            return
        try:
            if not os.path.isdir(path):
                rights &= ~READ_DIR
            rule = ctypes.create_string_buffer(struct.pack("=Qi", rights & self._handled, fd), 12)
            self._call("landlock_add_rule", self._fd, _PATH_BENEATH, rule, 0)
        finally:
            os.close(fd)

    def put_on(self) -> None:
        """Restrict this process for good; `no_new_privs` must be set. Raises `OSError`."""
        self._call("landlock_restrict_self", self._fd, 0)
        os.close(self._fd)


def abi() -> int:
    """Version of the kernel's Landlock interface; 0 or less where there is none."""
    number = this_machine().setup["landlock_create_ruleset"]
    return ctypes.CDLL(None).syscall(number, None, ctypes.c_size_t(0), _VERSION)


def interpreter_paths() -> tuple[list[str], list[str]]:
    """What the running interpreter needs after its start, as (readable, listable).

    Readable are the standard library without installed packages, shared libraries and time zones. The import system
    lists the folder of the standard library, so its names can be listed, those of installed packages among them.
    """
    import sys
    import sysconfig

    readable = ["/lib64", "/usr/lib64", "/etc/ld.so.cache", "/etc/localtime", "/usr/share/zoneinfo"]
    readable += ["/dev/urandom", "/dev/random", "/dev/zero"]
    listable = []
    for key in ("stdlib", "platstdlib"):
        folder = sysconfig.get_path(key)
        if folder and os.path.isdir(folder):
            # One rule per entry: a rule on the folder would open the installed packages below it, and data sets
            # among them.
            names = [name for name in os.listdir(folder) if name not in ("site-packages", "dist-packages")]
            readable += [os.path.join(folder, name) for name in names]
            listable.append(folder)
    multiarch = [sysconfig.get_config_var("MULTIARCH") or "", f"{os.uname().machine}-linux-gnu"]
    folders = [os.path.join(top, name) for top in ("/lib", "/usr/lib", "/usr/local/lib") for name in multiarch if name]
    if not any(map(os.path.isdir, folders)):
        folders = ["/lib", "/usr/lib"]
    readable += folders
    own = os.path.join(sys.base_prefix, "lib")
    if own not in ("/usr/lib", "/lib"):
        readable += [os.path.join(own, name) for name in os.listdir(own) if ".so" in name]
    return sorted(set(readable)), sorted(set(listable))
