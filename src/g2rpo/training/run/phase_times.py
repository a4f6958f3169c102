"""Where the time of a training step goes: decode, reward, log-probs, update, other.

A clock hangs on methods that TRL's trainer calls (`SEAMS`), so it times any `GRPOTrainer`, ours and stock, in the same way. At
every moment one phase is charged, so the phases add up to wall-clock time; each switch costs about a microsecond.

    decode    sampling the rollouts (weights sent to vLLM included)
    reward    reward functions, and gathering what they returned
    logprobs  log-probabilities under the old and the reference policy
    update    forward and backward of all micro-batches, clipping, optimizer
    other     everything else: data, tokenising, advantages, records, checkpoints, evaluation

`time/<phase>_s` in a line of `steps.jsonl` are the seconds since the line before, whatever `logging_steps` is: their sum over the
lines is the run's. On an accelerator work is queued: a phase is charged with waiting for what it reads, and the step's end waits
for the update.
"""

import functools
import time
from collections.abc import Callable, Iterable
from typing import Any

import torch
from transformers import TrainerCallback

PHASES = ("decode", "reward", "logprobs", "update", "other")
SEAMS = {
    "training_step": "update",
    "_prepare_inputs": "other",  # inside training_step: everything up to the forward pass
    "_generate_single_turn": "decode",
    "_continue": "decode",
    "_calculate_rewards": "reward",
    "_get_per_token_logps_and_entropies": "logprobs",
}
"""Method of the trainer → the phase that its time is charged to; one that a trainer lacks is passed over."""


class PhaseClock(TrainerCallback):
    """Charges each moment of a trainer's run to one phase, from its construction on."""

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer
        self.now: Callable[[], float] = time.perf_counter
        self.seconds = dict.fromkeys(PHASES, 0.0)
        self.told = self.logged = dict(self.seconds)
        self.phase, self.since = "other", self.now()
        for name, phase in SEAMS.items():
            if hasattr(trainer, name):
                setattr(trainer, name, self._timed(getattr(trainer, name), phase))
        trainer.add_callback(self)

    def read(self) -> dict[str, float]:
        """Seconds per phase so far."""
        self._switch(self.phase)
        return dict(self.seconds)

    def _switch(self, phase: str) -> None:
        now = self.now()
        self.seconds[self.phase] += now - self.since
        self.phase, self.since = phase, now

    def _timed(self, method: Any, phase: str) -> Any:
        @functools.wraps(method)
        def timed(*args: Any, **kwargs: Any) -> Any:
            before = self.phase
            # Evaluation is `other` throughout; the log-probs of the loss are part of the update.
            if not self.trainer.model.training or "other" not in (before, phase):
                return method(*args, **kwargs)
            self._switch(phase)
            try:
                return method(*args, **kwargs)
            finally:
                # After the last micro-batch the update goes on, with clipping and the optimizer, until on_step_end.
                if phase != "update" or not self.trainer.accelerator.sync_gradients:
                    self._switch(before)

        return timed

    def on_train_begin(self, args, state, control, **kwargs):
        self._switch("other")
        self.seconds = dict.fromkeys(PHASES, 0.0)
        self.told = self.logged = dict(self.seconds)

    def on_step_end(self, args, state, control, **kwargs):
        if args.device.type != "cpu":
            torch.accelerator.synchronize()
        self._switch("other")
        self.told = dict(self.seconds)
        for phase in PHASES:  # one value, replaced until it is logged: TRL averages over the steps of a line
            self.trainer._metrics["train"][f"time/{phase}_s"] = [self.told[phase] - self.logged[phase]]

    def on_log(self, args, state, control, logs=None, **kwargs):
        if logs and "loss" in logs:
            self.logged = self.told


def total(lines: Iterable[dict[str, Any]]) -> dict[str, float]:
    """Seconds per phase of the lines of a `steps.jsonl`."""
    lines = list(lines)
    return {phase: sum(line["metrics"].get(f"time/{phase}_s") or 0.0 for line in lines) for phase in PHASES}


def in_words(seconds: dict[str, float]) -> str:
    """`61.2 s: decode 70 %, reward 1 %, logprobs 0 %, update 27 %, other 2 %`."""
    whole = sum(seconds.values())
    return f"{whole:.1f} s: " + ", ".join(f"{phase} {value / whole if whole else 0.0:.0%}" for phase, value in seconds.items())
