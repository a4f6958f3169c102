"""Self-distillation with the trace as privileged context, by TRL's `SDFTTrainer` (SDFT arXiv 2601.19897; OPSD 2601.18734).

The model samples an answer to the plain prompt; the same model, shown a right answer beside the question, says how likely it
finds each of those tokens, and the student is drawn there: a divergence per token, no reward. What a guided rollout may see of a
trace, the teacher sees as a whole, with the answer. `teacher_model_kind` is TRL's: `ema` (SDFT) or `base` (OPSD's fixed teacher).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from datasets import Dataset
from transformers import TrainerCallback
from trl import get_peft_config
from trl.experimental.sdft import SDFTConfig, SDFTTrainer

from g2rpo.data.completion import full_completion, style
from g2rpo.data.problem import Problem
from g2rpo.errors import DataError
from g2rpo.evaluation.checkpoint import load_tokenizer, trainable_place
from g2rpo.training.held_out_evaluation import EvaluatesHeldOut, without_eval_set
from g2rpo.training.run.preflight import check_template
from g2rpo.training.run.recipe import Recipe, merged_with, resolve
from g2rpo.training.run.run_directory import RunDirectory, manifest
from g2rpo.training.run.train import held_out, loading
from g2rpo.training.sft import SFTSettings, train_with, without_rl

TEMPLATE = "{prompt}\n\nThis is an example of a right answer:\n\n{privileged_context}\n\nAnswer in the same way."


def resolve_sdft(values: Mapping[str, Any], flags: Sequence[str] = ()) -> tuple[Recipe, SFTSettings]:
    """A recipe for self-distillation: the data fields as for `train`, the training fields of TRL's `SDFTConfig`, and
    `guidance_style`, `chat_template_kwargs` and `max_sampled_tokens`. Fields that only guided training has are dropped.

    Two defaults differ from TRL's: prompts are never cut (`max_prompt_length`), and the teacher's template has words between
    question and answer.
    """
    given, settings = without_rl(merged_with(values, flags), SDFTConfig)
    given = {"max_prompt_length": None, "teacher_prompt_template": TEMPLATE, **given}
    if settings.chat_template_kwargs:
        given["chat_template_kwargs"] = settings.chat_template_kwargs
    return resolve(given, config_class=SDFTConfig), settings


def privileged_dataset(problems: Sequence[Problem], style_name: str) -> Dataset:
    """Rows of prompt and privileged context: the whole right completion, as the style writes it.

    Raises:
        DataError: no problem has a trace.
    """
    rows = [
        {"prompt": p.prompt, "privileged_context": full_completion(p, style(style_name)).strip()} for p in problems if p.trace
    ]
    if not rows:
        raise DataError(
            "traces", expected="at least one problem with a trace", then="The teacher sees them; see `columns` in the recipe."
        )
    return Dataset.from_list(rows)


class TraceSDFTTrainer(EvaluatesHeldOut, SDFTTrainer):
    """TRL's `SDFTTrainer` that counts the tokens it samples: the budget that it is compared on."""

    spent_tokens = 0
    imitated_tokens = 0

    @property
    def trained_tokens(self) -> int:
        """Every sampled token is learned from."""
        return self.spent_tokens

    def _prepare_training_batch(self, inputs):
        batch = super()._prepare_training_batch(inputs)
        if self.model.training:
            self.spent_tokens += int(self.accelerator.reduce(batch["raw_completion_lengths"].sum(), reduction="sum"))
        return batch

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        if self.hub_model_id is not None:
            super().create_model_card(*args, **kwargs)


def _made_ready(recipe: Recipe, settings: SFTSettings, run: RunDirectory) -> TraceSDFTTrainer:
    args: SDFTConfig = recipe.training
    name = recipe.model.model_name_or_path
    model = trainable_place(name, trust_remote_code=args.trust_remote_code)
    tokenizer = load_tokenizer(name, model, trust_remote_code=args.trust_remote_code)
    problems = recipe.data.problems(style_name=settings.style)
    rows = privileged_dataset(problems, settings.style)
    check_template(tokenizer, rows[0]["prompt"], settings.chat_template_kwargs)
    with loading(name), without_eval_set(args):
        trainer = TraceSDFTTrainer(
            model=model, args=args, train_dataset=rows, processing_class=tokenizer, peft_config=get_peft_config(recipe.model)
        )
    trainer.held_out = held_out(recipe, tokenizer, settings.chat_template_kwargs)
    if trainer.accelerator.is_main_process:
        run.create(recipe.to_json(), manifest(problems, args.seed), resume=False)
    return trainer


def train_sdft(
    resolved: tuple[Recipe, SFTSettings], *, quiet: bool = False, callbacks: Sequence[Callable[[Any], TrainerCallback]] = ()
) -> TraceSDFTTrainer:
    """Trains and saves to `output_dir`. Arguments as in `run.train`."""
    return train_with(_made_ready, *resolved, quiet=quiet, callbacks=callbacks)
