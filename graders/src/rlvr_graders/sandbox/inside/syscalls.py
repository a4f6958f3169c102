"""System call numbers of the calls that a jailed Python program may make; everything that is not listed is refused.

An allow-list, so that a call added by a later kernel is refused until somebody has thought about it. Numbers come
from the kernel's own tables, `arch/x86/entry/syscalls/syscall_64.tbl` and `include/uapi/asm-generic/unistd.h`
(aarch64 uses the latter).
"""

from dataclasses import dataclass

# Names that exist on both machines: (x86-64, aarch64).
_COMMON = {
    "read": (0, 63),
    "write": (1, 64),
    "close": (3, 57),
    "fstat": (5, 80),
    "lseek": (8, 62),
    "munmap": (11, 215),
    "brk": (12, 214),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "pread64": (17, 67),
    "pwrite64": (18, 68),
    "readv": (19, 65),
    "writev": (20, 66),
    "sched_yield": (24, 124),
    "mremap": (25, 216),
    "mincore": (27, 232),
    "madvise": (28, 233),
    "dup": (32, 23),
    "nanosleep": (35, 101),
    "getitimer": (36, 102),
    "setitimer": (38, 103),
    "getpid": (39, 172),
    "exit": (60, 93),
    "wait4": (61, 260),
    "uname": (63, 160),
    "fsync": (74, 82),
    "getcwd": (79, 17),
    "chdir": (80, 49),
    "fchdir": (81, 50),
    "umask": (95, 166),
    "gettimeofday": (96, 169),
    "getrusage": (98, 165),
    "sysinfo": (99, 179),
    "times": (100, 153),
    "getuid": (102, 174),
    "getgid": (104, 176),
    "geteuid": (107, 175),
    "getegid": (108, 177),
    "getppid": (110, 173),
    "getgroups": (115, 158),
    "getresuid": (118, 148),
    "getresgid": (120, 150),
    "getpgid": (121, 155),
    "getsid": (124, 156),
    "rt_sigpending": (127, 136),
    "rt_sigtimedwait": (128, 137),
    "rt_sigsuspend": (130, 133),
    "sigaltstack": (131, 132),
    "statfs": (137, 43),
    "fstatfs": (138, 44),
    "sched_getparam": (143, 121),
    "sched_getscheduler": (145, 120),
    "gettid": (186, 178),
    "futex": (202, 98),
    "sched_getaffinity": (204, 123),
    "getdents64": (217, 61),
    "set_tid_address": (218, 96),
    "restart_syscall": (219, 128),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "clock_nanosleep": (230, 115),
    "exit_group": (231, 94),
    "epoll_ctl": (233, 21),
    "waitid": (247, 95),
    "newfstatat": (262, 79),
    "readlinkat": (267, 78),
    "faccessat": (269, 48),
    "pselect6": (270, 72),
    "ppoll": (271, 73),
    "set_robust_list": (273, 99),
    "get_robust_list": (274, 100),
    "epoll_pwait": (281, 22),
    "eventfd2": (290, 19),
    "epoll_create1": (291, 20),
    "dup3": (292, 24),
    "pipe2": (293, 59),
    "preadv": (295, 69),
    "pwritev": (296, 70),
    "getcpu": (309, 168),
    "getrandom": (318, 278),
    "membarrier": (324, 283),
    "preadv2": (327, 286),
    "pwritev2": (328, 287),
    "statx": (332, 291),
    "rseq": (334, 293),
    "close_range": (436, 436),
    "faccessat2": (439, 439),
    "epoll_pwait2": (441, 441),
    "recvfrom": (45, 207),
    "shutdown": (48, 210),
    "getsockname": (51, 204),
    "getpeername": (52, 205),
    "getsockopt": (55, 209),
    "sync_file_range": (277, 84),
    "fdatasync": (75, 83),
}

# Calls of x86-64 that aarch64 never had.
_X86_ONLY = {
    "stat": 4,
    "lstat": 6,
    "poll": 7,
    "access": 21,
    "pipe": 22,
    "select": 23,
    "dup2": 33,
    "pause": 34,
    "alarm": 37,
    "getdents": 78,
    "readlink": 89,
    "getrlimit": 97,
    "getpgrp": 111,
    "arch_prctl": 158,
    "time": 201,
    "epoll_create": 213,
    "epoll_wait": 232,
}
_ARM_ONLY = {"getrlimit": 163}

# Calls that are allowed for some arguments only; `seccomp` holds the condition for each.
_CONDITIONAL = {
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "ioctl": (16, 29),
    "socketpair": (53, 199),
    "sendto": (44, 206),
    "clone": (56, 220),
    "kill": (62, 129),
    "tgkill": (234, 131),
    "fcntl": (72, 25),
    "prctl": (157, 167),
    "openat": (257, 56),
    "prlimit64": (302, 261),
    "clone3": (435, 435),
}
_X86_CONDITIONAL = {"open": 2}

# Calls that a zygote makes and its children must not; `fork` only by C libraries that have no other way to fork.
_ZYGOTE = {"recvmsg": (47, 212), "seccomp": (317, 277), "landlock_restrict_self": (446, 446), "pidfd_open": (434, 434)}
_X86_ZYGOTE = {"fork": 57}

# Calls that the jail makes before any filter is in place.
_SETUP = {"capset": (126, 91), "landlock_create_ruleset": (444, 444), "landlock_add_rule": (445, 445)}


@dataclass(frozen=True)
class Machine:
    """The numbers of one architecture: `audit` identifies it inside a filter (`AUDIT_ARCH_*` of `linux/audit.h`)."""

    name: str
    audit: int
    allowed: dict[str, int]
    conditional: dict[str, int]
    zygote: dict[str, int]
    setup: dict[str, int]


MACHINES = {
    "x86_64": Machine(
        "x86_64",
        0xC000003E,
        {name: pair[0] for name, pair in _COMMON.items()} | _X86_ONLY,
        {name: pair[0] for name, pair in _CONDITIONAL.items()} | _X86_CONDITIONAL,
        {name: pair[0] for name, pair in _ZYGOTE.items()} | _X86_ZYGOTE,
        {name: pair[0] for name, pair in _SETUP.items()},
    ),
    "aarch64": Machine(
        "aarch64",
        0xC00000B7,
        {name: pair[1] for name, pair in _COMMON.items()} | _ARM_ONLY,
        {name: pair[1] for name, pair in _CONDITIONAL.items()},
        {name: pair[1] for name, pair in _ZYGOTE.items()},
        {name: pair[1] for name, pair in _SETUP.items()},
    ),
}


def this_machine() -> Machine:
    """The table of the running kernel; `OSError` for an architecture without one."""
    import os

    name = os.uname().machine
    if name not in MACHINES or os.uname().sysname != "Linux":
        raise OSError(f"no system call table for {os.uname().sysname} on {name}; there is one for {', '.join(MACHINES)}")
    return MACHINES[name]
