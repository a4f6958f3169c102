"""`g2rpo train`: from a resolved recipe to a finished run directory."""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from accelerate.logging import get_logger
from transformers import PrinterCallback, ProgressCallback, TrainerCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from trl import get_peft_config, get_quantization_config

from g2rpo.data.load import to_rows
from g2rpo.errors import ConfigError, RunError
from g2rpo.evaluation.checkpoint import trainable_place
from g2rpo.models import BUILTIN
from g2rpo.training.held_out_evaluation import HeldOut, without_eval_set
from g2rpo.training.run import phase_times as phases
from g2rpo.training.run.checkpoint_state import STATE_FILE
from g2rpo.training.run.libraries import check_libraries, library_words
from g2rpo.training.run.preflight import check_gold, check_problems
from g2rpo.training.run.progress import ShowProgress
from g2rpo.training.run.recipe import Recipe
from g2rpo.training.run.run_directory import RecordSteps, RunDirectory, manifest
from g2rpo.training.trainer import GuidedGRPOTrainer

logger = get_logger(__name__)


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
        ConfigError, DataError, RunError: before training, with what to do; nothing is written then.
    """
    args = recipe.training
    if args.eval_strategy != "no" and not recipe.held_out.eval_suite:
        raise ConfigError("eval_strategy", str(args.eval_strategy), expected="no, or suites to evaluate on",
                          then="Set eval_suite, such as [gsm8k]; g2rpo eval --list shows them.")  # fmt: skip
    check_libraries(recipe.model, args)
    run = RunDirectory(args.output_dir)
    checkpoint = usable_checkpoint(args) if resume else None
    args.model_init_kwargs = {**model_init_kwargs(recipe.model), **(args.model_init_kwargs or {})}
    if resume and args.process_index == 0:
        run.same_settings(recipe.to_json())
    with nullcontext() if resume or args.process_index != 0 else run.claimed():
        rewards = recipe.data.reward_functions()
        trainer = _made_ready(recipe, run, rewards, checkpoint)
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
        for one in (*rewards, trainer.held_out):
            if close := getattr(one, "close", None):
                close()  # sandboxes and their processes end with the run
    trainer.save_model(args.output_dir)
    if trainer.accelerator.is_main_process and run.steps_file.exists():
        run.write_phases(phases.total(run.steps()))
    return trainer


def _made_ready(recipe: Recipe, run: RunDirectory, rewards: list[Any], checkpoint: str | None) -> GuidedGRPOTrainer:
    """Everything that can be refused, and then the run's config: data, model, trainer, suites, in the order of what they cost."""
    args = recipe.training
    model = trainable_place(recipe.model.model_name_or_path, trust_remote_code=args.trust_remote_code)
    problems = recipe.data.problems(style_name=args.guidance_style)
    check_problems(problems, args)
    for reward in rewards:
        if warm_up := getattr(reward, "warm_up", None):
            warm_up()  # comes up while the model is loaded
    rows = to_rows(recipe.data.in_curriculum(problems, args.seed))
    check_gold(rows, rewards)
    with loading(recipe.model.model_name_or_path), without_eval_set(args):
        trainer = GuidedGRPOTrainer(
            model=model,
            reward_funcs=rewards,
            args=args,
            train_dataset=rows,
            peft_config=get_peft_config(recipe.model),
            quantization_config=get_quantization_config(recipe.model),
        )
    trainer.held_out = held_out(recipe, trainer._tokenizer, args.chat_template_kwargs)
    if trainer.accelerator.is_main_process:
        report = trainer.data_report.to_json() if trainer.data_report else None
        run.create(recipe.to_json(), {**manifest(problems, args.seed), "guidance_data": report}, checkpoint is not None)
        if checkpoint:
            saved = trainer.read_guidance_state(checkpoint)
            run.rewind(int(checkpoint.rpartition("-")[2]), saved["generations"])
    return trainer


@contextmanager
def loading(name: str) -> Iterator[None]:
    """Turns what the libraries refuse about a model and its trainer into a sentence."""
    try:
        with library_words("set-up of the run"):
            yield
    except OSError as error:
        raise ConfigError("model_name_or_path", name, expected="a folder or a hub name that can be loaded, or builtin",
                          then=str(error).splitlines()[0]) from error  # fmt: skip


def held_out(recipe: Recipe, tokenizer: Any, template_kwargs: Mapping[str, Any] | None) -> HeldOut | None:
    """The recipe's suites, put to the model as its training problems are; None where it names none."""
    if not recipe.held_out.eval_suite or recipe.training.eval_strategy == "no":
        return None
    return HeldOut(
        recipe.held_out,
        tokenizer,
        samples=getattr(recipe.training, "num_generations_eval", None) or 1,
        batch_size=recipe.training.per_device_eval_batch_size,
        system=recipe.data.system_prompt,
        instruction=recipe.data.instruction,
        template_kwargs=template_kwargs,
    )


def model_init_kwargs(model: Any) -> dict[str, Any]:
    """Loading options of a `ModelConfig`, as TRL's scripts pass them. The built-in model trains in float32 unless told."""
    dtype = model.dtype or ("float32" if model.model_name_or_path in BUILTIN else "auto")
    options = {"revision": model.model_revision, "attn_implementation": model.attn_implementation, "dtype": dtype}
    return {name: value for name, value in options.items() if value is not None}


def usable_checkpoint(args: Any) -> str:
    """The newest whole checkpoint of a run; one that a kill left half-written is passed over.

    Raises:
        RunError: there is none, or the run has nothing left to do.
    """
    found = Path(args.output_dir).glob(f"{PREFIX_CHECKPOINT_DIR}-*")
    folders = sorted((f for f in found if f.name.rpartition("-")[2].isdigit()), key=lambda f: int(f.name.rpartition("-")[2]))
    whole = [f for f in folders if (f / STATE_FILE).exists() and (f / "trainer_state.json").exists()]  # the last that is written
    if not whole:
        raise RunError("output_dir", args.output_dir, expected="a whole checkpoint to resume from",
                       then="There is none: remove the directory or choose another output_dir, and start without --resume. "
                       "Set save_strategy: steps and save_steps to have one next time.")  # fmt: skip
    if folders[-1] != whole[-1]:
        logger.warning(f"{folders[-1]} is not whole (the run was stopped while writing it); going on from {whole[-1].name}.")
    step = json.loads((whole[-1] / "trainer_state.json").read_text())["global_step"]
    totals = json.loads((whole[-1] / STATE_FILE).read_text())["totals"]
    spent = totals["tokens/sampled_total"] + totals.get("tokens/imitated_total", 0)
    if 0 < args.max_steps <= step or spent >= (args.max_sampled_tokens or math.inf):
        raise RunError("run", f"{step} steps, {spent:.0f} sampled tokens", expected="something left to do: it is complete",
                       then="Raise max_steps or max_sampled_tokens to train on.")  # fmt: skip
    return str(whole[-1])
