"""Rewards that can grade ahead are told of each row as it ends, in the very words that they are asked about later."""

from itertools import chain

import pytest
import torch
from rlvr_graders.extract import completion_text

from g2rpo import GuidedGRPOTrainer
from g2rpo.training.step_batch import StepBatch


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


@pytest.mark.parametrize(
    "fields", [{}, {"guidance_controller": "none"}, {"guidance_controller": "none", "guidance_seeded_sampling": True}], ids=str
)
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


def test_rows_are_told_while_others_still_decode(make_model, tokenizer, rows, config):
    """The first row that ends is told before the last one's last token is drawn."""
    reward, forwards = Told(), []
    reward.ahead = lambda completion, **columns: reward.told.append(len(forwards))
    model = make_model()
    trainer = GuidedGRPOTrainer(model, [reward], config(max_steps=1), rows(4), processing_class=tokenizer)
    model.register_forward_hook(lambda *_: forwards.append(not torch.is_grad_enabled()))
    trainer.train()
    assert min(reward.told) < max(reward.told) <= sum(forwards)


def test_an_error_ahead_is_left_to_the_reward(make_model, tokenizer, rows, config):
    reward = Told()
    reward.ahead = lambda completion, **columns: 1 / 0
    GuidedGRPOTrainer(make_model(), [reward], config(), rows(4), processing_class=tokenizer).train()
    assert len(reward.asked) == 2


def test_a_part_of_the_rows_is_not_told(make_model, tokenizer, rows, config):
    """As in TRL's loop over tool calls, whose rows are not those of the batch."""
    reward = Told()
    trainer = GuidedGRPOTrainer(make_model(), [reward], config(guidance_controller="none"), rows(4), processing_class=tokenizer)
    trainer.step_batch = StepBatch(list(trainer.train_dataset))
    trainer.model.train()
    trainer._generate_single_turn([[5, 6, 7]] * 2, None, {}, 1)
    assert reward.told == []
