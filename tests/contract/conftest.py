"""Fixtures of the tests that compare updates with TRL's."""

import pytest

from g2rpo import GuidedGRPOTrainer
from tests.contract.fast_updates import reward


@pytest.fixture
def make_trainer(make_model, tokenizer, rows, config, tmp_path):
    def build(kind="qwen3", model=None, accumulation=2, **fields):
        if model is None:
            model = make_model(kind, initializer_range=0.2)
        if fields.get("beta"):
            model.save_pretrained(tmp_path / "model")  # the reference model is loaded from where the model came from
            model.config._name_or_path = str(tmp_path / "model")
        args = config(
            guidance_controller="none",
            gradient_accumulation_steps=accumulation,
            per_device_train_batch_size=8 // accumulation,
            **fields,
        )
        return GuidedGRPOTrainer(model, [reward], args, rows(8), processing_class=tokenizer)

    return build


@pytest.fixture
def forwards(monkeypatch):
    """Shapes of the ids that a trainer's model was given since they were asked for."""
    shapes = []

    def watch(trainer):
        inner = trainer.model.get_input_embeddings()
        inner.register_forward_hook(lambda module, inputs, output: shapes.append(tuple(inputs[0].shape)))
        return shapes

    return watch
