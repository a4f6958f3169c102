"""`g2rpo train`: from a resolved recipe to a finished run directory."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

from accelerate.logging import get_logger
from transformers import PrinterCallback, ProgressCallback, TrainerCallback
from trl import get_peft_config, get_quantization_config

from g2rpo.data.disappointments import disappointments
from g2rpo.data.load import to_rows
from g2rpo.errors import ConfigError, DataError
from g2rpo.evaluation.checkpoint import trainable_place
from g2rpo.models import BUILTIN
from g2rpo.training.held_out_evaluation import HeldOut, without_eval_set
from g2rpo.training.run import phase_times as phases
from g2rpo.training.run.callbacks import RecordSteps, ShowProgress
from g2rpo.training.run.libraries import check_libraries, library_words
from g2rpo.training.run.preflight import check_columns
from g2rpo.training.run.primary_reward import check_gold
from g2rpo.training.run.recipe import Recipe
from g2rpo.training.run.resuming import Progress, Resume, begin_again, checkpoint_to_resume, finish, progress, was_stopped_early
from g2rpo.training.run.rollout_table import RolloutTable
from g2rpo.training.run.run_directory import RunDirectory, manifest
from g2rpo.training.trainer import GuidedGRPOTrainer

logger = get_logger(__name__)


def train(
    recipe: Recipe, *, resume: Resume = False, quiet: bool = False, callbacks: Sequence[Callable[[Any], TrainerCallback]] = ()
) -> GuidedGRPOTrainer:
    """Runs a recipe to its end and saves the model. The trainer is returned for whoever wants to go on in Python.

    Args:
        recipe: What to run.
        resume: True goes on from the last checkpoint of its output_dir. "auto" does so where there is one, and begins (again)
            where there is none.
        quiet: No progress display.
        callbacks: Each is called with the trainer and gives a callback to add.

    The rewards are closed at the end: their sandboxes and processes go with the run.

    Raises:
        ConfigError, DataError, RunError: before training, with what to do; nothing is written then.
    """
    args = recipe.training
    if args.eval_strategy != "no" and not recipe.held_out.eval_suite:
        raise ConfigError(
            "eval_strategy",
            args.eval_strategy.value,
            expected="no, or suites to evaluate on",
            then="Set eval_suite, such as [gsm8k]; g2rpo eval --list shows them.",
        )
    check_libraries(recipe.model, args)
    run = RunDirectory(args.output_dir)
    with taken_up(recipe, run, resume) as checkpoint:
        return _trained(recipe, run, checkpoint, quiet, callbacks)


@contextmanager
def taken_up(recipe: Recipe, run: RunDirectory, resume: Resume) -> Iterator[str | None]:
    """Makes the run directory this process's own, as that of a new run or of one that goes on; gives the checkpoint that it goes
    on from, None for a new run.

    Raises:
        RunError: see `RunDirectory.claimed`, `RunDirectory.same_settings` and `checkpoint_to_resume`.
    """
    args = recipe.training
    here = progress(args) if resume == "auto" else None
    goes_on = resume is True or (here is not None and (here.complete or here.checkpoint is not None))
    _add_model_options(recipe)
    main = args.process_index == 0
    starts_over = here is not None and not goes_on and was_stopped_early(run)
    with run.claimed(goes_on or starts_over) if main else nullcontext():
        checkpoint = checkpoint_to_resume(args) if goes_on else None
        if main and (goes_on or starts_over):
            run.same_settings(recipe.to_json())
            begin_again(run, checkpoint)
        yield checkpoint


def _trained(
    recipe: Recipe, run: RunDirectory, checkpoint: str | None, quiet: bool, callbacks: Sequence[Callable[[Any], TrainerCallback]]
) -> GuidedGRPOTrainer:
    rewards = recipe.data.reward_functions()
    trainer = _made_ready(recipe, run, rewards, checkpoint)
    trainer.rollout_sinks += [run.write_rollouts, RolloutTable(trainer)]
    run_to_its_end(trainer, run, quiet=quiet, callbacks=callbacks, closing=rewards, checkpoint=checkpoint)
    if trainer.accelerator.is_main_process and run.steps_file.exists():
        run.write_phases(phases.total(run.steps()))
    return trainer


def run_to_its_end(
    trainer: Any,
    run: RunDirectory,
    *,
    quiet: bool,
    callbacks: Sequence[Callable[[Any], TrainerCallback]],
    closing: Sequence[Any] = (),
    checkpoint: str | None = None,
) -> None:
    """Trains with a record and a display, saves the model, and closes what holds sandboxes or processes."""
    for callback in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(callback)
    for made in (lambda trainer: RecordSteps(run, trainer), *(() if quiet else (lambda trainer: ShowProgress(),)), *callbacks):
        trainer.add_callback(made(trainer))
    try:
        trainer.train(resume_from_checkpoint=checkpoint)
    finally:
        for one in (*closing, trainer.held_out):
            if close := getattr(one, "close", None):
                close()
    trainer.save_model(trainer.args.output_dir)


def complete(recipe: Recipe) -> Progress | None:
    """How far the run in a recipe's output_dir came, where nothing is left to do; None where something is.

    Raises:
        RunError: it was started with other settings.
    """
    args = recipe.training
    here, run = progress(args), RunDirectory(args.output_dir)
    if not here.complete:
        return None
    _add_model_options(recipe)
    if args.process_index == 0:
        run.same_settings(recipe.to_json())
        finish(run, here.checkpoint)
    return here


def _add_model_options(recipe: Recipe) -> None:
    args = recipe.training
    args.model_init_kwargs = {**model_init_kwargs(recipe.model), **(args.model_init_kwargs or {})}


def _made_ready(recipe: Recipe, run: RunDirectory, rewards: list[Any], checkpoint: str | None) -> GuidedGRPOTrainer:
    """Everything that can be refused, and then the run's config: data, model, trainer, suites, in the order of what they cost."""
    args = recipe.training
    model = trainable_place(recipe.model.model_name_or_path, trust_remote_code=args.trust_remote_code)
    problems = recipe.data.problems()
    for found in disappointments(problems):
        logger.warning(str(found))
    for reward in rewards:
        if warm_up := getattr(reward, "warm_up", None):
            warm_up()  # comes up while the model is loaded
    rows = to_rows(recipe.data.in_curriculum(problems, args.seed))
    if args.uses_traces and (column := recipe.data.columns.get("trace")) and not any(p.trace for p in problems):
        raise DataError(
            f"column {column!r} for the trace",
            f"empty in all {len(problems)} rows",
            expected="a worked solution in some of them",
            then="Fill it, name another column, or train without guidance (preset: grpo).",
        )
    if args.uses_traces and len(rows):
        check_columns(rows, args)  # a missing mapping is told before answers that cannot be graded
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
    trainer.held_out = held_out(recipe, trainer._tokenizer)
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
        raise ConfigError(
            "model_name_or_path",
            name,
            expected="a folder or a hub name that can be loaded, or builtin",
            then=str(error).splitlines()[0],
        ) from error


def held_out(recipe: Recipe, tokenizer: Any) -> HeldOut | None:
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
        template_kwargs=recipe.training.chat_template_kwargs,
    )


def model_init_kwargs(model: Any) -> dict[str, Any]:
    """Loading options of a `ModelConfig`, as TRL's scripts pass them. The built-in model trains in float32 unless told."""
    dtype = model.dtype or ("float32" if model.model_name_or_path in BUILTIN else "auto")
    options = {"revision": model.model_revision, "attn_implementation": model.attn_implementation, "dtype": dtype}
    return {name: value for name, value in options.items() if value is not None}
