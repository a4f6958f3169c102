"""Rows, rewards and a trainer that is made and never trained."""

import pytest
from datasets import Dataset

from g2rpo import GuidedGRPOTrainer


def accuracy_reward(completions, **columns):
    return [0.0] * len(completions)


def format_reward(completions, **columns):
    return [1.0] * len(completions)


def question(i):
    return [{"role": "user", "content": f"question {i}"}]


def table(n=4, **changes):
    """Rows with a prompt, a trace that is fine and an answer; `changes` maps a column to a function of the row's number."""
    columns = {"prompt": question, "trace": lambda i: f"{i}+1={i + 1}\nand so on", "answer": lambda i: str(i + 50), **changes}
    return Dataset.from_list([{c: f(i) for c, f in columns.items() if f is not None} for i in range(n)])


@pytest.fixture
def build(make_model, tokenizer, config):
    """Makes a trainer, and never trains it: whatever is wrong must be said by then."""

    def make(data, rewards=accuracy_reward, model=None, tok=None, **fields):
        return GuidedGRPOTrainer(model or make_model(), rewards, config(**fields), data, processing_class=tok or tokenizer)

    return make
