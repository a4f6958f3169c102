"""Builds `builtin-gsm8k`, the small model of `recipes/gsm8k-tiny.yaml`: it has seen GSM8K's solutions and can do their single
steps.

    python -m g2rpo.lab.base_models.build_gsm8k OUTPUT_DIR --dataset_path FOLDER_WITH_TRAIN_JSONL        (or `make base-gsm8k`)

A model of this size does not solve GSM8K. What it can be is a model that often finishes a solution whose last result is still to
be computed, and hardly ever finds one alone: the state in which guidance matters. It learns from two kinds of batches:

- *Sheets* (three batches of four): a dozen lines each, drawn equations with the operations, numbers and ways of writing that
  GSM8K's solutions have, and lines of solutions torn from their problems: single steps, many per token.
- *Solutions*: GSM8K's training problems as SFT sees them.

The tokenizer is learned on GSM8K's training set.
"""

import argparse
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from g2rpo.data.completion import STYLES, full_completion
from g2rpo.data.load import load_problems
from g2rpo.data.problem import Problem
from g2rpo.lab.base_models.build import BaseRecipe, new_model, padded, save, train_phase
from g2rpo.lab.base_models.tokenizer import train_tokenizer
from g2rpo.seeds import rng, seed_of

WAYS = ("{a}{o}{b}={c}", "{a}{o}{b} = {c}", "{a} {o} {b} = {c}", "${a}{o}{b}=${c}", "{a} {o} {b} = ${c}", "{a}{o}{b}=${c}")
"""How worked solutions write an equation."""
ROUND = (1, 1, 1, 1, 1, 10, 10, 100)
"""Numbers in word problems are often round: what drawn numbers are multiplied by."""


@dataclass(frozen=True)
class Gsm8kRecipe(BaseRecipe):
    """As for the built-in model, where not said otherwise; the impatience has no part in it."""

    vocab_size: int = 1024
    batch_size: int = 32
    skill_steps: int = 1800
    skill_learning_rate: float = 3e-3
    lines: int = 12
    torn_lines: float = 0.3
    """Share of a sheet's lines that come from solutions."""
    solutions_per_batch: int = 12
    longest: int = 448
    """Tokens of a solution with its problem; longer ones are left out."""


def equation(r: random.Random) -> str:
    """One equation with a whole result, or one with cents."""
    small = r.randint(1, 12) * r.choice(ROUND)
    number = r.randint(1, r.choice((20, 100, 100, 1000))) * r.choice(ROUND[2:])
    kind = r.choice("++--***//")
    if kind == "+":
        a, b, c = number, (other := r.randint(1, r.choice((20, 100, 1000)))), number + other
    elif kind == "-":
        c = r.randint(0, r.choice((20, 100, 1000)))
        a, b = c + number, number
        if r.random() < 0.5:
            b, c = c, b
    elif kind == "*":
        a, b = r.choice(((small, number), (number, small), (small, r.randint(1, 20))))
        c = a * b
    else:
        b, c = r.randint(2, 12) * r.choice(ROUND), r.randint(1, r.choice((12, 100))) * r.choice(ROUND)
        a = b * c
    if kind == "*" and r.random() < 0.15:  # prices
        b = r.choice((0.5, 0.25, 1.5, 2.5, 0.2, 0.1, 0.05))
        a = r.randint(1, 100)
        c = a * b
    return r.choice(WAYS).format(a=_written(a), b=_written(b), c=_written(c), o=kind)


def _written(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def sheet(r: random.Random, torn: Sequence[str], recipe: Gsm8kRecipe) -> Problem:
    """A problem without a question: lines that hang together in nothing, and the last equation's result for an answer."""
    lines = [r.choice(torn) if r.random() < recipe.torn_lines else equation(r) for _ in range(recipe.lines - 1)]
    lines.append(equation(r))
    answer = lines[-1].rpartition("=")[2].strip(" $")
    return Problem(key="sheet", prompt=[{"role": "user", "content": "Work out."}], answer=answer, trace="\n".join(lines))


def example(problem: Problem, tokenizer, recipe: Gsm8kRecipe) -> tuple[list[int], list[int]]:
    """Token ids and labels of a problem with its completion."""
    prompt = tokenizer.apply_chat_template(problem.prompt, add_generation_prompt=True, return_dict=False)
    text = full_completion(problem, STYLES[recipe.style])
    completion = [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    return prompt + completion, [-100] * len(prompt) + completion


def batches(solutions: list, torn: Sequence[str], tokenizer, recipe: Gsm8kRecipe) -> Iterator:
    """Three batches of sheets and one of solutions in turn, `skill_steps` in all; solutions of similar length together."""
    r = rng(recipe.seed, "base-gsm8k", "batches")
    queue: list[list] = []
    for step in range(recipe.skill_steps):
        if step % 4:
            chunk = [example(sheet(r, torn, recipe), tokenizer, recipe) for _ in range(recipe.batch_size)]
        else:
            if not queue:
                order = sorted(solutions, key=lambda e: len(e[0]) + 20 * r.random())
                queue = [order[i : i + recipe.solutions_per_batch] for i in range(0, len(order), recipe.solutions_per_batch)]
                r.shuffle(queue)
            chunk = queue.pop()
        yield padded(chunk, tokenizer.pad_token_id)


def build(output: Path, dataset_path: str, recipe: Gsm8kRecipe) -> None:
    """Trains and writes model, tokenizer and `recipe.json` to `output`."""
    torch.manual_seed(seed_of(recipe.seed, "base-gsm8k", "init"))
    problems = load_problems(path=dataset_path, split="train")
    r = rng(recipe.seed, "base-gsm8k", "tokenizer")
    texts = [t for p in problems for t in (p.prompt[0]["content"], full_completion(p, STYLES[recipe.style]))]
    torn = [line for p in problems for line in p.trace.splitlines() if "=" in line]
    texts += [sheet(r, torn, recipe).trace for _ in range(500)]
    tokenizer = train_tokenizer([*texts, "user\n", "assistant\n", "Work out."], recipe.vocab_size)
    model = new_model(tokenizer, recipe)
    print(f"{model.num_parameters():,} parameters, {len(tokenizer)} tokens in the vocabulary")
    solutions = [e for e in (example(p, tokenizer, recipe) for p in problems) if len(e[0]) <= recipe.longest]
    print(f"{len(solutions)} of {len(problems)} solutions have at most {recipe.longest} tokens")
    train_phase(model, batches(solutions, torn, tokenizer, recipe), "skill", recipe.skill_steps, recipe.skill_learning_rate)
    save(model, tokenizer, output, recipe)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Builds the small model of recipes/gsm8k-tiny.yaml.")
    parser.add_argument("output", type=Path)
    parser.add_argument("--dataset_path", required=True, help="folder with GSM8K's train.jsonl")
    given = parser.parse_args()
    build(given.output, given.dataset_path, Gsm8kRecipe())
