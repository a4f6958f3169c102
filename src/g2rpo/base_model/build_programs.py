"""Builds `builtin-programs`: the built-in model after it has learned to write programs as well as it does chains.

    python -m g2rpo.base_model.build_programs OUTPUT_DIR        (or `make base-programs`)

A third of the built-in model's training is programs, whose single steps are harder than those of the other tasks: before the habit of
impatience is taught it is right on nine of ten chains of nine steps, and on half of the programs of six operations. So no method can
show much there. This variant starts from it and goes on with the same two phases, skill and impatience, on programs alone.
"""

import random
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from g2rpo.base_model.build import LONGEST_PROGRAM, BaseRecipe, batches, save, train_phase
from g2rpo.tasks import PROGRAMS, split_of
from g2rpo.types import Problem


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
    start = Path(__file__).parent / "weights"
    tokenizer = AutoTokenizer.from_pretrained(start)
    model = AutoModelForCausalLM.from_pretrained(start, dtype=torch.float32).train()
    # A phase's name seeds its draws: other problems than the built-in model's.
    phases = (
        ("programs", recipe.skill_steps, recipe.skill_learning_rate, 0.0),
        ("programs, impatient", recipe.impatience_steps, recipe.impatience_learning_rate, recipe.impatience),
    )
    for phase, steps, learning_rate, impatience in phases:
        drawn = batches(tokenizer, recipe, phase, steps, impatience, draw=draw_problem)
        train_phase(model, drawn, phase, steps, learning_rate)
    save(model, tokenizer, output, recipe)


if __name__ == "__main__":
    build(Path(sys.argv[1]), ProgramsRecipe())
