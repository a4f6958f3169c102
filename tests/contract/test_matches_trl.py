"""With the controller `none`, a step is TRL's own: the same losses, gradients and weights, bit for bit."""

import pytest
import torch
from trl import GRPOConfig, GRPOTrainer

from g2rpo import GuidedGRPOTrainer


def length_reward(completions, **columns):
    """Something that varies between rollouts of an untrained model."""
    return [float(len(c[0]["content"]) % 7) for c in completions]


@pytest.mark.parametrize("fields", [{}, {"loss_type": "grpo", "beta": 0.1, "gradient_accumulation_steps": 2}])
def test_unguided_training_is_trls_own(make_model, tokenizer, rows, config, tmp_path, fields):
    ours_args = config(guidance_controller="none", max_steps=3, **fields)
    theirs_args = GRPOConfig(
        output_dir=str(tmp_path / "trl"), use_cpu=True, bf16=False, max_steps=3, num_generations=4, per_device_train_batch_size=8,
        max_completion_length=48, learning_rate=1e-3, report_to=[], save_strategy="no", disable_tqdm=True, logging_steps=1,
        activation_checkpointing=False, **fields,
    )  # fmt: skip
    logs, weights = [], []
    for kind, args in ((GRPOTrainer, theirs_args), (GuidedGRPOTrainer, ours_args)):
        model = make_model()
        model.save_pretrained(tmp_path / "model")  # the reference model of beta > 0 is loaded from where the model came from
        model.config._name_or_path = str(tmp_path / "model")
        trainer = kind(model, [length_reward], args, rows(8), processing_class=tokenizer)
        trainer.train()
        logs.append([(r["loss"], r["grad_norm"], r["reward"]) for r in trainer.state.log_history if "loss" in r])
        weights.append(torch.cat([p.detach().flatten() for p in trainer.model.parameters()]))
    assert logs[0] == logs[1]
    assert any(loss != 0 for loss, _, _ in logs[0])
    assert torch.equal(weights[0], weights[1])
