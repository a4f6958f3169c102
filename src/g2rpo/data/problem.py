"""One problem with a verifiable answer, and its prompt."""

from dataclasses import dataclass
from typing import Any

Prompt = str | list[dict[str, Any]]
"""A plain string (sent to the model as it is) or a conversation (rendered with the model's chat template)."""


@dataclass(frozen=True)
class Problem:
    """One problem with a verifiable answer.

    `key` is stable across runs and processes: draws, statistics and resumed evaluations refer to it. `trace` is the worked
    solution up to, and without, the final answer statement; None when only the answer is known. `tests` replaces `answer`
    where a program is graded; a program that passes them may stand there as `solution`, for supervised fine-tuning. It is
    never shown to a model as guidance. `traces` are all usable worked solutions where a data set has several, `trace` among them.
    `trace_answer` is what the trace arrives at where that is not the answer (a program, where tests grade): a trace with a wrong
    step, which imitation then learns to its end. Rewards never see it.
    """

    key: str
    prompt: Prompt
    answer: str | None = None
    trace: str | None = None
    tests: dict[str, Any] | None = None
    difficulty: float | None = None
    source: str = ""
    traces: tuple[str, ...] = ()
    trace_answer: str | None = None
