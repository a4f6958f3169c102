"""Runs that start over by themselves: which checkpoint a run goes on from, whether anything is left to do, and a clean end on
SIGTERM."""

import json
import math
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import torch
from accelerate.logging import get_logger
from transformers import TrainerCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from g2rpo.errors import RunError
from g2rpo.training.run.checkpoint_state import STATE_FILE
from g2rpo.training.run.run_directory import RunDirectory

Resume = bool | Literal["auto"]
STOPPED_BY_SIGNAL = 75
"""Exit code of a run that SIGTERM ended at a checkpoint: sysexits' EX_TEMPFAIL, "try again"."""
ECHO_S = 10.0
SPENT = ("tokens/sampled_total", "tokens/imitated_total")
ENDED = "phases.json"
"""What a run writes when all else is written."""
END = ("max_steps", "num_train_epochs", "max_sampled_tokens")
"""Settings that decide where a run ends."""
_ONLY_FOR_TRAINING = tuple(
    ["optimizer", "scheduler", "scaler", "rng_state", "trainer_state", "guidance_state", "global_step", "zero_to_fp32", "latest"]
)
logger = get_logger(__name__)


@dataclass(frozen=True)
class Progress:
    """How far the run in a directory has come."""

    checkpoint: str | None
    """Its newest whole checkpoint; one that a kill left half-written is passed over."""
    steps: int = 0
    sampled_tokens: float = 0.0
    complete: bool = False
    """Nothing is left to do under the present settings."""

    def __str__(self) -> str:
        return f"{self.steps} steps, {self.sampled_tokens:.0f} sampled or imitated tokens"


def progress(args: Any) -> Progress:
    """What is in `args.output_dir`, measured by the settings `args`."""
    run = Path(args.output_dir)
    found = sorted(_numbered(run), key=_step)
    whole = [f for f in found if (f / STATE_FILE).exists() and (f / "trainer_state.json").exists()]  # the last that is written
    if whole and found[-1] != whole[-1]:
        logger.warning(f"{found[-1]} is not whole (the run was stopped while writing it); going on from {whole[-1].name}.")
    saved = json.loads((whole[-1] / "trainer_state.json").read_text()) if whole else {}
    steps = saved.get("global_step", 0)
    totals = json.loads((whole[-1] / STATE_FILE).read_text())["totals"] if whole else {}
    tokens = sum(totals.get(name, 0.0) for name in SPENT)
    if (run / ENDED).exists() and (last := _last_step(run)):  # a run may end after its last checkpoint
        steps, tokens = max(steps, last[0]), max(tokens, last[1])
    planned = args.max_steps if args.max_steps > 0 else math.inf
    if args.max_steps <= 0 and saved.get("num_train_epochs") == math.ceil(args.num_train_epochs):
        planned = saved["max_steps"]
    reached = bool(steps) and (steps >= planned or tokens >= (args.max_sampled_tokens or math.inf))
    complete = reached or ((run / ENDED).exists() and _same_end(run, args))
    return Progress(str(whole[-1]) if whole else None, steps, tokens, complete)


def _same_end(run: Path, args: Any) -> bool:
    """Whether the run was to end where the settings `args` end it."""
    resolved = run / "resolved.json"
    before = json.loads(resolved.read_text())["training"] if resolved.exists() else {}
    return all(before.get(name, math.nan) == getattr(args, name) for name in END)


def _numbered(run: Path) -> list[Path]:
    return [f for f in run.glob(f"{PREFIX_CHECKPOINT_DIR}-*") if f.name.rpartition("-")[2].isdigit()]


def _step(folder: Path) -> int:
    return int(folder.name.rpartition("-")[2])


def _last_step(run: Path) -> tuple[int, float] | None:
    lines = RunDirectory(run).steps() if (run / "steps.jsonl").exists() else []
    return (lines[-1]["step"], sum(lines[-1]["metrics"].get(f"guidance/{name}") or 0.0 for name in SPENT)) if lines else None


def checkpoint_to_resume(args: Any) -> str:
    """The checkpoint that a run goes on from.

    Raises:
        RunError: there is none, it is of another number of processes, or the run has nothing left to do.
    """
    here = progress(args)
    if here.complete:
        raise RunError(
            "run",
            str(here),
            expected="something left to do: it is complete",
            then="Raise max_steps or max_sampled_tokens to train on.",
        )
    if here.checkpoint is None:
        raise RunError(
            "output_dir",
            args.output_dir,
            expected="a whole checkpoint to resume from",
            then="There is none: start without --resume in another output_dir, or with --resume auto, which begins again. "
            "Set save_strategy: steps and save_steps to have one next time.",
        )
    written_by = json.loads((Path(here.checkpoint) / STATE_FILE).read_text()).get("processes", args.world_size)
    if written_by != args.world_size:
        raise RunError(
            "number of processes",
            args.world_size,
            expected=f"{written_by}: {Path(here.checkpoint).name} holds random states, and where they are sharded optimizer "
            "states, of each process",
            then=f"Resume with {written_by} processes, on any number of nodes, or start a new run from its weights "
            "(model_name_or_path).",
        )
    return here.checkpoint


def finish(run: RunDirectory, checkpoint: str | None) -> None:
    """Gives a complete run its model, where the run was killed between its last checkpoint and the end."""
    if checkpoint is None or any(run.path.glob("*.safetensors")):
        return
    for file in Path(checkpoint).iterdir():
        if file.is_file() and not file.name.startswith(_ONLY_FOR_TRAINING):
            shutil.copy2(file, run.path / file.name)


def was_stopped_early(run: RunDirectory) -> bool:
    """Whether a directory holds a run that neither came to its end nor to a whole checkpoint."""
    return (run.path / "resolved.json").exists() and not (run.path / ENDED).exists()


def begin_again(run: RunDirectory, checkpoint: str | None) -> None:
    """Takes back that a run has come to its end; without a checkpoint, all that it had written."""
    (run.path / ENDED).unlink(missing_ok=True)
    if checkpoint is not None:
        return
    for file in (run.steps_file, run.evaluations_file, *run.rollouts.glob("*.parquet")):
        file.unlink(missing_ok=True)
    for folder in _numbered(run.path):
        shutil.rmtree(folder)


class RunStopped(Exception):
    """SIGTERM ended the run after a step, and the checkpoint of that step is whole."""

    def __init__(self, step: int, trainer: Any) -> None:
        super().__init__(f"stopped by SIGTERM after step {step}")
        self.step, self.trainer = step, trainer


class StopOnSigterm(TrainerCallback):
    """Ends a run at SIGTERM as a scheduler sends it before it takes the machine away.

    The step that runs is finished, and those that the same generation batch feeds, so that the resumed run is the uninterrupted
    one; then a checkpoint is written. Of several processes, one that is told stops all. A second signal ends the process at once,
    unless it follows within `ECHO_S`: where a scheduler tells every process, a launcher passes its own signal on to them.

    Raises:
        RunStopped: from `trainer.train()`, when all is written.
    """

    def __init__(self, trainer: Any) -> None:
        self.trainer, self.stopping = trainer, False
        self.told_at: float | None = None
        self.before: Any = None

    def _tell(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.told_at is None:
            self.told_at = now
        elif now - self.told_at > ECHO_S:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.raise_signal(signal.SIGTERM)

    def on_train_begin(self, args, state, control, **kwargs):
        self.before = signal.signal(signal.SIGTERM, self._tell)

    def on_step_end(self, args, state, control, **kwargs):
        accelerator = self.trainer.accelerator
        told = self.told_at is not None
        if accelerator.num_processes > 1:
            told = bool(accelerator.reduce(torch.tensor(float(told), device=accelerator.device), reduction="sum") > 0)
        # SFT has no generation batch that several steps could share.
        inside = hasattr(self.trainer, "num_iterations") and self.trainer._step % (
            args.steps_per_generation * self.trainer.num_iterations
        )
        if told and not inside and not control.should_training_stop and state.global_step < state.max_steps:
            self.stopping = control.should_save = control.should_training_stop = True

    def on_train_end(self, args, state, control, **kwargs):
        signal.signal(signal.SIGTERM, self.before or signal.SIG_DFL)
        if self.stopping:
            raise RunStopped(state.global_step, self.trainer)
