"""The system call filters: an allow-list compiled to classic BPF (`Documentation/userspace-api/seccomp_filter.rst`).

There are two, and the kernel obeys the stricter answer. The long allow-list is put on once by the zygote and inherited; a child
adds a short one that takes away what only a zygote needs. That is a third of the price of the long one per child.

Everything else answers EPERM, so that Python raises `PermissionError` instead of dying. A foreign architecture, and
x86-64's second table (x32), kill the process: their numbers mean other calls. Conditions see numbers in registers,
never what a pointer points to; for that reason a call that takes a struct (`clone3`, `openat2`) is either harmless
for all structs or refused.
"""

import ctypes
import errno
import struct

from .syscalls import Machine, this_machine

LD, JEQ, JGE, JSET, RET, AND = 0x20, 0x15, 0x35, 0x45, 0x06, 0x54
ALLOW, KILL = 0x7FFF0000, 0x80000000
EPERM, ENOSYS, EAGAIN = (0x00050000 | code for code in (errno.EPERM, errno.ENOSYS, errno.EAGAIN))
NUMBER, ARCH, ARG0 = 0, 4, 16

PROT_WRITE, PROT_EXEC, MAP_ANONYMOUS = 2, 4, 0x20
O_TRUNC, O_ASYNC = 0o1000, 0o20000
CLONE_THREAD, CLONE_NEW_ANYTHING = 0x10000, 0x7E020080
AF_UNIX, SOCK_STREAM, SOCK_TYPE = 1, 1, 0xF
PR_SET_PDEATHSIG, PR_SET_NAME, PR_GET_NAME, PR_SET_VMA = 1, 15, 16, 0x53564D41
# Duplicate, close-on-exec and status flags. Absent: SETOWN, SETSIG (a signal to any process of the same user), pipe
# size, leases.
FCNTL_COMMANDS = (0, 1, 2, 3, 1030)
F_SETFL = 4
# FIOCLEX, FIONCLEX, FIONBIO, FIONREAD, TCGETS, TIOCGWINSZ.
IOCTL_REQUESTS = (0x5451, 0x5450, 0x5421, 0x541B, 0x5401, 0x5413)


def _op(code: int, k: int, jump_true: int = 0, jump_false: int = 0) -> bytes:
    return struct.pack("HBBI", code, jump_true, jump_false, k & 0xFFFFFFFF)


def _argument(index: int, half: int = 0) -> bytes:
    """Load one half of an argument: 0 is the low one (both machines are little-endian)."""
    return _op(LD, ARG0 + 8 * index + 4 * half)


def _one_of(index: int, values: tuple[int, ...], otherwise: int = EPERM) -> bytes:
    body = _argument(index)
    for value in values:
        body += _op(JEQ, value, 0, 1) + _op(RET, ALLOW)
    return body + _op(RET, otherwise)


def _none_of_bits(index: int, bits: int, otherwise: int = EPERM) -> bytes:
    return _argument(index) + _op(JSET, bits, 0, 1) + _op(RET, otherwise) + _op(RET, ALLOW)


def _null(index: int) -> bytes:
    """Allow when a pointer argument is null; both halves are looked at."""
    body = _argument(index) + _op(JEQ, 0, 1, 0) + _op(RET, EPERM)
    return body + _argument(index, 1) + _op(JEQ, 0, 1, 0) + _op(RET, EPERM) + _op(RET, ALLOW)


def _mmap() -> bytes:
    """No page that is executable and was ever writable: no native code but that of the installed libraries."""
    body = _argument(2) + _op(JSET, PROT_EXEC, 1, 0) + _op(RET, ALLOW)
    body += _op(JSET, PROT_WRITE, 0, 1) + _op(RET, EPERM)
    return body + _none_of_bits(3, MAP_ANONYMOUS)


def _threads_only() -> bytes:
    """No process: one of its own could outlive the job, and would double every limit."""
    return _argument(0) + _op(JSET, CLONE_THREAD, 1, 0) + _op(RET, EAGAIN) + _op(RET, ALLOW)


def _fcntl() -> bytes:
    body = _argument(1)
    for command in FCNTL_COMMANDS:
        body += _op(JEQ, command, 0, 1) + _op(RET, ALLOW)
    return body + _op(JEQ, F_SETFL, 1, 0) + _op(RET, EPERM) + _none_of_bits(2, O_ASYNC)


def _socketpair() -> bytes:
    """A stream pair inside the process, as event loops make for themselves; it can reach nobody."""
    body = _argument(0) + _op(JEQ, AF_UNIX, 1, 0) + _op(RET, EPERM)
    return body + _argument(1) + _op(AND, SOCK_TYPE) + _op(JEQ, SOCK_STREAM, 1, 0) + _op(RET, EPERM) + _op(RET, ALLOW)


def _allowed(machine: Machine, refuse_truncation: bool) -> dict[str, bytes]:
    """Conditions that hold for zygote and child."""
    truncation = {"openat": _none_of_bits(2, O_TRUNC), "open": _none_of_bits(1, O_TRUNC)} if refuse_truncation else {}
    conditions = {
        "mmap": _mmap(),
        "mprotect": _none_of_bits(2, PROT_EXEC),
        "ioctl": _one_of(1, IOCTL_REQUESTS),
        "fcntl": _fcntl(),
        "socketpair": _socketpair(),
        "sendto": _null(4),
        "clone": _none_of_bits(0, CLONE_NEW_ANYTHING),
        "clone3": _op(RET, ENOSYS),  # the C library then falls back to clone, whose flags are in a register
        "prctl": _one_of(0, (PR_SET_NAME, PR_GET_NAME, PR_SET_VMA, PR_SET_PDEATHSIG)),
    } | truncation
    return {name: conditions.get(name, _op(RET, ALLOW)) for name in machine.conditional}


def _taken_away(machine: Machine, pid: int) -> dict[str, bytes]:
    """What a child, unlike its zygote, may not do."""
    return {
        "kill": _one_of(0, (pid,)),
        "tgkill": _one_of(0, (pid,)),
        "clone": _threads_only(),
        "prctl": _one_of(0, (PR_SET_NAME, PR_GET_NAME, PR_SET_VMA)),
        "prlimit64": _null(2),
    } | {name: _op(RET, EPERM) for name in machine.zygote}


def compile_inherited(machine: Machine, *, refuse_truncation: bool) -> bytes:
    """The zygote's filter: the whole allow-list.

    Args:
        machine: The table to compile for.
        refuse_truncation: Refuse `O_TRUNC`; needed where Landlock is older than its ABI 3 and cannot.

    Returns:
        BPF instructions of 8 bytes each.
    """
    program = _op(LD, ARCH) + _op(JEQ, machine.audit, 1, 0) + _op(RET, KILL) + _op(LD, NUMBER)
    if machine.name == "x86_64":
        program += _op(JGE, 0x40000000, 0, 1) + _op(RET, KILL)
    program += _tree(sorted([*machine.allowed.values(), *machine.zygote.values()]))
    for name, body in _allowed(machine, refuse_truncation).items():
        program += _op(JEQ, machine.conditional[name], 0, len(body) // 8) + body
    return program + _op(RET, EPERM)


def compile_last(machine: Machine, pid: int) -> bytes:
    """The filter that a child adds; `pid` is its process id as it sees it, the only one it may send signals to."""
    numbers = machine.conditional | machine.zygote
    program = _op(LD, NUMBER)
    for name, body in _taken_away(machine, pid).items():
        program += _op(JEQ, numbers[name], 0, len(body) // 8) + body
    return program + _op(RET, ALLOW)


def _tree(numbers: list[int]) -> bytes:
    """Return ALLOW for a listed number and fall through for others, by ranges: the frequent low numbers come first."""
    program, start = b"", 0
    while start < len(numbers):
        end = start
        while end + 1 < len(numbers) and numbers[end + 1] == numbers[end] + 1:
            end += 1
        if start == end:
            program += _op(JEQ, numbers[start], 0, 1) + _op(RET, ALLOW)
        else:
            program += _op(JGE, numbers[start], 0, 2) + _op(JGE, numbers[end] + 1, 1, 0) + _op(RET, ALLOW)
        start = end + 1
    return program


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


class Filters:
    """Both filters, compiled; a fork patches the pid into a few words of the last one instead of compiling again."""

    _PLACEHOLDER = 0x7EADBEEF

    def __init__(self, *, refuse_truncation: bool) -> None:
        machine = this_machine()
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._number = machine.zygote["seccomp"]
        self._inherited = self._held(compile_inherited(machine, refuse_truncation=refuse_truncation))
        program = compile_last(machine, self._PLACEHOLDER)
        mark = struct.pack("I", self._PLACEHOLDER)
        self._holes = [at for at in range(4, len(program), 8) if program[at : at + 4] == mark]
        self._last = self._held(program)

    @staticmethod
    def _held(program: bytes) -> tuple:
        buffer = ctypes.create_string_buffer(program, len(program))
        structure = _Program(len(program) // 8, ctypes.addressof(buffer))
        return buffer, structure, ctypes.byref(structure)

    def install_inherited(self) -> None:
        """Put the long filter on this process and all that it forks; `no_new_privs` must be set. Raises `OSError`."""
        self._install(self._inherited)

    def install_last(self, pid: int) -> None:
        """Put the short filter on the process `pid`, which is this one. Raises `OSError`."""
        for at in self._holes:
            struct.pack_into("I", self._last[0], at, pid)
        self._install(self._last)

    def _install(self, held: tuple) -> None:
        set_mode_filter, all_threads = 1, 1
        if self._libc.syscall(self._number, set_mode_filter, all_threads, held[2]) != 0:
            raise OSError(ctypes.get_errno(), "seccomp refused the filter")
