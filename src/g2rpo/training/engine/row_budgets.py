"""A budget of new tokens for each row that vLLM continues.

TRL asks its engine for `max_completion_length` new tokens in every row. A guided row has part of its completion already: asked
for the whole, a server refuses it where prompt, prefix and budget exceed its context, and an engine in this process samples
tokens that are thrown away. Sampling parameters are the engine's own business per row, so each row gets its own.
"""

import copy
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch
from accelerate.utils import gather_object

REQUESTS_AT_A_TIME = 64
"""To a server; each holds the rows of one budget."""


@contextmanager
def row_budgets(generation: Any, budgets: Sequence[int]) -> Iterator[None]:
    """Inside, a call of `generation.generate` continues each of its rows by at most its budget.

    Args:
        generation: TRL's `VLLMGeneration`, in either mode; it is called with `num_generations=1`.
        budgets: New tokens per row of this process, in the order of the prompts that will be given.

    A collective call in server mode and under tensor parallelism, as `generate` is itself.
    """
    if generation.mode == "server":
        everyones = gather_object(list(budgets))  # the main process asks for all
        if not generation.accelerator.is_main_process:
            yield
            return
        engine, wrap = generation.vllm_client, _by_request
    else:
        everyones = list(budgets)
        if generation.tensor_parallel_size > 1:
            parts: list[Any] = [None] * generation.tensor_parallel_size
            torch.distributed.all_gather_object(parts, everyones, group=generation.tp_group)
            everyones = [budget for part in parts for budget in part]
        engine, wrap = generation.llm, _by_parameters
    engine.generate = wrap(engine.generate, everyones)
    try:
        yield
    finally:
        del engine.generate  # the class's own method again


def _by_parameters(generate: Any, budgets: Sequence[int]) -> Any:
    def with_budgets(prompts: Sequence[Any], sampling_params: Any, **kwargs: Any) -> Any:
        each = []
        for _, budget in zip(prompts, budgets, strict=True):
            own = copy.copy(sampling_params)
            own.max_tokens = min(budget, sampling_params.max_tokens)
            each.append(own)
        return generate(prompts, sampling_params=each, **kwargs)

    return with_budgets


def _by_request(generate: Any, budgets: Sequence[int]) -> Any:
    """The server takes one budget per request: rows of one budget go together, all requests at the same time."""

    def with_budgets(
        prompts: Sequence[list[int]], max_tokens: int, features: Any = None, generation_kwargs: Any = None, **kwargs: Any
    ) -> dict[str, Any]:
        kwargs["generation_kwargs"] = own = dict(generation_kwargs or {})
        max_tokens = own.pop("max_tokens", max_tokens)  # it would win over the row's
        rows_of: dict[int, list[int]] = {}
        for row, (_, budget) in enumerate(zip(prompts, budgets, strict=True)):
            rows_of.setdefault(min(budget, max_tokens), []).append(row)

        def ask(budget: int) -> dict[str, Any]:
            rows = rows_of[budget]
            images = None if features is None else [features[row] for row in rows]
            return generate(prompts=[prompts[row] for row in rows], max_tokens=budget, features=images, **kwargs)

        with ThreadPoolExecutor(min(REQUESTS_AT_A_TIME, len(rows_of))) as threads:
            answers = list(threads.map(ask, rows_of))
        together: dict[str, Any] = {}
        for key in answers[0]:
            if answers[0][key] is None:
                together[key] = None
                continue
            together[key] = [None] * len(prompts)
            for rows, answer in zip(rows_of.values(), answers, strict=True):
                for row, value in zip(rows, answer[key], strict=True):
                    together[key][row] = value
        return together

    return with_budgets
