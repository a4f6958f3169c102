"""Prompts of base models: a conversation written out."""

import pytest

from g2rpo.data.problem import Problem
from g2rpo.data.prompt_forms import as_text
from g2rpo.errors import ConfigError, DataError
from g2rpo.training.run.recipe import resolve

WORDS = {
    "task": "word_problems",
    "task_steps": [2],
    "task_size": 20,
    "output_dir": "unused",
    "preset": "grpo",
    "use_cpu": True,
    "bf16": False,
    "system_prompt": "Solve it.",
}


def test_a_conversation_with_its_examples_is_written_out():
    recipe = resolve({**WORDS, "few_shot": 2, "prompt_format": "text", "guidance_style": "gsm8k"})
    prompt = recipe.data.problems()[0].prompt
    assert prompt.startswith("Solve it.\n\nProblem: ")
    assert prompt.endswith("\nSolution:\n")
    assert prompt.count("Problem: ") == 3
    assert prompt.count("\n#### ") == 2


def test_text_stays_as_it_is():
    plain = Problem("k", "1+1=", answer="2")
    assert as_text(plain) is plain


def test_held_out_problems_may_be_text(make_model, tokenizer):
    from g2rpo.lab.compare.arm_run import sampled_scores

    problems = resolve({**WORDS, "prompt_format": "text", "task_size": 2}).data.problems("test")
    scores = sampled_scores(
        make_model(),
        tokenizer,
        problems,
        lambda completions, **columns: [len(c) for c in completions],
        2,
        temperature=1.0,
        seeds=lambda key, sample: 0,
    )
    assert len(scores) == 2


def test_wrong_formats_and_messages_are_told():
    with pytest.raises(ConfigError, match=r"prompt_format is 'html'\. Expected one of chat, text"):
        resolve({**WORDS, "prompt_format": "html"}).data.problems()
    with pytest.raises(DataError, match="messages of text"):
        as_text(Problem("k", [{"role": "user", "content": [{"type": "image"}]}]))
