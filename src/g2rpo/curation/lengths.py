"""How long prompts, traces and steps are in the tokens of a model, and how much of a trace guidance may reveal."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from g2rpo.data.completion import full_completion, style
from g2rpo.data.problem import Problem
from g2rpo.errors import DataError
from g2rpo.method.prefix import tokenize_trace

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

QUANTILES = {"min": 0.0, "10 %": 0.1, "median": 0.5, "90 %": 0.9, "99 %": 0.99, "max": 1.0}


@dataclass(frozen=True)
class Lengths:
    """Values of one measure over a data set: tokens, steps or shares."""

    what: str
    values: tuple[float, ...]

    @property
    def summary(self) -> dict[str, float]:
        """Mean and quantiles; a quantile is a value that occurs, so that whole numbers stay whole."""
        found = {"mean": float(np.mean(self.values))}
        return found | {name: float(np.quantile(self.values, q, method="lower")) for name, q in QUANTILES.items()}


def lengths(
    problems: Sequence[Problem],
    tokenizer: "PreTrainedTokenizerBase",
    *,
    style_name: str = "think_answer",
    guard: str = "strict",
    template_kwargs: Mapping[str, Any] | None = None,
) -> list[Lengths]:
    """Tokens per prompt (chat template included), per completion as it should be written, per trace and per step; steps per
    trace; and the tokens and the share of a trace that the leak guard allows to reveal. Measures that no problem has are left
    out.
    """
    how = style(style_name)
    found: dict[str, list[float]] = {
        name: [] for name in ("prompt", "completion", "trace", "step", "steps per trace", "revealable", "revealable share")
    }
    for problem in problems:
        found["prompt"].append(_prompt(problem, tokenizer, template_kwargs))
        if not problem.trace:
            continue
        with contextlib.suppress(DataError):  # neither an answer nor a solution: nothing to write after the trace
            found["completion"].append(len(tokenizer(full_completion(problem, how), add_special_tokens=False)["input_ids"]))
        whole = tokenize_trace(tokenizer, "", problem.trace, None, "off")
        allowed = len(tokenize_trace(tokenizer, "", problem.trace, problem.answer, guard).ids)
        ends = whole.step_ends
        found["trace"].append(len(whole.ids))
        found["step"] += [end - start for start, end in zip((0, *ends), ends, strict=False)]
        found["steps per trace"].append(len(ends))
        found["revealable"].append(allowed)
        found["revealable share"].append(allowed / max(1, len(whole.ids)))
    return [Lengths(name, tuple(values)) for name, values in found.items() if values]


def _prompt(problem: Problem, tokenizer: "PreTrainedTokenizerBase", kwargs: Mapping[str, Any] | None) -> int:
    if isinstance(problem.prompt, str) or not tokenizer.chat_template:
        text = problem.prompt if isinstance(problem.prompt, str) else "\n".join(m["content"] for m in problem.prompt)
        return len(tokenizer(text)["input_ids"])
    return len(tokenizer.apply_chat_template(problem.prompt, add_generation_prompt=True, return_dict=False, **(kwargs or {})))
