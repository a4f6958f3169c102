"""Builds `builtin-programs`: the built-in model after it has learned to write programs as well as it does chains.

    python -m g2rpo.lab.base_models.build_programs OUTPUT_DIR        (or `make base-programs`)

A third of the built-in model's training is programs, whose single steps are harder than those of the other tasks: before the
habit of impatience is taught it is right on nine of ten chains of nine steps, and on half of the programs of six operations. So
no method can show much there. This variant starts from it and goes on with the same two phases, skill and impatience, on programs
alone.
"""

import random
import sys
from dataclasses import dataclass
from pathlib import Path

from g2rpo.data.problem import Problem
from g2rpo.data.tasks import PROGRAMS, split_of
from g2rpo.lab.base_models.build import LONGEST_PROGRAM, BaseRecipe, go_on


@dataclass(frozen=True)
class ProgramsRecipe(BaseRecipe):
    """As for the built-in model, where not said otherwise; it starts from that model's weights."""

    max_steps: int = LONGEST_PROGRAM
    skill_steps: int = 2400
    skill_learning_rate: float = 2e-3
    impatience: float = 0.8
    """On seven operations success is then as rare as on chains of nine steps with 0.7: 0.2^6 against 0.3^8."""
    impatience_steps: int = 300


def draw_problem(r: random.Random, max_steps: int) -> Problem:
    """A train-split program of 1 to `max_steps` operations."""
    while True:
        problem = PROGRAMS["programs"](r, r.randint(1, max_steps))
        if split_of(problem) == "train":
            return problem


def build(output: Path, recipe: ProgramsRecipe) -> None:
    """Trains and writes model, tokenizer and `recipe.json` to `output`."""
    go_on(output, recipe, "programs", "programs, impatient", draw_problem)


if __name__ == "__main__":
    build(Path(sys.argv[1]), ProgramsRecipe())
