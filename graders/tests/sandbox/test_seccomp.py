"""The system call filter, run by a small interpreter of classic BPF, so that both architectures are tested on either."""

import re
import struct
from pathlib import Path

import pytest
from rlvr_graders.sandbox.inside import seccomp
from rlvr_graders.sandbox.inside.syscalls import MACHINES

PID = 4242
ALLOW, KILL = "allow", "kill"
HEADERS = {"x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), "aarch64": Path("/usr/include/asm-generic/unistd.h")}


def answer(program: bytes, arch: int, number: int, args: tuple = ()) -> str:
    """What the kernel would do with one call: `allow`, `kill` or `errno N`."""
    data = struct.pack("<iIQ6Q", number, arch, 0, *[value & (1 << 64) - 1 for value in (*args, *[0] * (6 - len(args)))])
    at, register = 0, 0
    while True:
        code, jump_true, jump_false, k = struct.unpack_from("HBBI", program, at * 8)
        at += 1
        if code == seccomp.LD:
            (register,) = struct.unpack_from("<I", data, k)
        elif code == seccomp.AND:
            register &= k
        elif code == seccomp.RET:
            return ALLOW if k == seccomp.ALLOW else KILL if k == seccomp.KILL else f"errno {k & 0xFFFF}"
        else:
            holds = {seccomp.JEQ: register == k, seccomp.JGE: register >= k, seccomp.JSET: bool(register & k)}[code]
            at += jump_true if holds else jump_false


@pytest.fixture(params=sorted(MACHINES))
def call(request):
    """A function from a call's name (or number) and arguments to the filter's answer."""
    machine = MACHINES[request.param]
    programs = (seccomp.compile_inherited(machine, refuse_truncation=False), seccomp.compile_last(machine, PID))
    assert all(len(program) // 8 < 4096 for program in programs)  # the kernel's limit

    def ask(name, *args, arch=machine.audit):
        tables = {**machine.allowed, **machine.conditional, **machine.setup, **machine.zygote}
        number = name if isinstance(name, int) else tables[name]
        answers = [answer(program, arch, number, args) for program in programs]
        return next(
            (told for told in answers if told == KILL), next((told for told in reversed(answers) if told != ALLOW), ALLOW)
        )

    ask.machine = machine
    return ask


def test_every_listed_call_is_allowed_and_every_other_number_refused(call):
    allowed, conditional = set(call.machine.allowed.values()), set(call.machine.conditional.values())
    for number in range(600):
        if number not in conditional:
            assert call(number) == (ALLOW if number in allowed else "errno 1"), number


def test_foreign_tables_kill(call):
    assert call("read", arch=0x40000003) == KILL
    if call.machine.name == "x86_64":
        assert call(0x40000000) == KILL
        assert call(0x40000000 + 59) == KILL


@pytest.mark.parametrize(
    ("name", "args", "expected"),
    [
        ("kill", (PID, 9), ALLOW),
        ("kill", (PID + 1, 9), "errno 1"),
        ("kill", (0, 9), "errno 1"),
        ("kill", (-1, 9), "errno 1"),
        ("kill", (-PID, 9), "errno 1"),
        ("tgkill", (PID, PID, 9), ALLOW),
        ("tgkill", (1, 1, 9), "errno 1"),
        ("mmap", (0, 4096, 3, 0x22), ALLOW),
        ("mmap", (0, 4096, 5, 2, 3), ALLOW),
        ("mmap", (0, 4096, 7, 2, 3), "errno 1"),
        ("mmap", (0, 4096, 5, 0x22), "errno 1"),
        ("mprotect", (0, 4096, 3), ALLOW),
        ("mprotect", (0, 4096, 5), "errno 1"),
        ("clone", (0x3D0F00,), ALLOW),
        ("clone", (17,), "errno 11"),
        ("clone", (0x10000 | 0x20000000,), "errno 1"),
        ("clone3", (0, 88), "errno 38"),
        ("fcntl", (3, 3), ALLOW),
        ("fcntl", (3, 4, 0o4000), ALLOW),
        ("fcntl", (3, 4, 0o20000), "errno 1"),
        ("fcntl", (3, 8, 1), "errno 1"),
        ("fcntl", (3, 10, 9), "errno 1"),
        ("fcntl", (3, 15, 0), "errno 1"),
        ("fcntl", (3, 1031, 1 << 24), "errno 1"),
        ("ioctl", (1, 0x5401), ALLOW),
        ("ioctl", (1, 0x5412), "errno 1"),
        ("ioctl", (1, 0x8901), "errno 1"),
        ("socketpair", (1, 0o2000001, 0), ALLOW),
        ("socketpair", (1, 2, 0), "errno 1"),
        ("socketpair", (2, 1, 0), "errno 1"),
        ("sendto", (3, 0, 0, 0, 0, 0), ALLOW),
        ("sendto", (3, 0, 0, 0, 1 << 40, 16), "errno 1"),
        ("prlimit64", (0, 7, 0, 1), ALLOW),
        ("prlimit64", (0, 7, 1 << 40, 0), "errno 1"),
        ("prctl", (15, 0), ALLOW),
        ("prctl", (1, 0), "errno 1"),
        ("prctl", (36, 1), "errno 1"),
        ("openat", (-100, 0, 0o1102), ALLOW),
        ("seccomp", (1, 0, 0), "errno 1"),
        ("landlock_restrict_self", (3, 0), "errno 1"),
        ("recvmsg", (3, 0), "errno 1"),
        ("capset", (0, 0), "errno 1"),
    ],
)
def test_conditions_on_arguments(call, name, args, expected):
    assert call(name, *args) == expected


def test_truncation_is_refused_where_landlock_cannot():
    machine = MACHINES["x86_64"]
    program = seccomp.compile_inherited(machine, refuse_truncation=True)
    for name, at in (("openat", 2), ("open", 1)):
        number = machine.conditional[name]
        assert answer(program, machine.audit, number, (0,) * at + (0o1000,)) == "errno 1"
        assert answer(program, machine.audit, number, (0,) * at + (0o1,)) == ALLOW


@pytest.mark.parametrize("name", sorted(MACHINES))
def test_numbers_are_the_kernels(name):
    header = HEADERS[name]
    if not header.exists():
        pytest.skip("the kernel's headers are not installed")
    pattern = re.compile(r"#define __NR(?:3264)?_(\w+)\s+(\d+)$", re.MULTILINE)
    kernel: dict[str, int] = {}
    for word, number in pattern.findall(header.read_text()):
        kernel.setdefault(word, int(number))
    machine = MACHINES[name]
    for table in (machine.allowed, machine.conditional, machine.zygote, machine.setup):
        for word, number in table.items():
            assert number == kernel.get(word, kernel.get("fstatat" if word == "newfstatat" else word)), word


def test_no_number_stands_for_two_calls():
    for machine in MACHINES.values():
        numbers = [*machine.allowed.values(), *machine.conditional.values(), *machine.zygote.values()]
        assert len(numbers) == len(set(numbers))
