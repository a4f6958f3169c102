"""Self-distillation and harvests as arms of a comparison, at the same budget as the others."""

import json

import pytest
import yaml

from g2rpo.errors import ConfigError
from g2rpo.lab.compare.comparison import compare
from g2rpo.lab.compare.experiment import read_experiment
from g2rpo.training.sdft import privileged_dataset, resolve_sdft, train_sdft

SHARED = {
    "model_name_or_path": "builtin",
    "task": "chains",
    "task_steps": [3],
    "task_size": 100,
    "rewards": ["exact"],
    "num_generations": 4,
    "per_device_train_batch_size": 8,
    "max_completion_length": 48,
    "learning_rate": 1.0e-5,
    "max_steps": 100,
    "use_cpu": True,
    "bf16": False,
}


@pytest.fixture
def experiment(tmp_path):
    def write(**arms):
        path = tmp_path / "small.yaml"
        parts = {"budget": {"sampled_tokens": 2500}, "evaluation": {"problems": 8, "during": 4, "points": 1}}
        path.write_text(yaml.safe_dump({"seeds": 1, **parts, "shared": SHARED, "arms": arms}))
        return read_experiment(path)

    return write


def test_the_teacher_sees_the_whole_right_completion_and_every_sampled_token_counts(tmp_path):
    fields = {**SHARED, "output_dir": str(tmp_path / "run"), "max_steps": 2, "report_to": "none", "preset": "g2rpo"}
    recipe = resolve_sdft(fields)
    problems = recipe.data.problems()
    rows = privileged_dataset(problems, recipe.data.guidance_style)
    assert rows[0]["privileged_context"] == f"<think>\n{problems[0].trace}\n</think>\n<answer>{problems[0].answer}</answer>"
    seen = []

    def watch(trainer):
        prepare = trainer._prepare_training_batch

        def prepared(inputs):
            batch = prepare(inputs)
            seen.append((inputs, batch))
            return batch

        trainer._prepare_training_batch = prepared
        from transformers import TrainerCallback

        return TrainerCallback()

    trainer = train_sdft(recipe, quiet=True, callbacks=[watch])
    assert len(seen) == 2
    assert trainer.spent_tokens == sum(int(b["completion_mask"].sum()) for _, b in seen)
    for inputs, batch in seen:
        for row, ids, mask in zip(inputs, batch["teacher_input_ids"], batch["teacher_attention_mask"], strict=True):
            shown = trainer._tokenizer.decode(ids[mask.bool()])
            assert row["privileged_context"] in shown
            assert row["prompt"][-1]["content"] in shown


@pytest.mark.slow
def test_they_are_arms_like_any_other(experiment, tmp_path):
    plan = experiment(
        grpo={"preset": "grpo"},
        sdft={"method": "sdft"},
        own={"stages": [{"method": "harvest", "share": 0.5}, {"preset": "prefix-rl"}]},
    )
    compare(plan, tmp_path / "out", jobs=1)
    summary = json.loads((tmp_path / "out" / "comparison.json").read_text())
    arms = summary["tasks"]["chains"]["arms"]
    for name in ("grpo", "sdft", "own"):
        assert 2500 <= arms[name]["spent"]["sampled_tokens"][0] < 4500
    [[harvested, trained]] = arms["own"]["stages"]
    assert harvested["method"] == "harvest"
    assert 1250 <= harvested["spent"]["sampled_tokens"] < 4500
    assert trained["steps"] > 0


def test_a_harvest_comes_first_and_something_learns_from_it(experiment):
    for stages in ([{"method": "harvest"}], [{"preset": "grpo", "share": 0.5}, {"method": "harvest"}]):
        with pytest.raises(ConfigError, match="it first, and a stage after it"):
            experiment(own={"stages": stages})
