"""Traces as others write them: with a wrong step somewhere, or in words the student does not use.

    own      as the family writes them; what the built-in model knows     37+15=52
    prose    a sentence per step                                          adding 15 to 37 gives 52
    terse    results alone                                                52
    skips    as in own, but half the steps before the last are left out: their results turn up in the steps that follow
    stops    as in own, but the last third is left out: the answer follows at once

The last two are what solutions written for experts look like: true, and with gaps that the student cannot close in its head.

A wrong step is one step with a wrong result (arithmetic) or with another operation (programs), as a teacher slips; all later
steps follow from it, and so does the answer the trace ends in. The problem keeps its true answer: rewards are never noisy.
"""

import dataclasses
import random
import re
from collections.abc import Callable

from g2rpo.data.problem import Problem
from g2rpo.data.tasks import chains, programs, word_problems
from g2rpo.errors import ConfigError, nearest
from g2rpo.seeds import rng, seed_of

TRACE_STYLES = ("own", "prose", "terse", "skips", "stops")
_SUM = re.compile(r"(\d+)([-+*])(\d+)=(\d+)")
_VERBS = {"+": "adding {0} to {1} gives {2}", "-": "taking {0} from {1} leaves {2}", "*": "{1} times {0} is {2}"}


def altered(problem: Problem, *, noise: float = 0.0, style: str = "own") -> Problem:
    """The problem with another trace.

    Args:
        noise: Share of problems whose trace has one wrong step. Which problems and which step is decided by the problem alone,
            so that what is wrong at 0.1 is wrong in the same way at 0.3.
        style: One of `TRACE_STYLES`.

    Raises:
        ConfigError: a share outside [0, 1], or an unknown style.
    """
    if not 0 <= noise <= 1:
        raise ConfigError("trace_noise", noise, expected="a share in [0, 1]", then="Write 0.3 for three traces in ten.")
    if style not in TRACE_STYLES:
        raise ConfigError("trace_style", style, expected="a known style of traces", then=nearest(style, TRACE_STYLES))
    if seed_of("trace noise", problem.key) / 2**63 < noise:
        problem = (_wrong_program if problem.tests else _wrong_sum)(problem, rng("wrong step", problem.key))
    if style == "own":
        return problem
    lines = problem.trace.split("\n")
    if style in ("skips", "stops"):
        lines = _with_gaps(lines, style, rng("left out", problem.key))
    else:
        lines = [(_program_line if problem.tests else _sum_line)(line, style) for line in lines]
    return dataclasses.replace(problem, trace="\n".join(lines))


def _with_gaps(lines: list[str], style: str, draw: random.Random) -> list[str]:
    """At least one step stays: the last for `skips`, the first for `stops`."""
    if style == "stops":
        return lines[: max(1, len(lines) - max(1, round(len(lines) / 3)))]
    left_out = set(draw.sample(range(len(lines) - 1), len(lines) // 2))
    return [line for number, line in enumerate(lines) if number not in left_out]


def _wrong_sum(problem: Problem, draw: random.Random) -> Problem:
    """One result off by a little; the steps after it are right for the value they find."""
    steps = [_SUM.fullmatch(line).groups() for line in problem.trace.split("\n")]
    apply, low, high = _ARITHMETIC[problem.source]
    while True:
        at, off = draw.randrange(len(steps)), draw.choice((-10, -2, -1, 1, 2, 10))
        value, lines, inside = int(steps[0][0]), [], True
        for number, (_, sign, operand, _) in enumerate(steps):
            before, value = value, apply(value, sign, int(operand)) + (off if number == at else 0)
            inside &= low <= value < high
            lines.append(f"{before}{sign}{operand}={value}")
        if inside and str(value) != problem.answer:
            return dataclasses.replace(problem, trace="\n".join(lines), trace_answer=str(value))


def _modular(value: int, sign: str, operand: int) -> int:
    return (value + operand if sign == "+" else value - operand) % chains.MODULUS


def _plain(value: int, sign: str, operand: int) -> int:
    return {"+": value + operand, "-": value - operand, "*": value * operand}[sign]


# Values may leave the range of true ones by a wrong doubling; three digits are still digits.
_ARITHMETIC: dict[str, tuple[Callable[[int, str, int], int], int, int]] = {
    "chains": (_modular, 0, chains.MODULUS),
    "word_problems": (_plain, 0, 10 * word_problems.LIMIT),
}


def _wrong_program(problem: Problem, draw: random.Random) -> Problem:
    """One operation mistaken for another between the same types; the effects on the example follow from it.

    A few short programs have no such operation: their trace stays right.
    """
    row, example = programs.row_of(problem), programs.example_of(problem)
    mistakes = [
        (at, other)
        for at, right in enumerate(row)
        for kind in programs.operations()[right.takes].values()
        for other in kind
        if other.gives == right.gives and other != right
    ]
    draw.shuffle(mistakes)
    for at, other in mistakes:
        wrong = [*row[:at], other, *row[at + 1 :]]
        told = programs.trace(wrong, example)  # a mistaken last operation must show: its code does not stand there
        if told != problem.trace and programs.shown(wrong, example) and not programs.passes(wrong, problem.tests):
            return dataclasses.replace(problem, trace=told, trace_answer=programs.solution(wrong))
    return problem


def _sum_line(line: str, style: str) -> str:
    before, sign, operand, after = _SUM.fullmatch(line).groups()
    return after if style == "terse" else _VERBS[sign].format(operand, before, after)


def _program_line(line: str, style: str) -> str:
    code, _, effect = line.rpartition(": ")
    before, _, after = effect.partition(" -> ")
    if style == "terse":
        return after
    return f"{code} turns {before} into {after}" if code else f"at last {before} becomes {after}"
