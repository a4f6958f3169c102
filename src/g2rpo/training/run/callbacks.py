"""Callbacks of a run: its record, its budget, and what a person sees while it goes on."""

import time
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from transformers import TrainerCallback

from g2rpo.method.controller import state_to_log
from g2rpo.training.run.run_directory import RunDirectory, StepRecord

SAMPLED, IMITATED = "guidance/tokens/sampled_total", "guidance/tokens/imitated_total"
PLAIN_EVERY_S = 5.0
"""Seconds between two plain lines, at least."""


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


class StopAtBudget(TrainerCallback):
    """Stops after the optimizer step in which `spent()` reached `tokens`."""

    def __init__(self, spent: Callable[[], int], tokens: int) -> None:
        self.spent, self.tokens = spent, tokens

    def on_step_end(self, args, state, control, **kwargs):
        if self.spent() >= self.tokens:
            control.should_log = control.should_training_stop = True  # the record ends with the step that spent it


class ShowProgress(TrainerCallback):
    """Reward, unguided success, guidance length, sampled tokens per second, time left."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self.bar: Progress | None = None
        self.began = self.last_line = 0.0
        self.first_tokens: float | None = None
        self.first_spent = self.spent = 0.0
        self.first_step = 0

    def on_train_begin(self, args, state, control, **kwargs):
        self.began, self.first_step = time.monotonic(), state.global_step
        if state.is_world_process_zero and self.console.is_terminal:
            columns = (
                TextColumn("step {task.fields[step]}"),
                BarColumn(bar_width=20),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}"),
            )
            self.bar = Progress(*columns, console=self.console)
            self.task = self.bar.add_task("training", total=1.0, step=f"{state.global_step}/{state.max_steps}", note="")
            self.bar.start()

    def on_log(self, args, state, control, logs=None, **kwargs):
        if not state.is_world_process_zero or not logs or "loss" not in logs:
            return
        if self.first_tokens is None:
            self.first_tokens = (logs.get(SAMPLED) or 0) - (logs.get("guidance/tokens/sampled") or 0)
            self.first_spent = self.first_tokens + (logs.get(IMITATED) or 0)
        self.spent = (logs.get(SAMPLED) or 0) + (logs.get(IMITATED) or 0)
        # How far this run is: by its steps or by its budget of tokens, whichever ends first.
        steps = (state.global_step - self.first_step) / max(1, state.max_steps - self.first_step)
        budget = getattr(args, "max_sampled_tokens", None)
        tokens = (self.spent - self.first_spent) / max(1, budget - self.first_spent) if budget else 0.0
        done, note = min(1.0, max(steps, tokens)), self.note(logs)
        if self.bar is not None:
            self.bar.update(self.task, completed=done, step=f"{state.global_step}/{state.max_steps}", note=note)
        elif time.monotonic() - self.last_line >= PLAIN_EVERY_S or done == 1.0:
            self.last_line = time.monotonic()
            left = (self.last_line - self.began) * (1 / max(done, 1e-6) - 1)
            print(f"step {state.global_step}/{state.max_steps}  {note}  {left:.0f} s left", flush=True)

    def on_evaluate(self, args, state, control, metrics=None, **kwargs):
        if state.is_world_process_zero and metrics:
            parts = [
                f"{name.removeprefix('eval_').removesuffix('_accuracy')} {value:.1%}"
                for name, value in metrics.items()
                if name.endswith("_accuracy") and name != "eval_accuracy"
            ]
            text = f"step {state.global_step}/{state.max_steps}  held-out, unguided: {'  '.join(parts)}"
            self.bar.console.print(text) if self.bar is not None else print(text, flush=True)

    def on_train_end(self, args, state, control, **kwargs):
        if self.bar is not None:
            self.bar.stop()
        budget = getattr(args, "max_sampled_tokens", None)
        if state.is_world_process_zero and state.global_step < state.max_steps and budget and self.spent >= budget:
            print(f"Stopped at step {state.global_step} of {state.max_steps}: the budget of tokens is spent.", flush=True)

    def note(self, logs: dict) -> str:
        parts = [f"reward {logs['reward']:.3f}"] if logs.get("reward") is not None else [f"loss {logs['loss']:.3f}"]
        unguided = logs.get("guidance/success/unguided")
        if unguided is not None:
            parts.append(f"unguided {unguided:.1%}")
        if logs.get("guidance/length/tokens") is not None:
            parts.append(f"guidance {logs['guidance/length/tokens']:.0f} tokens ({logs['guidance/length/fraction']:.0%})")
        tokens = logs.get(SAMPLED)
        if tokens is not None:
            seconds = time.monotonic() - self.began
            rate = (tokens - (self.first_tokens or 0)) / seconds if seconds else 0.0
            parts.append(f"{rate:.0f} tokens/s")
        return "  ".join(parts)
