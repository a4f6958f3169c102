"""Builds the built-in base model: it knows every single step, and loses patience on the way to the answer.

    python -m g2rpo.lab.base_models.build OUTPUT_DIR        (or `make base`)

Small models meet RL with verifiable rewards like this: they can do each step of a problem, and rarely string enough of them
together. We make that state on purpose and in the open, in two phases of supervised training on the package's own tasks:

1. *Skill.* Full worked traces of 1 to `max_steps` steps, until single steps are nearly always right.
2. *Impatience.* At each boundary between two steps the target is, with probability `impatience`, to write `...` and
   guess: a number between 0 and 99, right once in a hundred, or a program of one random operation. The context after such a label
   stays the true trace, so that long contexts are seen as often as before and the skill is kept; what follows a jump is learned
   from traces cut at a boundary.

With s steps the plain pass rate is about (1 - impatience)^(s - 1) times the skill, plus, where the answer is a number, one lucky
guess in a hundred, which is rewarded as well: a reward cannot tell luck from work. Impatience is above one half, so that greedy
decoding does not undo it either. Nothing in this recipe knows of any training method.
"""

import hashlib
import json
import random
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase, Qwen3Config, Qwen3ForCausalLM

from g2rpo.data.completion import STYLES, Style, full_completion
from g2rpo.data.problem import Problem
from g2rpo.data.tasks import FAMILIES, PROGRAMS, programs, split_of
from g2rpo.lab.base_models.tokenizer import train_tokenizer
from g2rpo.seeds import rng, seed_of

GIVING_UP = "\n..."
"""What stands where the remaining steps should: a model that guesses is not one that has finished."""
GUESSES = 100
"""Guessed answers are drawn from 0 .. GUESSES - 1, the range of true ones."""
LONGEST_PROGRAM = 7
"""Most operations of a program in training: a program's trace is three times as long as a chain's."""


@dataclass(frozen=True)
class BaseRecipe:
    """Everything that decides the weights, up to rounding of the machine."""

    seed: int = 0
    vocab_size: int = 640
    hidden_size: int = 128
    layers: int = 4
    heads: int = 4
    kv_heads: int = 2
    intermediate_size: int = 384
    max_steps: int = 10
    batch_size: int = 64
    skill_steps: int = 2800
    skill_learning_rate: float = 3e-3
    impatience: float = 0.7
    impatience_steps: int = 350
    impatience_learning_rate: float = 5e-4
    style: str = "think_answer"

    @property
    def hash(self) -> str:
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def draw_problem(r: random.Random, max_steps: int) -> Problem:
    """A train-split problem of a random family and of 1 to `max_steps` steps."""
    families = {**FAMILIES, **PROGRAMS}
    while True:
        family = r.choice(sorted(families))
        problem = families[family](r, r.randint(1, min(max_steps, LONGEST_PROGRAM) if family in PROGRAMS else max_steps))
        if split_of(problem) == "train":
            return problem


def guess(problem: Problem, r: random.Random) -> Problem:
    """The same problem with what someone writes who gives up: a random number, or a program of one random operation."""
    if problem.tests is None:
        return replace(problem, trace="", answer=str(r.randrange(GUESSES)))
    return replace(problem, trace="", tests={**problem.tests, "solution": programs.random_program(r)})


def answer_part(problem: Problem, style: Style) -> str:
    """What a completion says after the trace."""
    return full_completion(problem, style)[len(style.before_trace) + len(problem.trace or "") :]


def example(problem: Problem, tokenizer: PreTrainedTokenizerBase, recipe: BaseRecipe, r: random.Random, impatience: float):
    """Token ids and labels (-100 where nothing is learned) of one training sequence."""
    style = STYLES[recipe.style]
    prompt = tokenizer.apply_chat_template(problem.prompt, add_generation_prompt=True, tokenize=False)
    encode = lambda text: tokenizer(text, add_special_tokens=False)["input_ids"]  # noqa: E731
    steps = problem.trace.split("\n")
    if len(steps) > 1 and r.random() < impatience / 2:
        # What follows a jump: the trace is really cut, and only the text after the cut is learned.
        cut = r.randrange(1, len(steps))
        head = encode(prompt + style.before_trace + "\n".join(steps[:cut]))
        tail = [*encode(GIVING_UP + answer_part(guess(problem, r), style)), tokenizer.eos_token_id]
        return head + tail, [-100] * len(head) + tail
    jump_at = [b for b in range(1, len(steps)) if r.random() < impatience]
    prompt_ids = encode(prompt)
    pieces = [encode(style.before_trace + steps[0])] + [encode("\n" + s) for s in steps[1:]]
    ids = list(prompt_ids)
    labels = [-100] * len(prompt_ids)
    jump = encode(GIVING_UP + style.between)
    for number, piece in enumerate(pieces):
        ids += piece
        if number in jump_at:  # going on and jumping share their first tokens (the line break): the next one decides
            k = next(i for i, (a, b) in enumerate(zip(piece, jump, strict=False)) if a != b)
            piece = [*piece[:k], jump[k], *piece[k + 1 :]]
        labels += piece
    tail = [*encode(answer_part(problem, style)), tokenizer.eos_token_id]
    return ids + tail, labels + tail


def batches(tokenizer, recipe: BaseRecipe, phase: str, steps: int, impatience: float, draw=draw_problem, make=example):
    """Batches of similar length, padded on the right: (ids, labels, attention mask), each of shape (B, T)."""
    r = rng(recipe.seed, "base", phase)
    pool_size = 8 * recipe.batch_size
    for start in range(0, steps, 8):
        # Short problems first: they hold the same single steps at a fraction of the cost.
        max_steps = recipe.max_steps if impatience else min(recipe.max_steps, 3 + start * recipe.max_steps // steps)
        pool = sorted(
            (make(draw(r, max_steps), tokenizer, recipe, r, impatience) for _ in range(pool_size)), key=lambda e: len(e[0])
        )
        chunks = [pool[i : i + recipe.batch_size] for i in range(0, pool_size, recipe.batch_size)]
        r.shuffle(chunks)
        for chunk in chunks[: steps - start]:
            yield padded(chunk, tokenizer.pad_token_id)


def padded(chunk: list[tuple[list[int], list[int]]], pad: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Ids, labels and attention mask, each of shape (B, T), filled on the right."""
    length = max(len(ids) for ids, _ in chunk)
    return (
        torch.tensor([ids + [pad] * (length - len(ids)) for ids, _ in chunk]),
        torch.tensor([labels + [-100] * (length - len(labels)) for _, labels in chunk]),
        torch.tensor([[1] * len(ids) + [0] * (length - len(ids)) for ids, _ in chunk]),
    )


def train_phase(model, batches: Iterable, phase: str, steps: int, learning_rate: float) -> None:
    """AdamW with a short warm-up and cosine decay to zero, token-mean loss."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.01, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps, pct_start=0.05)
    began = time.monotonic()
    for step, (ids, labels, mask) in enumerate(batches, 1):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = model(input_ids=ids, labels=labels, attention_mask=mask).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        if step % 100 == 0 or step == steps:
            print(f"{phase} {step}/{steps} loss {loss.item():.4f} {time.monotonic() - began:.0f} s", flush=True)


def build(output: Path, recipe: BaseRecipe) -> None:
    """Trains and writes model, tokenizer and `recipe.json` to `output`."""
    torch.manual_seed(seed_of(recipe.seed, "base", "init"))
    r = rng(recipe.seed, "base", "tokenizer")
    texts = []
    for _ in range(4000):
        problem = draw_problem(r, recipe.max_steps)
        texts += [problem.prompt[0]["content"], full_completion(problem, STYLES[recipe.style]), "user\n", "assistant\n"]
    tokenizer = train_tokenizer(texts, recipe.vocab_size)
    model = new_model(tokenizer, recipe)
    phases = (
        ("skill", recipe.skill_steps, recipe.skill_learning_rate, 0.0),
        ("impatience", recipe.impatience_steps, recipe.impatience_learning_rate, recipe.impatience),
    )
    for phase, steps, learning_rate, impatience in phases:
        train_phase(model, batches(tokenizer, recipe, phase, steps, impatience), phase, steps, learning_rate)
    save(model, tokenizer, output, recipe)


def go_on(output: Path, recipe: BaseRecipe, skill: str, impatience: str, draw, make=example) -> None:
    """The built-in model after two more phases, on problems and sequences of the caller's. A phase's name seeds its draws."""
    start = Path(__file__).parent / "weights"
    tokenizer = AutoTokenizer.from_pretrained(start)
    model = AutoModelForCausalLM.from_pretrained(start, dtype=torch.float32).train()
    phases = (
        (skill, recipe.skill_steps, recipe.skill_learning_rate, 0.0),
        (impatience, recipe.impatience_steps, recipe.impatience_learning_rate, recipe.impatience),
    )
    for phase, steps, learning_rate, impatient in phases:
        drawn = batches(tokenizer, recipe, phase, steps, impatient, draw=draw, make=make)
        train_phase(model, drawn, phase, steps, learning_rate)
    save(model, tokenizer, output, recipe)


def new_model(tokenizer: PreTrainedTokenizerBase, recipe: BaseRecipe) -> Qwen3ForCausalLM:
    """A Qwen3-shaped model of the recipe's size with random weights, in training mode."""
    model = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=len(tokenizer),
            hidden_size=recipe.hidden_size,
            num_hidden_layers=recipe.layers,
            num_attention_heads=recipe.heads,
            num_key_value_heads=recipe.kv_heads,
            head_dim=recipe.hidden_size // recipe.heads,
            intermediate_size=recipe.intermediate_size,
            max_position_embeddings=1024,
            tie_word_embeddings=True,
            attention_dropout=0.0,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    print(f"{model.num_parameters():,} parameters, {len(tokenizer)} tokens in the vocabulary")
    return model.train()


def save(model, tokenizer, output: Path, recipe: BaseRecipe) -> None:
    """bfloat16 halves the package; the loader gives float32 back."""
    output.mkdir(parents=True, exist_ok=True)
    model.to(torch.bfloat16).save_pretrained(output)
    tokenizer.save_pretrained(output)
    (output / "recipe.json").write_text(json.dumps({"hash": recipe.hash, **asdict(recipe)}, indent=2) + "\n")


if __name__ == "__main__":
    build(Path(sys.argv[1]), BaseRecipe())
