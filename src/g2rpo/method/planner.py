"""From data set rows to guided prompts: which rollout sees how much of its problem's trace at this step."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from g2rpo.data.completion import style
from g2rpo.data.trace_text import clean_trace
from g2rpo.errors import DataError
from g2rpo.method.controller import Ask, Controller, Unit
from g2rpo.method.guided_share import guided_count
from g2rpo.method.prefix import Cut, TraceTokens, tokenize_trace
from g2rpo.method.rollout import GuidedPrompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

NO_TRACE = TraceTokens((), ())


def row_key(row: Mapping[str, Any]) -> str:
    """The row's own `key` column, or a digest of its prompt: the same in every process and every run."""
    if row.get("key") is not None:
        return str(row["key"])
    return hashlib.blake2b(json.dumps(row["prompt"], sort_keys=True).encode(), digest_size=12).hexdigest()


@dataclass
class Planner:
    """Fixed for a run; holds encoded traces so that each is encoded once."""

    controller: Controller
    tokenizer: "PreTrainedTokenizerBase"
    alpha: float
    group_size: int
    unit: Unit
    style_name: str
    leak_guard: str
    trace_column: str
    answer_column: str
    budget: int
    """Completion budget in tokens; guidance leaves room for at least one sampled token."""
    seed: int
    cut: Cut = "token"
    in_prompt: bool = False
    """Whether guidance is a hint in the prompt: then nothing is opened before it."""
    prompt_tail: str = ""
    """The end of a rendered prompt: it may have opened the think block already."""
    traces: dict[tuple[Any, ...], TraceTokens] = field(default_factory=dict)

    def trace(self, row: Mapping[str, Any]) -> TraceTokens:
        """What may be revealed of the row's trace; empty when there is none to use."""
        cell = (row_key(row), row.get(self.trace_column), row.get(self.answer_column))
        if cell not in self.traces:
            self.traces[cell] = self._encode(row)
        return self.traces[cell]

    def _encode(self, row: Mapping[str, Any]) -> TraceTokens:
        text = row.get(self.trace_column)
        if text is not None and not isinstance(text, str):
            raise DataError(
                f"column {self.trace_column!r} of row {row_key(row)}",
                text,
                expected="a string",
                then="If a row has several traces, pick one while loading the data.",
            )
        text = clean_trace(text or "")
        if not text:
            return NO_TRACE
        before = "" if self.in_prompt else style(self.style_name).opened_by(self.prompt_tail).before_trace
        answer = row.get(self.answer_column)
        tokens = tokenize_trace(self.tokenizer, before, text, None if answer is None else str(answer), self.leak_guard)
        opening = len(self.tokenizer(before, add_special_tokens=False)["input_ids"]) if before else 0
        # Revealing the opening tag alone is no guidance; nor is a trace without a whole step, where only whole steps are shown.
        stepless = not tokens.step_ends and (self.cut == "step" or self.unit == "steps")
        return tokens if len(tokens.ids) > opening and not stepless else NO_TRACE

    def guided_prompt(
        self,
        row: Mapping[str, Any],
        prompt_ids: Sequence[int],
        rollout_index: int,
        state: Any,
        step: int,
        total_steps: int,
        reveal: float | None = None,
        success_so_far: float | None = None,
    ) -> GuidedPrompt:
        """What one rollout starts from. `rollout_index` is its index in the group, 0 .. G-1; `reveal` is a share of the
        trace instead of the length that the controller plans."""
        key = row_key(row)
        trace, length = NO_TRACE, 0
        guidable = guided_count(self.alpha, self.group_size)
        if rollout_index < guidable:
            trace = self.trace(row)
            ask = Ask(step, total_steps, key, rollout_index, self.seed, self.group_size, guidable, success_so_far)
            amount, unit = (self.controller.plan(state, ask), self.unit) if reveal is None else (reveal, "fraction")
            length = min(trace.length(amount, unit), self.budget - 1)
            if self.cut == "step":
                length = trace.whole_steps(length, self.budget - 1)
        return GuidedPrompt(tuple(prompt_ids), trace.ids[:length], len(trace.ids), key, rollout_index)
