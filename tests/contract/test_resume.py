"""A run that was stopped at a checkpoint and resumed is the run that was never stopped."""

import json

import pytest

from g2rpo import GuidedGRPOTrainer
from g2rpo.data.curriculum import in_order
from g2rpo.data.load import to_rows
from g2rpo.errors import RunError
from g2rpo.tasks import make


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
