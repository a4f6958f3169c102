"""A run that was stopped at a checkpoint and resumed is the run that was never stopped."""

import json
import re
from pathlib import Path

import pytest
import torch
from transformers import TrainerCallback

from g2rpo import GuidedGRPOTrainer
from g2rpo.data.curriculum import in_order
from g2rpo.data.load import to_rows
from g2rpo.data.tasks import make
from g2rpo.errors import RunError
from g2rpo.training.run.recipe import resolve
from g2rpo.training.run.run_directory import RunDirectory
from g2rpo.training.run.train import complete, train
from g2rpo.training.sft import resolve_sft, train_sft


def length_reward(completions, **columns):
    return [float(len(c[0]["content"]) % 5) / 4 for c in completions]


def test_resumed_equals_uninterrupted(make_model, tokenizer, rows, config, tmp_path):
    def trainer(name, **fields):
        args = config(
            output_dir=str(tmp_path / name),
            max_steps=4,
            save_strategy="steps",
            save_steps=2,
            guidance_controller="paper",
            guidance_controller_kwargs={"initial_length": 12, "max_length": 40},
            guidance_advantages="joint",
            **fields,
        )
        return GuidedGRPOTrainer(make_model(), [length_reward], args, rows(16), processing_class=tokenizer)

    whole = trainer("whole")
    whole.train()
    resumed = trainer("resumed")
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-2"))
    assert resumed.controller_state == whole.controller_state
    assert resumed.guidance_state() == whole.guidance_state()
    late = [
        [(r["step"], r["loss"], r["reward"]) for r in t.state.log_history if "loss" in r and r["step"] > 2]
        for t in (whole, resumed)
    ]
    assert len(late[0]) == 2
    assert late[0] == late[1]


@pytest.mark.parametrize("at", [1, 2, 3])
def test_problems_come_in_the_same_order_in_whatever_epoch_a_run_is_resumed(make_model, tokenizer, rows, config, tmp_path, at):
    """Two steps per epoch; TRL's own sampler begins with the first epoch's order again."""
    seen = {}

    def run(name, checkpoint=None):
        def reward(completions, key, **columns):
            seen.setdefault(name, []).append(list(dict.fromkeys(key)))
            return length_reward(completions)

        args = config(output_dir=str(tmp_path / "whole"), max_steps=5, save_strategy="steps", save_steps=1, report_to=[])
        GuidedGRPOTrainer(make_model(), [reward], args, rows(4), processing_class=tokenizer).train(
            resume_from_checkpoint=checkpoint
        )

    run("whole")
    run("resumed", str(tmp_path / "whole" / f"checkpoint-{at}"))
    assert seen["resumed"] == seen["whole"][at:]
    assert len({tuple(map(tuple, seen["whole"][i : i + 2])) for i in (0, 2)}) == 2


def test_a_curriculum_goes_on_where_it_stopped(make_model, tokenizer, config, tmp_path):
    problems = in_order(make("chains", "train", 16, steps=(1, 4)), "easy_to_hard", seed=3)
    seen = {}

    def trainer(name):
        def reward(completions, key, **columns):
            seen.setdefault(name, []).extend(dict.fromkeys(key))
            return length_reward(completions)

        args = config(output_dir=str(tmp_path / name), max_steps=4, save_strategy="steps", save_steps=2, shuffle_dataset=False)
        return GuidedGRPOTrainer(make_model(), [reward], args, to_rows(problems), processing_class=tokenizer)

    trainer("whole").train()
    trainer("resumed").train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-2"))
    assert seen["whole"] == [p.key for p in problems[: len(seen["whole"])]]
    assert seen["resumed"] == seen["whole"][len(seen["whole"]) // 2 :]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """The fields of a run of two steps that has a checkpoint, and how to resolve them with others."""
    fields = {
        "task": "chains",
        "task_steps": 2,
        "task_size": 8,
        "num_generations": 4,
        "per_device_train_batch_size": 4,
        "max_completion_length": 64,
        "max_steps": 2,
        "save_strategy": "steps",
        "save_steps": 2,
        "learning_rate": 5e-5,
        "output_dir": str(tmp_path_factory.mktemp("stopped") / "run"),
        "use_cpu": True,
        "bf16": False,
        "report_to": "none",
    }
    train(resolve(fields), quiet=True)
    return fields


def resolved_file(fields):
    return Path(fields["output_dir"], "resolved.json").read_bytes()


@pytest.mark.parametrize(
    ("name", "value", "before"),
    [
        ("learning_rate", 1.0, "5e-05"),
        ("lr_scheduler_type", "constant", "'linear'"),
        ("optim", "sgd", "'adamw_torch_fused'"),
        ("max_grad_norm", 5, "1.0"),
        ("weight_decay", 0.1, "0.0"),
        ("warmup_steps", 1, "0"),
        ("adam_beta2", 0.9, "0.999"),
        ("epsilon", 0.3, "0.2"),
        ("guidance_loss", "sft", "'verified_sft'"),
        ("seed", 1, "42"),
        ("task_size", 9, "8"),
        ("model_name_or_path", "builtin-gsm8k", "'builtin'"),
        ("dtype", "bfloat16", "'float32'"),
        ("use_peft", True, "False"),
        ("fast", False, "True"),
    ],
)
def test_a_changed_setting_is_refused(stopped, name, value, before):
    written = resolved_file(stopped)
    with pytest.raises(RunError, match=rf"^{name} is .*Expected {re.escape(before)}, with which this run was started"):
        train(resolve({**stopped, "max_steps": 4, name: value}), resume=True, quiet=True)
    assert resolved_file(stopped) == written


def test_settings_that_decide_no_step_may_change(stopped):
    free = {
        "max_steps": 4,
        "logging_steps": 2,
        "save_steps": 4,
        "rollouts_every": 0,
        "disable_tqdm": True,
        "eval_suite": ["gsm8k"],
        "per_device_eval_batch_size": 3,
        "run_name": "again",
    }
    free["model_init_kwargs"] = json.loads(resolved_file(stopped))["training"]["model_init_kwargs"]  # made of the model's fields
    RunDirectory(stopped["output_dir"]).same_settings(resolve({**stopped, **free}).to_json())


def test_suites_of_a_run_that_has_some_may_not_change(stopped, tmp_path):
    with_suites = {**stopped, "output_dir": str(tmp_path), "eval_suite": ["gsm8k"]}
    (tmp_path / "resolved.json").write_text(json.dumps(resolve(with_suites).to_json(), default=str))
    with pytest.raises(RunError, match=r"eval_limit is 3\. Expected None"):
        RunDirectory(tmp_path).same_settings(resolve({**with_suites, "eval_limit": 3}).to_json())


def test_a_run_goes_on_with_the_settings_it_was_started_with(stopped):
    trainer = train(resolve({**stopped, "max_steps": 3}), resume=True, quiet=True)
    assert trainer.state.global_step == 3
    assert [step["step"] for step in RunDirectory(stopped["output_dir"]).steps()] == [1, 2, 3]
    assert not list(Path(stopped["output_dir"]).rglob("README.md"))  # TRL's model card is for the hub


def test_a_checkpoint_without_the_controllers_state_is_refused(make_model, tokenizer, rows, config, tmp_path):
    args = config(max_steps=2, save_strategy="steps", save_steps=1)
    trainer = GuidedGRPOTrainer(make_model(), [length_reward], args, rows(16), processing_class=tokenizer)
    trainer.train()
    folder = tmp_path / "run" / "checkpoint-1"
    assert json.loads((folder / "guidance_state.json").read_text())["generations"] == 1
    (folder / "guidance_state.json").unlink()
    again = GuidedGRPOTrainer(make_model(), [length_reward], args, rows(16), processing_class=tokenizer)
    with pytest.raises(RunError, match=r"guidance_state\.json"):
        again.train(resume_from_checkpoint=str(folder))


# --- SFT


@pytest.mark.parametrize("end", [{"max_sampled_tokens": 60, "max_steps": 50}, {"num_train_epochs": 1, "max_steps": -1}], ids=str)
def test_an_sft_run_that_came_to_its_end_is_complete_without_a_checkpoint(tmp_path, end):
    fields = {"task": "chains", "task_size": 12, "task_steps": [2], "save_strategy": "no", "logging_steps": 10, "use_cpu": True}
    fields |= {"per_device_train_batch_size": 4, "bf16": False, "report_to": "none", "output_dir": str(tmp_path / "run"), **end}
    done = train_sft(resolve_sft(fields), quiet=True)
    here = complete(resolve_sft(fields))
    assert here is not None
    assert here.complete
    if "max_sampled_tokens" in end:
        assert here.sampled_tokens == done.trained_tokens >= 60
        assert complete(resolve_sft({**fields, "max_sampled_tokens": 100_000})) is None


@pytest.mark.parametrize("at", [2, 5])
def test_a_resumed_sft_run_is_the_uninterrupted_one(tmp_path, caplog, at):
    """Three steps per epoch: stopped within the first and within the second."""
    fields = {
        "task": "chains",
        "task_size": 12,
        "task_steps": [2],
        "max_steps": 7,
        "save_strategy": "steps",
        "save_steps": 1,
        "logging_steps": 1,
        "per_device_train_batch_size": 4,
        "use_cpu": True,
        "bf16": False,
        "report_to": "none",
    }
    whole = train_sft(resolve_sft({**fields, "output_dir": str(tmp_path / "whole")}), quiet=True)
    with pytest.raises(RunError, match="a whole checkpoint to resume from"):
        train_sft(resolve_sft({**fields, "output_dir": str(tmp_path / "new")}), resume=True, quiet=True)
    stopped = {**fields, "output_dir": str(tmp_path / "stopped")}

    def stop(trainer):
        class Stop(TrainerCallback):
            def on_step_end(self, args, state, control, **kwargs):
                control.should_training_stop |= state.global_step == at

        return Stop()

    train_sft(resolve_sft(stopped), quiet=True, callbacks=[stop])
    (tmp_path / "stopped" / "phases.json").unlink()  # a run that is killed does not come to write it
    resumed = train_sft(resolve_sft(stopped), resume=True, quiet=True)
    assert resumed.trained_tokens == whole.trained_tokens
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(weight, resumed.model.state_dict()[name]), name
    assert [step["step"] for step in RunDirectory(stopped["output_dir"]).steps()] == [*range(1, 8)]
    here = complete(resolve_sft(stopped))
    assert (here.steps, here.sampled_tokens) == (7, whole.trained_tokens)
    assert "missing keys" not in caplog.text
    with pytest.raises(RunError, match=r"^learning_rate is 1.0"):
        train_sft(resolve_sft({**stopped, "max_steps": 8, "learning_rate": 1.0}), resume=True, quiet=True)
