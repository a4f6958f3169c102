"""`reuse_sampler_logprobs`: the old policy's log-probabilities come from the sampler, and are those that a forward pass would
give."""

import pytest
import torch

from g2rpo import GuidedGRPOTrainer
from g2rpo.errors import ConfigError
from g2rpo.training.fast.update import FastUpdate

GUIDED = {"guidance_controller": "fixed", "guidance_controller_kwargs": {"length": 12}}
UNGUIDED = {"guidance_controller": "none", "guidance_seeded_sampling": True}


def length_reward(completions, **columns):
    return [float(len(c[0]["content"]) % 5) / 4 for c in completions]


@pytest.fixture
def old_logps(make_model, tokenizer, rows, config, monkeypatch):
    """Two updates on one batch; gives it, its log-probabilities under the old policy, and how many positions were scored for
    them."""

    def run(**fields):
        args = config(**{"num_iterations": 2, "temperature": 0.7, **fields})
        trainer = GuidedGRPOTrainer(make_model(initializer_range=0.1), [length_reward], args, rows(8), processing_class=tokenizer)
        batches, scored = [], []
        regroup, score = trainer._advantages, FastUpdate.score

        def counted(self, model, input_ids, attention_mask, needed_BC, *args, **kwargs):
            if not torch.is_grad_enabled():
                scored.append(needed_BC.sum().item())
            return score(self, model, input_ids, attention_mask, needed_BC, *args, **kwargs)

        monkeypatch.setattr(FastUpdate, "score", counted)
        trainer._advantages = lambda output, *args: batches.append(dict(output)) or regroup(output, *args)
        trainer.train()
        monkeypatch.setattr(FastUpdate, "score", score)
        losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
        return batches[0], batches[0]["old_per_token_logps"], scored, losses

    return run


@pytest.mark.parametrize(
    ("fields", "positions"),
    [
        (UNGUIDED, []),
        ({**GUIDED, "guidance_loss": "mask"}, []),
        ({**GUIDED, "guidance_loss": "verified_sft"}, [4 * 12]),
        ({**GUIDED, "guidance_loss": "policy_gradient"}, [4 * 12]),
    ],
    ids=["unguided", "mask", "verified_sft", "policy_gradient"],
)
def test_the_sampler_tells_what_a_forward_pass_would(old_logps, fields, positions):
    _, computed, whole, losses = old_logps(**fields)
    batch, reused, scored, same = old_logps(**fields, reuse_sampler_logprobs=True)
    trained = (batch["completion_mask"] * batch.get("tool_mask", 1)).bool()
    torch.testing.assert_close(reused[trained], computed[trained], rtol=0, atol=1e-4)
    assert same == pytest.approx(losses, abs=1e-4)
    assert len(whole) == 1
    assert scored == positions  # guidance that is learned from was not drawn; nothing else goes through the model


def test_where_a_batch_is_used_once_nothing_is_asked_of_the_sampler(make_model, tokenizer, rows, config, tmp_path):
    args = config(**UNGUIDED, reuse_sampler_logprobs=True, beta=0.1)
    model = make_model()
    model.save_pretrained(tmp_path / "model")  # the reference model is loaded from where the model came from
    model.config._name_or_path = str(tmp_path / "model")
    trainer = GuidedGRPOTrainer(model, [length_reward], args, rows(8), processing_class=tokenizer)
    seen = []
    regroup = trainer._advantages
    trainer._advantages = lambda output, *args: seen.append(dict(output)) or regroup(output, *args)
    trainer.train()
    assert "old_per_token_logps" not in seen[0]
    assert seen[0]["ref_per_token_logps"].abs().sum() > 0  # the reference policy's are computed as ever


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"guidance_controller": "none"}, "reuse_sampler_logprobs is True. Expected a sampler that tells"),
        ({"top_p": 0.9}, "top_p is 0.9. Expected 1 with reuse_sampler_logprobs"),
        ({"top_k": 50}, "top_k is 50"),
        ({"generation_kwargs": {"top_p": 0.5}}, "generation_kwargs is {'top_p': 0.5}"),
        ({"min_p": 0.1}, "min_p is 0.1"),
    ],
    ids=str,
)
def test_probabilities_of_something_else_are_refused(config, fields, message):
    with pytest.raises(ConfigError, match=message):
        config(reuse_sampler_logprobs=True, **fields)
