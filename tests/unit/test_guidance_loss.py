"""Losses on guidance tokens: their advantages per token have the gradients of the losses that the papers write."""

import pytest
import torch

from g2rpo.errors import ConfigError
from g2rpo.method.guidance_loss import GUIDANCE_LOSSES, loss_mask, token_advantages, verified

GIVEN, SAMPLED, VOCABULARY = 5, 3, 7
SUCCESS = 0.6
TOKENS = torch.tensor([0, 3, 1, 6, 2, 2, 4, 5])


def scores(logits):
    logp = torch.log_softmax(logits, -1)
    return logp[torch.arange(len(TOKENS)), TOKENS], -(logp.exp() * logp).sum(-1)


def written_out(name, c, logp, entropy, advantage):
    """The loss as in its paper, summed over the guidance, and the policy gradient on the sampled tokens."""
    given, own = logp[:GIVEN], logp[GIVEN:]
    p = given.exp()
    if name == "sft":
        loss = -(c * given).sum()
    elif name == "verified_sft":
        perplexity = torch.exp(-given.detach().mean())
        loss = -(c * SUCCESS * max(advantage, 0.0) / perplexity * given).sum()
    elif name == "luffy":
        loss = -(advantage * p / (p + c)).sum()
    elif name == "trust_region_sft":
        loss = -(p / p.detach().clamp(min=c)).sum()
    elif name == "top_entropy":
        top = entropy[:GIVEN].topk(2).indices  # ceil(0.4 * 5)
        loss = -(advantage * torch.exp(given - given.detach()))[top].sum()
    return loss - (advantage * torch.exp(own - own.detach())).sum()


@pytest.mark.parametrize("advantage", [1.3, -0.7, 0.0])
@pytest.mark.parametrize(
    ("name", "c"), [("sft", 0.3), ("verified_sft", 0.5), ("luffy", 0.1), ("trust_region_sft", 0.2), ("top_entropy", 0.4)]
)
def test_gradients_are_those_of_the_losses_as_written(name, c, advantage):
    logits = (2 * torch.randn(GIVEN + SAMPLED, VOCABULARY, generator=torch.Generator().manual_seed(0))).requires_grad_()
    logp, entropy = scores(logits)
    [wanted] = torch.autograd.grad(written_out(name, c, logp, entropy, advantage), logits)
    logp, entropy = scores(logits)
    arrived = verified(torch.tensor([advantage]), torch.tensor([SUCCESS]))
    weights = token_advantages(
        torch.tensor([advantage]), torch.tensor([GIVEN]), logp[None], entropy[None], GUIDANCE_LOSSES[name], c, arrived
    )
    [got] = torch.autograd.grad(-(torch.exp(logp - logp.detach()) * weights[0]).sum(), logits)
    torch.testing.assert_close(got, wanted)
    assert not weights.requires_grad


def test_by_hand():
    # p = 1/2, 1/10 given, then a sampled token; A = 2
    logp, entropy = torch.tensor([[0.5, 0.1, 0.3]]).log(), torch.tensor([[0.2, 0.9, 5.0]])

    def weights(name, c):
        return token_advantages(
            torch.tensor([2.0]), torch.tensor([2]), logp, entropy, GUIDANCE_LOSSES[name], c, torch.tensor([0.5])
        )[0].tolist()

    assert weights("sft", 0.001) == pytest.approx([0.001, 0.001, 2])
    assert weights("verified_sft", 1.0) == pytest.approx([0.05**0.5, 0.05**0.5, 2])  # half right; perplexity 1 / sqrt(1/2 * 1/10)
    assert weights("luffy", 0.1) == pytest.approx([2 * 0.05 / 0.36, 2 * 0.01 / 0.04, 2])
    assert weights("trust_region_sft", 0.2) == pytest.approx([1, 0.5, 2])
    assert weights("top_entropy", 0.2) == pytest.approx([0, 2, 2])  # one of two; the sampled token's entropy does not count


@pytest.mark.parametrize("name", [n for n, loss in GUIDANCE_LOSSES.items() if loss.weigh])
def test_rows_without_guidance_keep_their_advantage(name):
    logp = torch.full((2, 4), -1.0)
    got = token_advantages(
        torch.tensor([0.5, -1.0]), torch.tensor([0, 2]), logp, -logp, GUIDANCE_LOSSES[name], None, torch.ones(2)
    )
    assert got[0].tolist() == [0.5] * 4
    assert got[1, 2:].tolist() == [-1.0] * 2


def test_a_prefix_is_verified_as_far_as_the_row_succeeded_where_that_was_better_than_its_group():
    advantages = torch.tensor([1.5, 1.5, 1.5, -0.5, 0.0, 1.0])
    success = torch.tensor([1.0, 0.2, torch.nan, 0.9, 1.0, 3.0])
    assert verified(advantages, success).tolist() == pytest.approx([1.0, 0.2, 0.0, 0.0, 0.0, 1.0])
    assert loss_mask(2, 1, GUIDANCE_LOSSES["verified_sft"], 0.2) == [1, 1, 1]
    assert loss_mask(2, 1, GUIDANCE_LOSSES["verified_sft"], 0.0) == [0, 0, 1]


def test_only_masked_guidance_is_left_out():
    for name in GUIDANCE_LOSSES:
        assert loss_mask(2, 3, GUIDANCE_LOSSES[name]) == ([0, 0, 1, 1, 1] if name == "mask" else [1] * 5)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"guidance_loss": "mask", "guidance_loss_coefficient": 0.1}, "the loss mask has none"),
        ({"guidance_loss": "luffy", "guidance_loss_coefficient": 0.0}, "above 0, at most 1"),
        ({"guidance_loss": "luffy", "guidance_loss_coefficient": 1.5}, "above 0, at most 1"),
        ({"guidance_loss": "luffy", "loss_type": "luspo"}, "loss_type is 'luspo'"),
        ({"guidance_loss": "sft", "importance_sampling_level": "sequence"}, "importance_sampling_level is 'sequence'"),
        ({"guidance_loss": "sft", "off_policy_mask_threshold": 0.1}, "off_policy_mask_threshold is 0.1"),
        ({"guidance_advantages": "unguided_baseline", "guidance_ratio": 1.0}, "an unguided rollout in each group"),
        ({"guidance_advantages": "leave_one_out", "multi_objective_aggregation": "normalize_then_sum"}, "with leave_one_out"),
    ],
)
def test_what_cannot_be_combined_is_told(config, fields, message):
    with pytest.raises(ConfigError) as error:
        config(**fields)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("fields", "loss"),
    [
        ({}, "verified_sft"),
        ({"loss_type": "vespo"}, "mask"),
        ({"importance_sampling_level": "sequence"}, "mask"),
        ({"off_policy_mask_threshold": 0.5}, "mask"),
        ({"loss_type": "cispo", "epsilon_high": 1.2}, "verified_sft"),
    ],
)
def test_an_unset_loss_is_one_that_the_objective_can_take(config, fields, loss):
    assert config(**fields).guidance_loss == loss
