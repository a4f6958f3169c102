"""One side of a comparison: builds its trainer and takes a step whenever it gets its turn."""

import logging
import time
import warnings
from multiprocessing.connection import Connection

import torch
from transformers import PrinterCallback, ProgressCallback, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from benchmarks.scripted import SPREAD, Layout, lengths, model, rows, scripted_reward, tokenizer
from benchmarks.sides import Case, Step, peak_mib
from g2rpo import GuidedGRPOConfig, GuidedGRPOTrainer
from g2rpo.training.run.phase_times import PhaseClock


class TakeTurns(TrainerCallback):
    """Waits for the turn before each step, and tells what the step took after it."""

    def __init__(self, turn: Connection, clock: PhaseClock, sampled: list[list[int]]) -> None:
        self.turn, self.clock, self.sampled = turn, clock, sampled
        self.before: dict[str, float] | None = None

    def tell(self) -> None:
        now = self.clock.read()
        if self.before is not None:
            self.turn.send(Step({k: now[k] - self.before[k] for k in now}, sum(self.sampled), max(self.sampled)))
        self.sampled.clear()

    def on_step_begin(self, args, state, control, **kwargs):
        self.tell()
        self.turn.recv()
        self.before = self.clock.read()

    def on_train_end(self, args, state, control, **kwargs):
        self.tell()


def train(side: str, case: Case, folder: str, turn: Connection) -> None:
    """Trains one side of the case to its end."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    libraries = peak_mib(reset=True)
    layout = Layout(case.vocabulary, case.completion)
    named = lengths(case.lengths, case.groups, case.completion) if isinstance(case.lengths, str) else case.lengths
    spread = (1.0,) * 4 if case.lengths == "even" else SPREAD
    sampled: list[int] = []

    def reward(completion_ids, alive, **columns):
        sampled.extend(map(len, completion_ids))
        return scripted_reward(completion_ids, alive)

    fields = dict(
        output_dir=folder,
        use_cpu=not torch.cuda.is_available(),
        bf16=case.precision == "bf16",
        max_steps=case.pairs + 1,
        learning_rate=1e-6,
        num_generations=case.generations,
        per_device_train_batch_size=case.micro,
        gradient_accumulation_steps=case.rollouts // case.micro,
        max_completion_length=case.completion,
        shuffle_dataset=False,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        seed=0,
    )
    data = rows(layout, named, case.prompt, case.dead, case.pairs + 1)
    arguments = (model(case.model, layout, spread), [reward])
    if side == "ours":
        args = GuidedGRPOConfig(guidance_controller="none", guidance_seeded_sampling=case.seeded or None, **fields)
        trainer = GuidedGRPOTrainer(*arguments, args, data, processing_class=tokenizer(case.vocabulary))
        clock = trainer.phases
    else:
        args = GRPOConfig(gradient_checkpointing=case.checkpointing, **fields)
        trainer = GRPOTrainer(*arguments, args, data, processing_class=tokenizer(case.vocabulary))
        clock = PhaseClock(trainer)
    clock.now = {"wall": time.perf_counter, "cpu": time.process_time}[case.clock]
    for callback in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(callback)
    trainer.add_callback(TakeTurns(turn, clock, sampled))
    trainer.train()
    if torch.cuda.is_available():
        turn.send(torch.cuda.max_memory_allocated() / 1024**2)
    else:
        turn.send(peak_mib() - libraries)
