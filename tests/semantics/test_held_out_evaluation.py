"""Evaluation while training: never guided, with draws of its own, and training does not notice."""

import json

import pytest

from g2rpo.errors import ConfigError
from g2rpo.training.run.recipe import resolve
from g2rpo.training.run.train import train
from g2rpo.training.sft import resolve_sft, train_sft

BASE = {
    "task": "chains",
    "task_steps": [3],
    "task_size": 32,
    "num_generations": 4,
    "per_device_train_batch_size": 8,
    "max_completion_length": 32,
    "max_steps": 4,
    "learning_rate": 1e-3,
    "use_cpu": True,
    "bf16": False,
    "report_to": "none",
    "save_strategy": "no",
    "rewards": ["exact"],
}
EVALUATED = {"eval_suite": ["chains:3"], "eval_limit": 8, "eval_max_tokens": 8, "eval_steps": 2}


def losses(trainer):
    return [(r["step"], r["loss"], r["reward"], r["grad_norm"]) for r in trainer.state.log_history if "loss" in r]


# A model that is right now and then: without rewards nothing would change, and nothing would be tested.
LEARNING = {"model_name_or_path": "builtin", "max_completion_length": 48}


@pytest.mark.parametrize(("preset", "samples"), [("grpo", 1), ("g2rpo", 2)])
def test_training_is_the_same_with_and_without_evaluation(tmp_path, preset, samples):
    fields = {**BASE, **LEARNING, "preset": preset}
    plain = train(resolve({**fields, "output_dir": str(tmp_path / "plain")}), quiet=True)
    watched = train(
        resolve({**fields, **EVALUATED, "num_generations_eval": samples, "output_dir": str(tmp_path / "watched")}), quiet=True
    )
    assert losses(watched) == losses(plain)
    assert any(r["grad_norm"] > 0 for r in plain.state.log_history if "grad_norm" in r)
    for a, b in zip(plain.model.parameters(), watched.model.parameters(), strict=True):
        assert a.equal(b)
    lines = [json.loads(line) for line in (tmp_path / "watched" / "evaluations.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4]
    assert {"eval_accuracy", "eval_chains-3_accuracy", "eval_chains-3_ci95_low", "eval_chains-3_truncated"} <= set(lines[0])
    assert not (tmp_path / "plain" / "evaluations.jsonl").exists()


def test_the_best_checkpoint_is_kept_and_loaded(tmp_path, monkeypatch):
    from g2rpo.training.held_out_evaluation import HeldOut

    accuracies = iter([0.2, 0.7, 0.4, 0.1])
    whole = HeldOut.measure

    def measure(self, *arguments):
        return {name: {**result, "accuracy": next(accuracies)} for name, result in whole(self, *arguments).items()}

    monkeypatch.setattr(HeldOut, "measure", measure)
    saving = {"save_strategy": "steps", "save_steps": 1, "eval_steps": 1, "load_best_model_at_end": True}
    recipe = resolve({**BASE, **LEARNING, **EVALUATED, **saving, "output_dir": str(tmp_path / "run")})
    trainer = train(recipe, quiet=True)
    assert trainer.state.best_metric == 0.7
    assert trainer.state.best_model_checkpoint.endswith("checkpoint-2")
    best = (tmp_path / "run" / "checkpoint-2" / "model.safetensors").read_bytes()
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == best
    assert (tmp_path / "run" / "checkpoint-4" / "model.safetensors").read_bytes() != best


def test_evaluation_before_the_first_step_measures_the_base_model(checkpoint, tmp_path):
    from g2rpo.evaluation.evaluate import EvalOptions, evaluate

    place = checkpoint("qwen3")
    fields = {**BASE, **EVALUATED, "max_steps": 1, "eval_on_start": True, "model_name_or_path": place}
    train(resolve({**fields, "output_dir": str(tmp_path / "run")}), quiet=True)
    first = json.loads((tmp_path / "run" / "evaluations.jsonl").read_text().splitlines()[0])
    alone = evaluate(place, ["chains:3"], tmp_path / "eval", EvalOptions(limit=8, max_tokens=8))["chains-3"]
    assert first["step"] == 0
    assert first["eval_chains-3_mean_length"] == alone["completion_length"]["mean"]
    assert first["eval_chains-3_accuracy"] == alone["accuracy"]


def test_supervised_training_is_watched_alike(checkpoint, tmp_path):
    fields = {**BASE, **EVALUATED, "max_steps": 2, "model_name_or_path": checkpoint("qwen3"), "output_dir": str(tmp_path / "sft")}
    trainer = train_sft(resolve_sft(fields), quiet=True)
    assert [r["step"] for r in trainer.state.log_history if "eval_chains-3_accuracy" in r] == [2]


def test_an_adapter_is_measured_with_its_base(checkpoint, tmp_path):
    fields = {**BASE, **EVALUATED, "max_steps": 2, "use_peft": True, "lora_target_modules": ["q_proj", "v_proj"], "lora_r": 2}
    trainer = train(
        resolve({**fields, "model_name_or_path": checkpoint("qwen3"), "output_dir": str(tmp_path / "run")}), quiet=True
    )
    assert trainer.state.best_metric is not None


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"eval_suite": ["chainz"]}, "Did you mean 'chains'"),
        ({"eval_suite": ["chains"], "eval_preset": "greedy", "num_generations_eval": 4}, "Set eval_preset to paper"),
        ({"eval_strategy": "steps", "eval_steps": 5}, "Set eval_suite"),
    ],
)
def test_mistakes(checkpoint, tmp_path, fields, words):
    with pytest.raises(ConfigError) as error:
        train(
            resolve({**BASE, **fields, "model_name_or_path": checkpoint("qwen3"), "output_dir": str(tmp_path / "run")}),
            quiet=True,
        )
    assert words in str(error.value)
