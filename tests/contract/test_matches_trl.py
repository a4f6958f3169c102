"""With the controller `none`, a step is TRL's own: bit for bit with `fast` off, and the same up to rounding with it on."""

import pytest
import torch
from trl import GRPOConfig, GRPOTrainer

from g2rpo import GuidedGRPOTrainer


def length_reward(completions, **columns):
    """Something that varies between rollouts of an untrained model."""
    return [float(len(c[0]["content"]) % 7) for c in completions]


def train_both(make_model, tokenizer, rows, config, tmp_path, fields, **ours):
    """Logs and final weights of TRL's trainer and of ours."""
    ours_args = config(guidance_controller="none", **{"max_steps": 3, **fields, **ours})
    theirs_args = GRPOConfig(
        output_dir=str(tmp_path / "trl"),
        use_cpu=True,
        bf16=False,
        num_generations=4,
        per_device_train_batch_size=8,
        max_completion_length=48,
        learning_rate=1e-3,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        logging_steps=1,
        activation_checkpointing=False,
        **{"max_steps": 3, **fields},
    )
    logs, weights = [], []
    for kind, args in ((GRPOTrainer, theirs_args), (GuidedGRPOTrainer, ours_args)):
        model = make_model()
        model.save_pretrained(tmp_path / "model")  # the reference model of beta > 0 is loaded from where the model came from
        model.config._name_or_path = str(tmp_path / "model")
        trainer = kind(model, [length_reward], args, rows(8), processing_class=tokenizer)
        trainer.train()
        logs.append([(r["loss"], r["grad_norm"], r.get("reward", 0.0)) for r in trainer.state.log_history if "loss" in r])
        weights.append(torch.cat([p.detach().flatten() for p in trainer.model.parameters()]))
    assert any(loss != 0 for loss, _, _ in logs[0])
    return logs, weights


KL = {"loss_type": "grpo", "beta": 0.1, "gradient_accumulation_steps": 2}
AGAIN = {"num_iterations": 2, "gradient_accumulation_steps": 2, "max_steps": 4}


@pytest.mark.parametrize("fields", [{}, KL], ids=["default", "kl"])
def test_unguided_training_is_trls_own(make_model, tokenizer, rows, config, tmp_path, fields):
    logs, weights = train_both(make_model, tokenizer, rows, config, tmp_path, fields, fast=False)
    assert logs[0] == logs[1]
    assert torch.equal(weights[0], weights[1])


@pytest.mark.parametrize("fields", [{}, KL, AGAIN], ids=["default", "kl", "again"])
def test_fast_training_is_trls_own_up_to_rounding(make_model, tokenizer, rows, config, tmp_path, fields):
    logs, weights = train_both(make_model, tokenizer, rows, config, tmp_path, fields, fast=True)
    assert torch.tensor(logs[1]) == pytest.approx(torch.tensor(logs[0]), rel=1e-4, abs=1e-5)
    assert (weights[1] - weights[0]).norm() / weights[0].norm() < 1e-5
