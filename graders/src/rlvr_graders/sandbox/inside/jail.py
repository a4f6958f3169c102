"""Everything a child puts on before it reads its job: limits, no privileges, Landlock, the system call filter."""

import ctypes
import os
import resource
import struct

from .landlock import Ruleset, interpreter_paths
from .seccomp import Filters
from .syscalls import this_machine

PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38
SIGKILL = 9
STACK_BYTES = 64 << 20
OPEN_FILES = 64
_CAPABILITY_VERSION_3 = 0x20080522


class Jail:
    """Made and put on in two halves: `prepare` in the zygote, whatever a child inherits, then `put_on` in each child.

    Args:
        confined: False leaves out Landlock and the filters: limits only, which is not a protection.

    Raises:
        OSError: The kernel lacks what a confined jail needs, or the architecture has no table.
    """

    def __init__(self, *, confined: bool) -> None:
        self.confined = confined
        self.abi = 0
        self._linux = os.uname().sysname == "Linux"
        self._libc = ctypes.CDLL(None, use_errno=True)
        if confined:
            self._ruleset = Ruleset(*interpreter_paths())
            self.abi = self._ruleset.abi
            self._filters = Filters(refuse_truncation=self.abi < 3)

    def prepare(self) -> None:
        """Confine the zygote itself as far as it can live with it. Raises `OSError` when a step fails."""
        limits = [
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_NOFILE, OPEN_FILES),
            (resource.RLIMIT_MEMLOCK, 0),
            (resource.RLIMIT_STACK, STACK_BYTES),
        ]
        if self._linux:
            self._prefer_as_victim()
            limits += [(resource.RLIMIT_MSGQUEUE, 0), (resource.RLIMIT_SIGPENDING, 256)]
        for which, value in limits:
            ceiling = resource.getrlimit(which)[1]
            lowered = value if ceiling == resource.RLIM_INFINITY else min(value, ceiling)
            resource.setrlimit(which, (lowered, lowered))
        if self.confined:
            self._check(self._libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
            header = ctypes.create_string_buffer(struct.pack("=Ii", _CAPABILITY_VERSION_3, 0))
            nothing = ctypes.create_string_buffer(struct.pack("=6I", 0, 0, 0, 0, 0, 0))
            self._check(self._libc.syscall(this_machine().setup["capset"], header, nothing), "capset")
            self._filters.install_inherited()

    def put_on(self, parent: int, *, cpu_s: int, memory_bytes: int, file_bytes: int) -> None:
        """Confine this process, a child, for good.

        Args:
            parent: The zygote; a child that has already lost it exits.
            cpu_s: Processor time in seconds; one second later the kernel kills for certain.
            memory_bytes: Address space. No other memory can be had: no process, no shared memory, no writable file system.
            file_bytes: Largest size of each output file that was handed in.

        Raises:
            OSError: A step failed; the program must not run.
        """
        if self._linux:
            self._libc.prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)
            if os.getppid() != parent:
                os._exit(0)
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 1))
        if self._linux:  # macOS knows the limit and refuses to set it
            resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
        if self.confined:
            self._ruleset.put_on()
            self._filters.install_last(os.getpid())

    @staticmethod
    def _check(result: int, what: str) -> None:
        if result != 0:
            raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")

    @staticmethod
    def _prefer_as_victim() -> None:
        """Let the kernel's out-of-memory killer choose a zygote's child (the larger one) before any other process."""
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
