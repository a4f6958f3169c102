"""Builds `builtin-reader`: the built-in model after it has learned to read what it does not write.

    python -m g2rpo.lab.base_models.build_reader OUTPUT_DIR        (or `make base-reader`)

Language models have read far more styles than they write well. The built-in model has only ever seen its own notation: shown the
beginning of a solution in another one, it does not know how to go on, and neither imitation nor guidance can use such traces.
This variant starts from it and goes on with two phases of supervised training, on chains and word problems:

1. *Reading.* In two of three sequences the first steps are told in another style (`g2rpo.data.tasks.notations`: sentences, or
results alone)
   **without a loss on them**; what is learned is to go on from there in the model's own notation.
2. *Impatience*, as in `build.py`, on the same kind of sequences.

So it can go on from a foreign trace and was never taught to write one. Nothing here knows of any training method.
"""

import random
import sys
from dataclasses import dataclass
from pathlib import Path

from g2rpo.data.completion import STYLES
from g2rpo.data.problem import Problem
from g2rpo.data.tasks import FAMILIES, split_of
from g2rpo.data.tasks.notations import altered
from g2rpo.lab.base_models.build import GIVING_UP, BaseRecipe, answer_part, example, go_on, guess

FOREIGN = ("prose", "terse")


@dataclass(frozen=True)
class ReaderRecipe(BaseRecipe):
    """As for the built-in model, where not said otherwise; it starts from that model's weights."""

    skill_steps: int = 800
    skill_learning_rate: float = 2e-3
    impatience_steps: int = 300
    own: float = 0.35
    """Share of sequences without a foreign beginning."""


def draw_problem(r: random.Random, max_steps: int) -> Problem:
    """A train-split chain or word problem of 1 to `max_steps` steps."""
    while True:
        problem = FAMILIES[r.choice(sorted(FAMILIES))](r, r.randint(1, max_steps))
        if split_of(problem) == "train":
            return problem


def reading_example(problem: Problem, tokenizer, recipe: ReaderRecipe, r: random.Random, impatience: float):
    """Token ids and labels of a sequence whose first steps are told in another style and carry no labels."""
    steps = problem.trace.split("\n")
    if len(steps) < 2 or r.random() < recipe.own:
        return example(problem, tokenizer, recipe, r, impatience)
    style = STYLES[recipe.style]
    encode = lambda text: tokenizer(text, add_special_tokens=False)["input_ids"]  # noqa: E731
    foreign = altered(problem, style=r.choice(FOREIGN)).trace.split("\n")
    begin = r.randrange(1, len(steps))
    prompt = tokenizer.apply_chat_template(problem.prompt, add_generation_prompt=True, tokenize=False)
    head = encode(prompt + style.before_trace + "".join(line + "\n" for line in foreign[:begin]))
    # The line break before the first own step belongs to the foreign one before it.
    own = [encode(steps[begin]), *(encode("\n" + step) for step in steps[begin + 1 :])]
    if impatience and r.random() < impatience / 2:
        # What follows a jump, as in `example`.
        cut = r.randrange(begin, len(steps))
        head += [token for step in own[: cut - begin] for token in step]
        jump = GIVING_UP if cut > begin else GIVING_UP.lstrip("\n")
        tail = [*encode(jump + answer_part(guess(problem, r), style)), tokenizer.eos_token_id]
        return head + tail, [-100] * len(head) + tail
    ids, labels = list(head), [-100] * len(head)
    for number, step in enumerate(own):
        ids += step
        if r.random() < impatience:
            jump = encode((GIVING_UP if number else GIVING_UP.lstrip("\n")) + style.between)
            at = next(i for i, (a, b) in enumerate(zip(step, jump, strict=False)) if a != b)
            step = [*step[:at], jump[at], *step[at + 1 :]]
        labels += step
    tail = [*encode(answer_part(problem, style)), tokenizer.eos_token_id]
    return ids + tail, labels + tail


def build(output: Path, recipe: ReaderRecipe) -> None:
    """Trains and writes model, tokenizer and `recipe.json` to `output`."""
    go_on(output, recipe, "reading", "impatience2", draw_problem, reading_example)


if __name__ == "__main__":
    build(Path(sys.argv[1]), ReaderRecipe())
