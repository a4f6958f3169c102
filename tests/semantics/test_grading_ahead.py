"""Rewards that can grade ahead are told of each row as it ends, in the very words that they are asked about later."""

from itertools import chain

import pytest

from g2rpo import GuidedGRPOTrainer
from g2rpo.rewards.extract import completion_text


class Told:
    """A reward that writes down what it is told, and what it is asked."""

    __name__ = "told"

    def __init__(self):
        self.told, self.asked = [], []

    def ahead(self, completion, answer, **columns):
        self.told.append((completion_text(completion), answer))

    def __call__(self, completions, answer, **columns):
        self.asked.append([(completion_text(c), a) for c, a in zip(completions, answer, strict=True)])
        return [len(text) % 3 / 2 for text, _ in self.asked[-1]]


@pytest.mark.parametrize("fields", [{}, {"guidance_controller": "none"}, {"guidance_controller": "none", "guidance_seeded_sampling": True}], ids=str)  # fmt: skip
def test_each_row_is_told_before_it_is_asked_about(make_model, tokenizer, rows, config, fields):
    reward = Told()
    trainer = GuidedGRPOTrainer(make_model(), [reward], config(**fields), rows(4), processing_class=tokenizer)
    trainer.train()
    assert len(reward.asked) == 2
    assert sorted(reward.told) == sorted(chain(*reward.asked))


def test_generate_tells_nothing(make_model, tokenizer, rows, config):
    reward = Told()
    GuidedGRPOTrainer(make_model(), [reward], config(fast=False), rows(4), processing_class=tokenizer).train()
    assert (len(reward.asked), reward.told) == (2, [])
