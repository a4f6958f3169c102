"""`g2rpo train`: from a resolved recipe to a finished run directory."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from transformers import PrinterCallback, ProgressCallback, TrainerCallback
from transformers.trainer_utils import get_last_checkpoint
from trl import get_peft_config, get_quantization_config

from g2rpo.base_model import BUILTIN, resolve_model
from g2rpo.data.load import to_rows
from g2rpo.errors import RunError
from g2rpo.training.preflight import check_gold
from g2rpo.training.progress import ShowProgress
from g2rpo.training.recipe import Recipe
from g2rpo.training.record import RecordSteps, RunDirectory
from g2rpo.training.trainer import GuidedGRPOTrainer


def train(
    recipe: Recipe,
    *,
    resume: bool = False,
    quiet: bool = False,
    callbacks: Sequence[Callable[[Any], TrainerCallback]] = (),
) -> GuidedGRPOTrainer:
    """Runs a recipe to its end and saves the model. The trainer is returned for whoever wants to go on in Python.

    Args:
        recipe: What to run.
        resume: Go on from the last checkpoint of its output_dir.
        quiet: No progress display.
        callbacks: Each is called with the trainer and gives a callback to add.

    The rewards are closed at the end: their sandboxes and processes go with the run.

    Raises:
        ConfigError, DataError, RunError: before training, with what to do; nothing is written then but the run's config.
    """
    args = recipe.training
    checkpoint = _checkpoint(args.output_dir) if resume else None
    problems = recipe.data.problems()
    rewards = recipe.data.reward_functions()
    rows = to_rows(problems)
    check_gold(rows, rewards)
    args.model_init_kwargs = {**model_init_kwargs(recipe.model), **(args.model_init_kwargs or {})}
    trainer = GuidedGRPOTrainer(
        model=resolve_model(recipe.model.model_name_or_path),
        reward_funcs=rewards,
        args=args,
        train_dataset=rows,
        peft_config=get_peft_config(recipe.model),
        quantization_config=get_quantization_config(recipe.model),
    )
    run = RunDirectory(args.output_dir)
    if trainer.accelerator.is_main_process:
        run.create(recipe.to_json(), problems, args.seed, resume)
        if checkpoint:
            saved = trainer.read_guidance_state(checkpoint)
            run.rewind(int(checkpoint.rpartition("-")[2]), saved["generations"])
    trainer.rollout_sinks.append(run.write_rollouts)
    trainer.add_callback(RecordSteps(run, trainer))
    for callback in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(callback)
    if not quiet:
        trainer.add_callback(ShowProgress())
    for callback in callbacks:
        trainer.add_callback(callback(trainer))
    try:
        trainer.train(resume_from_checkpoint=checkpoint)
    finally:
        for reward in rewards:
            if close := getattr(reward, "close", None):
                close()  # sandboxes and their processes end with the run
    trainer.save_model(args.output_dir)
    return trainer


def model_init_kwargs(model: Any) -> dict[str, Any]:
    """Loading options of a `ModelConfig`, as TRL's scripts pass them. The built-in model trains in float32 unless told."""
    dtype = model.dtype or ("float32" if model.model_name_or_path in BUILTIN else "auto")
    options = {"revision": model.model_revision, "attn_implementation": model.attn_implementation, "dtype": dtype}
    return {name: value for name, value in options.items() if value is not None}


def _checkpoint(output_dir: str) -> str:
    found = get_last_checkpoint(output_dir) if Path(output_dir).is_dir() else None
    if found is None:
        raise RunError("output_dir", output_dir, expected="a checkpoint to resume from",
                       then="Set save_strategy: steps and save_steps in the recipe; without a checkpoint, start anew without --resume.")  # fmt: skip
    return found
