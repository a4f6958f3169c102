"""Supervised fine-tuning on the traces: the baseline that decides (arXiv 2604.23747), done by TRL's `SFTTrainer`.

The same rows, the same completion style, loss on the completion only, token mean over the whole accumulation window. What a
guided rollout may see of a trace, SFT sees too, and the answer with it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from datasets import Dataset
from transformers import AutoTokenizer, PrinterCallback, ProgressCallback
from trl import SFTConfig, SFTTrainer, get_peft_config

from g2rpo.base_model import resolve_model
from g2rpo.data.completion import full_completion, style
from g2rpo.errors import ConfigError, DataError
from g2rpo.training.config import GuidedGRPOConfig
from g2rpo.training.progress import ShowProgress
from g2rpo.training.recipe import Recipe, resolve
from g2rpo.training.run import model_init_kwargs
from g2rpo.types import Problem

STYLE_FIELD = "guidance_style"


def resolve_sft(values: Mapping[str, Any], flags: Sequence[str] = ()) -> tuple[Recipe, str]:
    """A recipe for SFT: the data fields as for `train`, the training fields of TRL's `SFTConfig`, and `guidance_style`.

    Fields that only reinforcement learning has are dropped, so that one recipe serves both.
    """
    import dataclasses

    from g2rpo.training.recipe import read_flags

    given = {**values, **read_flags(flags)}
    name = given.pop(STYLE_FIELD, "think_answer")
    style(name)
    sft = {f.name for f in dataclasses.fields(SFTConfig)}
    only_rl = {f.name for f in dataclasses.fields(GuidedGRPOConfig)} - sft
    return resolve({k: v for k, v in given.items() if k not in only_rl}, config_class=SFTConfig), name


def completions_dataset(problems: Sequence[Problem], style_name: str, tokenizer: Any) -> Dataset:
    """Rows of token ids with a completion mask: prompt rendered with the chat template, completion as guidance would begin it.

    Raises:
        DataError: no problem has a trace.
    """
    rows = []
    for problem in problems:
        if not problem.trace:
            continue
        prompt = problem.prompt
        if not isinstance(prompt, str):
            prompt = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, tokenize=False)
        prompt_ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        text = full_completion(problem, style(style_name).opened_by(prompt))
        completion_ids = [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        rows.append({"input_ids": prompt_ids + completion_ids, "completion_mask": [0] * len(prompt_ids) + [1] * len(completion_ids)})
    if not rows:
        raise DataError("traces", expected="at least one problem with a trace", then="SFT learns the traces; see `columns` in the recipe.")
    return Dataset.from_list(rows)


def train_sft(resolved: tuple[Recipe, str], *, quiet: bool = False) -> SFTTrainer:
    """Trains and saves to `output_dir`; the result can be the `model_name_or_path` of a guided run."""
    recipe, style_name = resolved
    args: SFTConfig = recipe.training
    model = resolve_model(recipe.model.model_name_or_path)
    tokenizer = AutoTokenizer.from_pretrained(model, trust_remote_code=args.trust_remote_code)
    if tokenizer.eos_token_id is None:
        raise ConfigError("tokenizer.eos_token_id", None, expected="a token that ends a completion", then="Set the tokenizer's eos_token.")
    args.model_init_kwargs = {**model_init_kwargs(recipe.model), **(args.model_init_kwargs or {})}
    rows = completions_dataset(recipe.data.problems(), style_name, tokenizer)
    trainer = SFTTrainer(model=model, args=args, train_dataset=rows, processing_class=tokenizer, peft_config=get_peft_config(recipe.model))
    for callback in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(callback)
    if not quiet:
        trainer.add_callback(ShowProgress())
    trainer.train()
    trainer.save_model(args.output_dir)
    return trainer
