"""What a person sees while a run goes on: a live bar in a terminal, plain lines elsewhere."""

import math
import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from transformers import TrainerCallback

SAMPLED = "guidance/tokens/sampled_total"
PLAIN_EVERY_S = 5.0
"""Seconds between two plain lines, at least."""


class ShowProgress(TrainerCallback):
    """Reward, unguided success, guidance length, sampled tokens per second, time left."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self.bar: Progress | None = None
        self.began = self.last_line = 0.0
        self.first_tokens: float | None = None

    def on_train_begin(self, args, state, control, **kwargs):
        self.began = time.monotonic()
        if state.is_world_process_zero and self.console.is_terminal:
            columns = (
                TextColumn("training"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}"),
            )
            self.bar = Progress(*columns, console=self.console)
            self.task = self.bar.add_task("training", total=state.max_steps, completed=state.global_step, note="")
            self.bar.start()

    def on_log(self, args, state, control, logs=None, **kwargs):
        if not state.is_world_process_zero or not logs or "loss" not in logs:
            return
        note = self.note(logs)
        if self.bar is not None:
            self.bar.update(self.task, completed=state.global_step, note=note)
        elif time.monotonic() - self.last_line >= PLAIN_EVERY_S or state.global_step == state.max_steps:
            self.last_line = time.monotonic()
            done = max(
                state.global_step / state.max_steps,
                (logs.get(SAMPLED) or 0) / (getattr(args, "max_sampled_tokens", None) or math.inf),
            )
            left = (self.last_line - self.began) * (1 / max(done, 1e-6) - 1) if done < 1 else 0.0
            print(f"step {state.global_step}/{state.max_steps}  {note}  {left:.0f} s left", flush=True)

    def on_train_end(self, args, state, control, **kwargs):
        if self.bar is not None:
            self.bar.stop()

    def note(self, logs: dict) -> str:
        parts = [f"reward {logs['reward']:.3f}"] if logs.get("reward") is not None else []
        unguided = logs.get("guidance/success/unguided")
        if unguided is not None:
            parts.append(f"unguided {unguided:.1%}")
        if logs.get("guidance/length/tokens") is not None:
            parts.append(f"guidance {logs['guidance/length/tokens']:.0f} tokens ({logs['guidance/length/fraction']:.0%})")
        tokens = logs.get(SAMPLED)
        if tokens is not None:
            first = self.first_tokens = tokens if self.first_tokens is None else self.first_tokens
            seconds = time.monotonic() - self.began
            rate = (tokens - first or tokens) / seconds if seconds else 0.0
            parts.append(f"{rate:.0f} tokens/s")
        return "  ".join(parts)
