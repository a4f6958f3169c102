"""Wrong programs by kind: each must fail its tests and leave nothing behind.

The problem is `solve(a, b) -> a + b`, as a function, as a script that reads "a b" and prints the sum, or under a
test program with `check(candidate)`. `@NAME@` words are replaced by the runner: a secret file's path, a folder, a
port, a token for names.
"""

from . import denial, equality, escape, exits, forging, harness, leftovers, stealing, tricks

KINDS = {
    "exits": exits.PROGRAMS,
    "equality": equality.PROGRAMS,
    "stealing": stealing.PROGRAMS,
    "forging": forging.PROGRAMS,
    "denial": denial.PROGRAMS,
    "escape": escape.PROGRAMS,
    "leftovers": leftovers.PROGRAMS,
    "tricks": tricks.PROGRAMS,
    "harness": harness.PROGRAMS,
}
"""Kind, then name, then the program; a name that begins with `stdio_` is a script, one with `check_` runs under a
test program, and one with `judged_` under assertions that judge the result beside comparing it.
"""
