"""Self-distillation with the trace as privileged context, by TRL's `SDFTTrainer` (SDFT arXiv 2601.19897; OPSD 2601.18734).

The model samples an answer to the plain prompt; the same model, shown a right answer beside the question, says how likely it
finds each of those tokens, and the student is drawn there: a divergence per token, no reward. What a guided rollout may see of a
trace, the teacher sees as a whole, with the answer. `teacher_model_kind` is TRL's: `ema` (SDFT) or `base` (OPSD's fixed teacher).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from datasets import Dataset
from transformers import TrainerCallback
from trl import get_peft_config
from trl.experimental.sdft import SDFTConfig, SDFTTrainer

from g2rpo.data.completion import full_completion, style
from g2rpo.data.problem import Problem
from g2rpo.errors import DataError
from g2rpo.evaluation.checkpoint import load_tokenizer, trainable_place
from g2rpo.training.distributed import keep_weights_fp32
from g2rpo.training.held_out_evaluation import EvaluatesHeldOut, without_eval_set
from g2rpo.training.run.callbacks import SAMPLED
from g2rpo.training.run.preflight import check_template
from g2rpo.training.run.recipe import Recipe, merged_with, resolve
from g2rpo.training.run.run_directory import RunDirectory, manifest
from g2rpo.training.run.train import held_out, loading
from g2rpo.training.sft import train_with, without_rl

TEMPLATE = "{prompt}\n\nThis is an example of a right answer:\n\n{privileged_context}\n\nAnswer in the same way."


@dataclass
class TraceSDFTConfig(SDFTConfig):
    """TRL's `SDFTConfig` with a budget. Prompts are never cut; the teacher's template has words between question and answer."""

    max_prompt_length: int | None = None
    teacher_prompt_template: str = TEMPLATE
    max_sampled_tokens: int | None = None
    """Stop when so many tokens were sampled."""


def resolve_sdft(values: Mapping[str, Any], flags: Sequence[str] = ()) -> Recipe:
    """A recipe for self-distillation: the fields of the model, the data and `TraceSDFTConfig`. Fields that only guided training
    has are dropped."""
    return resolve(without_rl(merged_with(values, flags), TraceSDFTConfig), config_class=TraceSDFTConfig)


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

    def log(self, logs, *args: Any, **kwargs: Any) -> None:
        super().log({**logs, SAMPLED: self.spent_tokens}, *args, **kwargs)

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        if self.hub_model_id is not None:
            super().create_model_card(*args, **kwargs)


def _made_ready(recipe: Recipe, run: RunDirectory, checkpoint: str | None) -> TraceSDFTTrainer:
    args: TraceSDFTConfig = recipe.training
    name = recipe.model.model_name_or_path
    model = trainable_place(name, trust_remote_code=args.trust_remote_code)
    tokenizer = load_tokenizer(name, model, trust_remote_code=args.trust_remote_code)
    problems = recipe.data.problems()
    rows = privileged_dataset(problems, recipe.data.guidance_style)
    check_template(tokenizer, rows[0]["prompt"], args.chat_template_kwargs)
    keep_weights_fp32(args, model)
    with loading(name), without_eval_set(args):
        trainer = TraceSDFTTrainer(
            model=model, args=args, train_dataset=rows, processing_class=tokenizer, peft_config=get_peft_config(recipe.model)
        )
    trainer.held_out = held_out(recipe, tokenizer)
    if trainer.accelerator.is_main_process:
        run.create(recipe.to_json(), manifest(problems, args.seed), resume=False)
    return trainer


def train_sdft(
    recipe: Recipe, *, quiet: bool = False, callbacks: Sequence[Callable[[Any], TrainerCallback]] = ()
) -> TraceSDFTTrainer:
    """Trains and saves to `output_dir`. Arguments as in `run.train`."""
    return train_with(_made_ready, recipe, quiet=quiet, callbacks=callbacks)
