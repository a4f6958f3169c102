"""The callback that fills `steps.jsonl` and `evaluations.jsonl` while a trainer runs."""

import time
from typing import Any

from transformers import TrainerCallback

from g2rpo.method.controller import state_to_log
from g2rpo.training.run.run_directory import RunDirectory, StepRecord


class RecordSteps(TrainerCallback):
    """Writes a line of `steps.jsonl` whenever the trainer logs."""

    def __init__(self, run: RunDirectory, trainer: Any) -> None:
        self.run, self.trainer, self.began = run, trainer, time.monotonic()

    def on_train_begin(self, args, state, control, **kwargs):
        self.began = time.monotonic()

    def on_evaluate(self, args, state, control, metrics=None, **kwargs):
        if state.is_world_process_zero:
            self.run.append_evaluation(state.global_step, {"sampled_tokens": self.trainer.spent_tokens, **(metrics or {})})

    def on_log(self, args, state, control, logs=None, **kwargs):
        if not state.is_world_process_zero or not logs or "loss" not in logs:
            return
        metrics = {k: v for k, v in logs.items() if isinstance(v, int | float) or v is None}
        found = getattr(self.trainer, "controller_state", None)  # SFT has no controller
        controller = {} if found is None else state_to_log(found)
        self.run.append(StepRecord(state.global_step, metrics, controller, round(time.monotonic() - self.began, 3)))
