"""Everything a child puts on before it reads its job: limits, no privileges, Landlock, the system call filter."""

import ctypes
import os
import resource
import struct

from .landlock import Ruleset, interpreter_paths
from .seccomp import Filter
from .syscalls import this_machine

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS = 1, 4, 38
SIGKILL = 9
STACK_BYTES = 64 << 20
OPEN_FILES = 64
_CAPABILITY_VERSION_3 = 0x20080522


class Jail:
    """Built once by the zygote, put on by each child.

    Args:
        confined: False leaves out Landlock and the filter: limits only, which is not a protection.

    Raises:
        OSError: The kernel lacks what a confined jail needs, or the architecture has no table.
    """

    def __init__(self, *, confined: bool) -> None:
        self.confined = confined
        self._linux = os.uname().sysname == "Linux"
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.abi = 0
        if confined:
            self._ruleset = Ruleset(*interpreter_paths())
            self.abi = self._ruleset.abi
            self._filter = Filter(refuse_truncation=self._ruleset.abi < 3)
            capset = this_machine().setup["capset"]
            self._capset = lambda: self._libc.syscall(
                capset,
                ctypes.create_string_buffer(struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)),
                ctypes.create_string_buffer(struct.pack("=6I", 0, 0, 0, 0, 0, 0)),
            )

    def put_on(self, parent: int, *, cpu_s: int, memory_bytes: int, file_bytes: int) -> None:
        """Confine this process for good.

        Args:
            parent: The zygote; a child that has already lost it exits.
            cpu_s: Processor time in seconds; one second later the kernel kills for certain.
            memory_bytes: Address space. No other memory can be had: no process, no shared memory, no writable file
                system.
            file_bytes: Largest size of each output file that was handed in.

        Raises:
            OSError: A step failed; the program must not run.
        """
        if self._linux:
            self._libc.prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)
            if os.getppid() != parent:
                os._exit(0)
            self._prefer_as_victim()
        limits = [
            (resource.RLIMIT_CORE, 0, 0),
            (resource.RLIMIT_CPU, cpu_s, cpu_s + 1),
            (resource.RLIMIT_FSIZE, file_bytes, file_bytes),
            (resource.RLIMIT_NOFILE, OPEN_FILES, OPEN_FILES),
            (resource.RLIMIT_AS, memory_bytes, memory_bytes),
            (resource.RLIMIT_MEMLOCK, 0, 0),
        ]
        if self._linux:
            limits += [(resource.RLIMIT_MSGQUEUE, 0, 0), (resource.RLIMIT_SIGPENDING, 256, 256)]
        for which, soft, hard in limits:
            self._limit(which, soft, hard)
        self._limit(resource.RLIMIT_STACK, STACK_BYTES, STACK_BYTES)
        if self.confined:
            self._confine()

    @staticmethod
    def _limit(which: int, soft: int, hard: int) -> None:
        """Lower a limit; where the surroundings allow less already, less it stays."""
        ceiling = resource.getrlimit(which)[1]
        if ceiling != resource.RLIM_INFINITY:
            soft, hard = min(soft, ceiling), min(hard, ceiling)
        try:
            resource.setrlimit(which, (soft, hard))
        except (OSError, ValueError):
            if which != resource.RLIMIT_AS or os.uname().sysname == "Linux":  # macOS knows the limit and refuses to set it
                raise

    @staticmethod
    def _prefer_as_victim() -> None:
        """Let the kernel's out-of-memory killer choose this process before any other."""
        try:
            fd = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
        except OSError:
            return
        try:
            os.write(fd, b"1000")
        except OSError:
            pass
        finally:
            os.close(fd)

    def _confine(self) -> None:
        if self._libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "no_new_privs")
        if self._capset() != 0:
            raise OSError(ctypes.get_errno(), "capset")
        self._ruleset.put_on()
        self._filter.install(os.getpid())
