"""Held-out evaluation while training: on suites of `g2rpo eval`, never guided, with seeds of its own.

It is what the trainer's `evaluate` does, so Transformers' own fields say when (`eval_strategy`, `eval_steps`, `eval_on_start`)
and what becomes of it (`metric_for_best_model`, `load_best_model_at_end`, `save_strategy: best`). `num_generations_eval` samples
per problem are drawn, `per_device_eval_batch_size` at a time on each process. Nothing is drawn from training's generators, and
every evaluation draws the same numbers, so that two of them differ in the model alone.
"""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from transformers import Trainer
from trl.models import unwrap_model_for_generation

from g2rpo.data.completion import setting
from g2rpo.evaluation.checkpoint import room
from g2rpo.evaluation.engines import TransformersEngine, decoding
from g2rpo.evaluation.grading import Graders
from g2rpo.evaluation.sample_and_grade import Questions, sample_and_grade
from g2rpo.evaluation.statistics import mean_interval
from g2rpo.evaluation.suite import load_suite

SEED = 0
"""Of the samples; not the run's, so that runs with different seeds are measured alike."""
DEFAULTS = {
    "eval_strategy": "steps",
    "eval_steps": 50,
    "num_generations_eval": 1,
    "per_device_eval_batch_size": 64,
    "metric_for_best_model": "accuracy",
}
"""Transformers' and TRL's fields, where a recipe with `eval_suite` leaves them out. Fields that a trainer lacks are passed
over."""


@dataclass
class HeldOutConfig:
    """What to evaluate on while training; when, and what becomes of it, say Transformers' `eval_*` fields."""

    eval_suite: list[str] = setting([], "Suites of g2rpo eval to measure the model on while it trains, never guided.")
    eval_data: str | None = setting(None, "Folder with local copies of the suites' data; the hub without it.")
    eval_limit: int | None = setting(None, "First so many problems of each suite.")
    eval_preset: str | None = setting(None, "Decoding: greedy or paper. Default: greedy for one sample per problem, else paper.")
    eval_max_tokens: int | None = setting(None, "New tokens per completion. Default: the suite's.")


class HeldOut:
    """Suites made ready for one tokenizer; opened once, used at every evaluation.

    Args:
        config: Which suites.
        tokenizer: The model's.
        samples: Per problem.
        batch_size: Completions drawn together.
        system, instruction: How problems are put in training; the suites' own ways without them.
        template_kwargs: For the chat template.

    Raises:
        ConfigError, DataError: as `g2rpo eval` does, before training.
    """

    def __init__(
        self,
        config: HeldOutConfig,
        tokenizer: Any,
        *,
        samples: int = 1,
        batch_size: int = 64,
        system: str | None = None,
        instruction: str | None = None,
        template_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        self.config, self.tokenizer, self.samples, self.batch_size = config, tokenizer, samples, batch_size
        self.decoding = decoding(config.eval_preset or ("greedy" if samples == 1 else "paper"))
        self.decoding.check_samples("num_generations_eval", samples, then="Set eval_preset to paper.")
        self.suites = [load_suite(name).instructed(system, instruction) for name in dict.fromkeys(config.eval_suite)]
        self.graders = Graders()
        folder = Path(config.eval_data) if config.eval_data else None
        self.asked = [
            Questions.of_suite(
                suite, suite.problems(folder, config.eval_limit), tokenizer, self.graders, template_kwargs=template_kwargs
            )
            for suite in self.suites
        ]

    def close(self) -> None:
        self.graders.close()

    def measure(self, model: Any, rank: int = 0, processes: int = 1) -> dict[str, dict[str, Any]]:
        """Accuracy, its interval, share of cut completions and mean length per suite; the work is divided among the processes."""
        engine = TransformersEngine(model, self.tokenizer, self.decoding)
        return {
            suite.name: self._measure(questions, self.config.eval_max_tokens or suite.max_tokens, engine, rank, processes)
            for suite, questions in zip(self.suites, self.asked, strict=True)
        }

    def _measure(
        self, questions: Questions, budget: int, engine: TransformersEngine, rank: int, processes: int
    ) -> dict[str, Any]:
        plan = questions.requests(self.samples, budget=budget, room=room(engine.model), seed=SEED)
        own = sample_and_grade(questions, plan, engine, self.batch_size, process=rank, processes=processes)
        facts = gather_object([(s.key, s.score or 0.0, s.tokens, s.ended) for batch in own for s in batch])
        by_problem: dict[str, list[float]] = {}
        for key, score, _, _ in facts:
            by_problem.setdefault(key, []).append(score)
        means = [sum(scores) / len(scores) for _, scores in sorted(by_problem.items())]
        return {
            "accuracy": sum(means) / len(means),
            "ci95": mean_interval(means),
            "truncated": sum(not ended for *_, ended in facts) / len(facts),
            "mean_length": sum(tokens for _, _, tokens, _ in facts) / len(facts),
        }


class EvaluatesHeldOut(Trainer):
    """Mixed into a trainer: with `held_out` set, `evaluate` measures on its suites."""

    held_out: HeldOut | None = None

    def evaluate(self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval") -> dict[str, float]:
        """Metrics `eval_<suite>_accuracy`, `_ci95_low`, `_ci95_high`, `_truncated`, `_mean_length`; `eval_accuracy`, their
        mean."""
        if self.held_out is None or eval_dataset is not None:
            return super().evaluate(eval_dataset, ignore_keys, metric_key_prefix)
        was_training = self.model.training
        devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
        with torch.random.fork_rng(devices), self._for_generation() as model:
            self.model.eval()
            results = self.held_out.measure(model, self.accelerator.process_index, self.accelerator.num_processes)
        metrics = {f"{metric_key_prefix}_accuracy": sum(r["accuracy"] for r in results.values()) / len(results)}
        for suite, result in results.items():
            low, high = result.pop("ci95")
            for name, value in {**result, "ci95_low": low, "ci95_high": high}.items():
                metrics[f"{metric_key_prefix}_{suite}_{name}"] = value
        self.log(dict(metrics))  # TRL clears the metrics of the mode it is in: not training's
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        self.model.train(was_training)
        return metrics

    @contextlib.contextmanager
    def _for_generation(self) -> Iterator[Any]:
        distributed = getattr(self, "_dist", None)
        whole = distributed.summon_full_params(self.model_wrapped, recurse=False) if distributed else contextlib.nullcontext()
        with (
            unwrap_model_for_generation(
                self.model_wrapped,
                self.accelerator,
                gather_deepspeed3_params=getattr(self.args, "ds3_gather_for_generation", True),
                gradient_checkpointing_kwargs=self.args.gradient_checkpointing_kwargs,
            ) as model,
            whole,
        ):
            yield model


@contextlib.contextmanager
def without_eval_set(args: Any) -> Iterator[None]:
    """While a trainer is made: it would ask for an evaluation set, and the suites take its place."""
    strategy, args.eval_strategy = args.eval_strategy, type(args.eval_strategy)("no")
    try:
        yield
    finally:
        args.eval_strategy = strategy
