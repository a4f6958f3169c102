"""What `builtin-reader` was shown: foreign beginnings that it reads and never learns to write."""

import json
import random

import pytest
from transformers import AutoTokenizer

from g2rpo.data.completion import STYLES
from g2rpo.data.tasks.notations import altered
from g2rpo.lab.base_models.build_reader import FOREIGN, ReaderRecipe, draw_problem, reading_example
from g2rpo.method.prefix import tokenize_trace
from g2rpo.models import BUILTIN

RECIPE = ReaderRecipe()
TOKENIZER = AutoTokenizer.from_pretrained(BUILTIN["builtin-reader"])


def examples(impatience, count=200):
    r = random.Random(0)
    for _ in range(count):
        problem = draw_problem(r, 9)
        ids, labels = reading_example(problem, TOKENIZER, RECIPE, r, impatience)
        yield problem, ids, labels, TOKENIZER.decode(ids), TOKENIZER.decode([i for i in labels if i != -100])


@pytest.mark.parametrize("impatience", [0.0, RECIPE.impatience])
def test_no_loss_on_anything_foreign(impatience):
    seen = set()
    for problem, ids, labels, text, learned in examples(impatience):
        assert len(ids) == len(labels)
        for style in FOREIGN:
            first = altered(problem, style=style).trace.split("\n")[0]
            if f"<think>\n{first}\n" in text:
                seen.add(style)
                assert not learned.startswith(first + "\n")
                assert "ing " not in learned  # "adding 15 to 37 gives 52"
    assert seen == set(FOREIGN)


def test_without_impatience_it_ends_in_the_answer():
    for problem, ids, labels, _, learned in examples(0.0):
        assert labels[-1] == ids[-1] == TOKENIZER.eos_token_id
        assert f"<answer>{problem.answer}</answer>" in learned


def test_a_prefix_cut_at_a_step_is_what_it_was_shown():
    """The seam in training is the seam in guidance: tokens of the foreign steps, line break included."""
    r = random.Random(1)
    for _ in range(50):
        problem = draw_problem(r, 6)
        foreign = altered(problem, style=r.choice(FOREIGN))
        lines = foreign.trace.split("\n")
        tokens = tokenize_trace(TOKENIZER, STYLES[RECIPE.style].before_trace, foreign.trace, None)
        for number, end in enumerate(tokens.step_ends[:-1], 1):
            text = STYLES[RECIPE.style].before_trace + "".join(line + "\n" for line in lines[:number])
            assert list(tokens.ids[:end]) == TOKENIZER(text, add_special_tokens=False)["input_ids"]


def test_the_weights_are_those_of_the_recipe():
    assert json.loads((BUILTIN["builtin-reader"] / "recipe.json").read_text())["hash"] == RECIPE.hash
