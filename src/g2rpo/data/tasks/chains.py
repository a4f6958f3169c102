"""Arithmetic chains: a start value and a row of additions and subtractions modulo 100, one worked step each.

    Compute step by step modulo 100: 37 +15 -12 +8
    37+15=52
    52-12=40
    40+8=48          -> 48

A chain is drawn so that its answer appears nowhere in the question and in no step but the last: whoever knows the answer
from a prefix of the trace has done the last step.
"""

import random

from g2rpo.data.problem import Problem

MODULUS = 100
MAX_OPERAND = 20


def problem(rng: random.Random, steps: int) -> Problem:
    """One chain of `steps` operations (difficulty)."""
    while True:
        value = start = rng.randrange(MODULUS)
        question, lines, seen = f"Compute step by step modulo {MODULUS}: {start}", [], {start}
        for _ in range(steps):
            sign, operand = rng.choice("+-"), rng.randint(1, MAX_OPERAND)
            before, value = value, (value + operand if sign == "+" else value - operand) % MODULUS
            question += f" {sign}{operand}"
            lines.append(f"{before}{sign}{operand}={value}")
            seen |= {before, operand}
        if value not in seen:
            break
    return Problem(
        key=f"chains:{question.rpartition(': ')[2]}",
        prompt=[{"role": "user", "content": question}],
        answer=str(value),
        trace="\n".join(lines),
        difficulty=float(steps),
        source="chains",
    )
