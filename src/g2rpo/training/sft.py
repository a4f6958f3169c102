"""Supervised fine-tuning on the traces: the baseline that decides (arXiv 2604.23747), done by TRL's `SFTTrainer`.

The same rows, the same completion style, loss on the completion only, token mean over the whole accumulation window. What a
guided rollout may see of a trace, SFT sees too, and the answer with it.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from datasets import Dataset
from transformers import TrainerCallback
from trl import SFTConfig, SFTTrainer, get_peft_config, get_quantization_config

from g2rpo.data.completion import full_completion, style
from g2rpo.data.problem import Problem
from g2rpo.errors import DataError
from g2rpo.evaluation.checkpoint import load_tokenizer, trainable_place
from g2rpo.io import json_object
from g2rpo.training.config import GuidedGRPOConfig
from g2rpo.training.distributed import keep_weights_fp32
from g2rpo.training.held_out_evaluation import EvaluatesHeldOut, without_eval_set
from g2rpo.training.run.callbacks import IMITATED, StopAtBudget
from g2rpo.training.run.checkpoint_state import SavesSpentTokens
from g2rpo.training.run.data_config import DataConfig
from g2rpo.training.run.libraries import check_libraries
from g2rpo.training.run.preflight import check_template
from g2rpo.training.run.recipe import Recipe, merged_with, resolve
from g2rpo.training.run.resuming import Resume
from g2rpo.training.run.run_directory import RunDirectory, manifest
from g2rpo.training.run.train import held_out, loading, run_to_its_end, taken_up


@dataclass
class TraceSFTConfig(SFTConfig):
    """TRL's `SFTConfig` with two fields of guided training."""

    activation_checkpointing: bool = False
    # Unset, TRL ignores the completion mask of rows that come as token ids, and learns the prompts too.
    completion_only_loss: bool | None = True
    chat_template_kwargs: dict[str, Any] | str | None = None
    max_sampled_tokens: int | None = None
    """Stop when so many completion tokens were learned from."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.chat_template_kwargs, str):
            self.chat_template_kwargs = json_object(
                "chat_template_kwargs", self.chat_template_kwargs, example='{"enable_thinking": false}'
            )


def resolve_sft(values: Mapping[str, Any], flags: Sequence[str] = ()) -> Recipe:
    """A recipe for SFT: the fields of the model, the data and `TraceSFTConfig`. Fields that only reinforcement learning has are
    dropped, so that one recipe serves both."""
    return resolve(without_rl(merged_with(values, flags), TraceSFTConfig), config_class=TraceSFTConfig)


def without_rl(given: Mapping[str, Any], config_class: type) -> dict[str, Any]:
    """The fields without those that only reinforcement learning has."""
    shared = {f.name for owner in (config_class, DataConfig) for f in dataclasses.fields(owner)}
    only_rl = {f.name for f in dataclasses.fields(GuidedGRPOConfig)} - shared
    return {name: value for name, value in given.items() if name not in only_rl}


def completions_dataset(
    problems: Sequence[Problem], style_name: str, tokenizer: Any, template_kwargs: Mapping[str, Any] | None = None
) -> Dataset:
    """Rows of token ids with a completion mask: prompt rendered with the chat template, completion as guidance would begin it.

    Raises:
        ConfigError: conversations, and a tokenizer without a chat template for them.
        DataError: no problem has a trace, or one that is no text.
    """
    rows = []
    for problem in problems:
        if not problem.trace:
            continue
        if not isinstance(problem.trace, str):
            raise DataError(
                f"trace of problem {problem.key}",
                problem.trace,
                expected="text",
                then="If a row has several traces, pick one while preparing the data.",
            )
        prompt = problem.prompt
        if not rows:
            check_template(tokenizer, prompt, template_kwargs)
        if not isinstance(prompt, str):
            prompt = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, tokenize=False, **(template_kwargs or {}))
        # A chat template writes the token that begins a text itself; plain text gets it from the tokenizer, as in guided
        # training.
        prompt_ids = tokenizer(prompt, add_special_tokens=isinstance(problem.prompt, str))["input_ids"]
        text = full_completion(problem, style(style_name).opened_by(prompt))
        completion_ids = [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        rows.append(
            {"input_ids": prompt_ids + completion_ids, "completion_mask": [0] * len(prompt_ids) + [1] * len(completion_ids)}
        )
    if not rows:
        raise DataError(
            "traces", expected="at least one problem with a trace", then="SFT learns the traces; see `columns` in the recipe."
        )
    return Dataset.from_list(rows)


class TraceSFTTrainer(SavesSpentTokens, EvaluatesHeldOut, SFTTrainer):
    """TRL's `SFTTrainer` that counts the completion tokens it learns from: the budget that SFT is compared on."""

    trained_tokens = 0

    @property
    def spent_tokens(self) -> int:
        """Imitation samples nothing: what it learns from counts."""
        return self.trained_tokens

    imitated_tokens = spent_tokens

    def training_step(self, model, inputs, num_items_in_batch=None):
        labels = (inputs["labels"] != -100).sum()
        self.trained_tokens += int(self.accelerator.reduce(labels, reduction="sum"))
        return super().training_step(model, inputs, num_items_in_batch)

    def log(self, logs, *args: Any, **kwargs: Any) -> None:
        super().log({**logs, IMITATED: self.trained_tokens}, *args, **kwargs)

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        if self.hub_model_id is not None:  # beside a local run it would only say less than manifest.json
            super().create_model_card(*args, **kwargs)


def _made_ready(recipe: Recipe, run: RunDirectory, checkpoint: str | None) -> TraceSFTTrainer:
    """Everything that can be refused, and then the run's config."""
    args: TraceSFTConfig = recipe.training
    name = recipe.model.model_name_or_path
    model = trainable_place(name, trust_remote_code=args.trust_remote_code)
    tokenizer = load_tokenizer(name, model, trust_remote_code=args.trust_remote_code)
    problems = recipe.data.problems()
    rows = completions_dataset(problems, recipe.data.guidance_style, tokenizer, args.chat_template_kwargs)
    keep_weights_fp32(args, model)
    with loading(name), without_eval_set(args):
        trainer = TraceSFTTrainer(
            model=model,
            args=args,
            train_dataset=rows,
            processing_class=tokenizer,
            peft_config=get_peft_config(recipe.model),
            quantization_config=get_quantization_config(recipe.model),
        )
    trainer.held_out = held_out(recipe, tokenizer)
    if trainer.accelerator.is_main_process:
        run.create(recipe.to_json(), manifest(problems, args.seed), resume=checkpoint is not None)
    return trainer


def train_sft(
    recipe: Recipe, *, resume: Resume = False, quiet: bool = False, callbacks: Sequence[Callable[[Any], TrainerCallback]] = ()
) -> TraceSFTTrainer:
    """Trains and saves to `output_dir`; the result can be the `model_name_or_path` of a guided run. Arguments as in
    `run.train`."""
    return train_with(_made_ready, recipe, resume=resume, quiet=quiet, callbacks=callbacks)


def train_with(
    make: Callable[[Recipe, RunDirectory, str | None], Any],
    recipe: Recipe,
    *,
    resume: Resume = False,
    quiet: bool = False,
    callbacks: Sequence[Callable[[Any], TrainerCallback]] = (),
) -> Any:
    """The run of a trainer without a controller, which `make` makes: its directory, its records, its budget."""
    args = recipe.training
    check_libraries(recipe.model, args)
    run = RunDirectory(args.output_dir)
    with taken_up(recipe, run, resume) as checkpoint:
        trainer = make(recipe, run, checkpoint)
        if checkpoint and trainer.accelerator.is_main_process:
            run.rewind(int(checkpoint.rpartition("-")[2]), generations=0)
        budget = args.max_sampled_tokens
        stop = () if budget is None else (lambda trainer: StopAtBudget(lambda: trainer.spent_tokens, budget),)
        run_to_its_end(trainer, run, quiet=quiet, callbacks=(*stop, *callbacks), checkpoint=checkpoint)
        if trainer.accelerator.is_main_process:
            run.write_phases({})  # no phases are timed; the file says that the run came to its end
        return trainer
