"""A run that was stopped at a checkpoint and resumed is the run that was never stopped."""

import json

import pytest

from g2rpo import GuidedGRPOTrainer
from g2rpo.errors import RunError


def length_reward(completions, **columns):
    return [float(len(c[0]["content"]) % 5) / 4 for c in completions]


def test_resumed_equals_uninterrupted(make_model, tokenizer, rows, config, tmp_path):
    def trainer(name, **fields):
        args = config(output_dir=str(tmp_path / name), max_steps=4, save_strategy="steps", save_steps=2, guidance_controller="paper",
                      guidance_controller_kwargs={"initial_length": 12, "max_length": 40}, guidance_advantages="joint", **fields)  # fmt: skip
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
