"""What is checked before the first hour is spent: rewards, columns, rows, traces, lengths, tokenizer, checkpoint rhythm."""

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from accelerate.logging import get_logger
from datasets import Dataset

from g2rpo.data.completion import style
from g2rpo.data.disappointments import longer_than_budget
from g2rpo.errors import ConfigError, DataError, nearest, rows_from_1
from g2rpo.evaluation.prompts import rendered
from g2rpo.processor import slow_bf16
from g2rpo.sampling.draw import warpers
from g2rpo.training.config import GuidedGRPOConfig

if TYPE_CHECKING:
    from g2rpo.training.trainer import GuidedGRPOTrainer

logger = get_logger(__name__)

ROWS_CHECKED = 20_000
"""Rows whose traces are encoded before training; of larger sets, evenly spaced ones."""
FEW = 1 / 20
"""Share of rows whose traces may have nothing to show before their answer; they are trained without guidance."""


@dataclass(frozen=True)
class DataReport:
    """What the data offers for guidance, in tokens of the model."""

    rows: int
    checked: int
    without_trace: int
    prompt_tokens_max: int
    trace_tokens_median: float
    trace_tokens_max: int
    revealable_share: float
    """Mean share of a trace that the leak guard lets a prefix reveal."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def check_template(tokenizer: Any, prompt: Any, template_kwargs: Mapping[str, Any] | None = None) -> None:
    """A conversation needs a chat template, and one that takes its roles.

    Raises:
        ConfigError: there is none, or it refuses the conversation (some know no system message, for example).
    """
    if not isinstance(prompt, list):
        return
    if not getattr(tokenizer, "chat_template", None):
        raise ConfigError(
            "chat template of the model's tokenizer",
            None,
            expected="one: the prompts are conversations, and it renders them",
            then=(
                "Set prompt_format to text for a base model, take the model's chat variant, or save a template with its "
                "tokenizer."
            ),
        )
    rendered(tokenizer, prompt, template_kwargs, then="Drop the system_prompt, or mend the conversations.", tokenize=False)


def check_data(dataset: Any, args: GuidedGRPOConfig) -> None:
    """Columns and rows of the training set, without a tokenizer: before the model is loaded."""
    if dataset is None:
        return  # TRL says so itself
    if isinstance(dataset, Dataset) and len(dataset) == 0:
        raise DataError("training set", expected="at least one row", then="Check the split and the filters.")
    wanted = check_columns(dataset, args)
    if isinstance(dataset, Dataset):
        _check_rows(dataset.select_columns(wanted), args)


def check_columns(dataset: Any, args: GuidedGRPOConfig) -> list[str]:
    """The columns that guidance needs.

    Raises:
        DataError: one is missing; names the nearest.
    """
    columns = dataset.column_names or list(next(iter(dataset)))
    wanted = ["prompt", args.guidance_trace_column]
    if args.guidance_leak_guard != "off":
        wanted.append(args.guidance_answer_column)
    mapping = "in the recipe's columns, for example columns: {prompt: question, answer: final, trace: solution}"
    moves = {
        "prompt": f"Name the question's column `prompt`, or map it {mapping}.",
        args.guidance_trace_column: f"Guidance needs a worked solution per row: name its column {mapping}; outside a recipe set "
        "guidance_trace_column; or train without guidance (guidance_controller: none).",
        args.guidance_answer_column: f"The leak guard needs the answer: name its column {mapping}; outside a recipe set "
        "guidance_answer_column; or set guidance_leak_guard to off for data without answers (programs with tests).",
    }
    for column in wanted:
        if column not in columns:
            raise DataError(
                f"column {column!r}",
                expected=f"it among the columns {', '.join(columns)}",
                then=f"{nearest(column, columns)} {moves[column]}",
            )
    return wanted


def _check_rows(rows: Iterable[dict[str, Any]], args: GuidedGRPOConfig) -> None:
    empty = []
    for number, row in enumerate(rows):
        trace = row[args.guidance_trace_column]
        if trace is not None and not isinstance(trace, str):
            raise DataError(
                f"column {args.guidance_trace_column!r} of {rows_from_1([number])}",
                trace,
                expected="a string",
                then="If a row has several traces, pick one while loading the data.",
            )
        if not (trace or "").strip():
            empty.append(number)
        elif args.guidance_leak_guard != "off" and _empty(row[args.guidance_answer_column]):
            raise DataError(
                f"column {args.guidance_answer_column!r} of {rows_from_1([number])}",
                row[args.guidance_answer_column],
                expected="the final answer",
                then="Fill it, drop the row, or set guidance_leak_guard to off.",
            )
    if empty and args.guidance_missing_trace == "error":
        raise DataError(
            f"column {args.guidance_trace_column!r}, {rows_from_1(empty)}",
            "",
            expected="a reasoning trace in every row",
            then="Drop those rows, or set guidance_missing_trace to unguided to train on them without guidance.",
        )


def _empty(answer: Any) -> bool:
    return answer is None or answer != answer or not str(answer).strip()


def check_run(trainer: "GuidedGRPOTrainer") -> DataReport | None:
    """Everything that needs the tokenizer and the resolved settings. Returns what the data offers; None if unguided."""
    args: GuidedGRPOConfig = trainer.args
    tokenizer = trainer._tokenizer
    for name in ("eos_token_id", "pad_token_id"):
        if getattr(tokenizer, name) is None:
            raise ConfigError(
                f"tokenizer.{name}",
                None,
                expected="a token: rollouts end with EOS and batches are filled with pad",
                then=f"Set tokenizer.{name.removesuffix('_id')} to a token of the vocabulary.",
            )
    _check_rhythm(args)
    if args.dynamic_sampling_rounds > 1 and not isinstance(trainer.train_dataset, Dataset):
        raise ConfigError(
            "dynamic_sampling_rounds",
            args.dynamic_sampling_rounds,
            expected="1 with a streamed training set: further problems are drawn from all of it",
            then="Load the data without streaming.",
        )
    _check_dropout(trainer)
    if warning := slow_bf16(args.bf16, trainer.accelerator.device.type):
        logger.warning(warning)
    if trainer.planner is None:
        return None
    if error := think_block_fault(trainer.planner.prompt_tail, args.guidance_style):
        raise error
    if args.seeded_sampling:
        warpers(trainer.generation_config)
        for name in ("num_return_sequences", "stop_strings", "eos_token_id", "max_new_tokens", "max_length"):
            if (value := (args.generation_kwargs or {}).get(name)) is not None and (name, value) != ("num_return_sequences", 1):
                raise ConfigError(
                    f"generation_kwargs[{name!r}]",
                    value,
                    expected="it unset: one rollout per row, ended by the model's EOS or by max_completion_length",
                    then="Drop it; rows per problem are num_generations.",
                )
    wanted = args.generation_batch_size // args.num_generations
    if isinstance(trainer.train_dataset, Dataset) and len(trainer.train_dataset) < wanted:
        raise DataError(
            "training set",
            f"{len(trainer.train_dataset)} problems",
            expected=f"at least {wanted}, the problems of one generation batch: with fewer, not one step is trained",
            then="Lower per_device_train_batch_size or steps_per_generation, or add problems.",
        )
    return _check_traces(trainer)


def think_block_fault(prompt_tail: str, style_name: str) -> ConfigError | None:
    """What is wrong where the end of a rendered prompt opens, or closes, a think block that the style closes, or opens."""
    end, written = prompt_tail.rstrip(), style(style_name)
    if written.before_trace and end.endswith("</think>"):
        return ConfigError(
            "guidance_style",
            style_name,
            expected="a style without a think block: the chat template closes it in the prompt",
            then="Set guidance_style to boxed, or drop enable_thinking from chat_template_kwargs.",
        )
    if end.endswith("<think>") and "</think>" not in written.between:
        return ConfigError(
            "guidance_style",
            style_name,
            expected="a style that closes the think block which the chat template opens",
            then="Set guidance_style to think_answer or think_boxed.",
        )
    return None


def _check_dropout(trainer: "GuidedGRPOTrainer") -> None:
    """Log-probabilities of the old policy are computed by a model in training, dropout on, as the new ones are."""
    dropout = max(
        (
            float(c.lora_dropout)
            for c in (getattr(trainer.model, "peft_config", None) or {}).values()
            if hasattr(c, "lora_dropout")
        ),
        default=0.0,
    )
    several = trainer.args.gradient_accumulation_steps % (trainer.args.steps_per_generation * trainer.num_iterations) != 0
    corrected = trainer.use_vllm and trainer.vllm_importance_sampling_correction
    if dropout > 0 and (several or corrected):
        compared = "the engine's, which has no dropout" if corrected else "those of another draw of dropout"
        logger.warning(
            f"lora_dropout is {dropout:g}: log-probabilities are compared with {compared}, and rows look off-policy that are "
            "not. "
            "Set lora_dropout to 0."
        )


def _check_rhythm(args: GuidedGRPOConfig) -> None:
    every = args.optimizer_steps_per_generation
    # A save_steps below 1 is a share of the run, known only when it starts; checkpoints say then whether they can be resumed.
    if args.save_strategy == "steps" and every > 1 and args.save_steps >= 1 and args.save_steps % every:
        raise ConfigError(
            "save_steps",
            args.save_steps,
            expected=f"a multiple of {every:g}, the optimizer steps fed by one generation batch",
            then="In between, a checkpoint would lose the rest of the batch and not resume exactly.",
        )


def _check_traces(trainer: "GuidedGRPOTrainer") -> DataReport:
    args: GuidedGRPOConfig = trainer.args
    dataset, planner = trainer.train_dataset, trainer.planner
    total = len(dataset) if isinstance(dataset, Dataset) else 0
    stride = max(1, -(-total // ROWS_CHECKED))
    rows = [dataset[i] for i in range(0, total, stride)] if total else list(islice(iter(dataset), 256))
    if isinstance(rows[0]["prompt"], str) and trainer._tokenizer.chat_template:
        logger.warning(
            "The prompts are plain strings: they reach the model as they are, WITHOUT its chat template. "
            "Use conversations ([{'role': 'user', 'content': ...}]) to have it applied."
        )
    prompts = [len(ids) for ids in trainer._tokenize_prompts([r["prompt"] for r in rows])[0]]
    if args.guidance_place == "prompt":
        if isinstance(rows[0]["prompt"], str):
            raise ConfigError(
                "guidance_place",
                "prompt",
                expected="answer with plain prompts: a hint stands behind the last message of a conversation",
                then="Set prompt_format to chat, or guidance_place to answer.",
            )
        around = len(trainer._tokenizer(args.guidance_instruction)["input_ids"])
        prompts = [length + around + len(planner.trace(row).ids) for length, row in zip(prompts, rows, strict=True)]
    _check_prompts(trainer, rows, prompts, stride)

    whole_style = style(args.guidance_style).opened_by(planner.prompt_tail)
    around = len(trainer._tokenizer(whole_style.between + whole_style.after_answer, add_special_tokens=False)["input_ids"])
    lengths, shares, unusable = [], [], []
    too_long: list[int] = []
    for number, row in enumerate(rows):
        trace = planner.trace(row)
        if not trace.ids:
            unusable.append(number)
            continue
        text = whole_style.before_trace + str(row[args.guidance_trace_column])
        whole = len(trainer._tokenizer(text, add_special_tokens=False)["input_ids"])
        lengths.append(len(trace.ids))
        shares.append(min(1.0, len(trace.ids) / whole))
        target = trainer._tokenizer(_target(row, args), add_special_tokens=False)["input_ids"]
        if whole + around + len(target) > trainer.max_completion_length:
            too_long.append(number * stride)
    if unusable and args.guidance_missing_trace == "error":
        first = unusable[0]
        what = f"trace of {rows_from_1([i * stride for i in unusable])}"
        expected = (
            f"{'whole steps of ' if args.guidance_cut == 'step' else ''}reasoning before the answer "
            f"{rows[first].get(args.guidance_answer_column)!r} first appears; it gives away nothing else"
        )
        if len(unusable) > FEW * len(rows):
            raise DataError(
                what,
                rows[first][args.guidance_trace_column],
                expected=expected,
                then="Drop such rows, set guidance_missing_trace to unguided, or guidance_leak_guard to conclusion if "
                "answers are small numbers that occur everywhere.",
            )
        logger.warning(f"{what}: expected {expected}. These rows are trained without guidance.")
    if not lengths:
        raise DataError(
            f"column {args.guidance_trace_column!r}",
            expected="a usable trace in at least one row",
            then="Without traces, train with guidance_controller: none.",
        )
    if len(too_long) == len(lengths):
        raise ConfigError(
            "max_completion_length",
            trainer.max_completion_length,
            expected=(
                f"room for a trace and its answer; {len(too_long)} of {len(lengths)} traces do not fit (longest prefix: "
                f"{max(lengths)} tokens)"
            ),
            then="Guided rollouts could never finish. Raise max_completion_length or drop long traces.",
        )
    if too_long:
        logger.warning(str(longer_than_budget(too_long, total or len(rows), trainer.max_completion_length)))
    planner.controller.check_traces(max(lengths), args.unit)
    report = DataReport(
        rows=total,
        checked=len(rows),
        without_trace=len(rows) - len(lengths),
        prompt_tokens_max=max(prompts),
        trace_tokens_median=statistics.median(lengths),
        trace_tokens_max=max(lengths),
        revealable_share=statistics.fmean(shares),
    )
    if report.revealable_share < 0.5:
        logger.warning(
            f"The leak guard {args.guidance_leak_guard!r} lets a prefix reveal {report.revealable_share:.0%} of a trace "
            "on average. If answers are small numbers that occur early by chance, consider guidance_leak_guard: conclusion."
        )
    return report


def _target(row: dict[str, Any], args: GuidedGRPOConfig) -> str:
    """What a completion must still write after its trace: the answer, or the program where tests grade one."""
    if row.get("tests"):
        tests = json.loads(row["tests"]) if isinstance(row["tests"], str) else row["tests"]
        return str(tests.get("solution") or "")
    return str(row.get(args.guidance_answer_column) or "")


def _check_prompts(trainer: "GuidedGRPOTrainer", rows: Sequence[dict], lengths: Sequence[int], stride: int) -> None:
    """A prompt and a whole completion must fit into the model."""
    config = trainer.model.config.get_text_config()
    room = getattr(config, "max_position_embeddings", None)
    engine = trainer.vllm_generation.max_model_length if trainer.use_vllm else None  # of a server, what it was started with
    if engine:
        room = min(room or engine, engine)
    worst = max(range(len(rows)), key=lambda i: lengths[i])
    if room is not None and trainer.max_completion_length >= room:
        raise ConfigError(
            "max_completion_length",
            trainer.max_completion_length,
            expected=f"less than {room}, the tokens that the model has room for, prompt included",
            then=f"The longest prompt has {lengths[worst]}.",
        )
    if room is not None and lengths[worst] + trainer.max_completion_length > room:
        raise DataError(
            f"prompt of {rows_from_1([worst * stride])}",
            f"{lengths[worst]} tokens",
            expected=f"at most {room - trainer.max_completion_length}: the model has room for {room} tokens and "
            "max_completion_length takes "
            f"{trainer.max_completion_length}",
            then="Drop long prompts or lower max_completion_length.",
        )
