"""The nouns of the package, frozen, importing nothing of ours.

Symbols follow the paper (arXiv 2508.13023): a group has G rollouts of one problem, a fraction alpha of them is *guided*,
that is, continues from the first l tokens of a ground-truth reasoning trace.
"""

from dataclasses import dataclass, field
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


@dataclass(frozen=True)
class Grade:
    """A verdict with its reason. `score` None means *not scored*: the verifier failed, which is never the model's fault."""

    score: float | None
    reason: str


@dataclass(frozen=True)
class GuidedPrompt:
    """What one rollout starts from: prompt ids, then guidance ids (empty when unguided), spliced as ids, never as text."""

    prompt_ids: tuple[int, ...]
    guidance_ids: tuple[int, ...]
    trace_length: int
    """Guidance tokens that the leak guard would allow at most; 0 for a problem without a usable trace."""
    key: str
    member: int
    """Slot in the group, 0 .. G-1."""

    @property
    def fraction(self) -> float:
        """Revealed share of what may be revealed, in [0, 1]."""
        return len(self.guidance_ids) / self.trace_length if self.trace_length else 0.0

    @property
    def guided(self) -> bool:
        return bool(self.guidance_ids)


@dataclass(frozen=True)
class Outcome:
    """One finished rollout, as the controllers and the statistics see it.

    `reward` is the weighted sum that the advantages come from, `success` the single reward that drives the controller
    (accuracy, in [0, 1]); either is None when the rollout was not scored.
    """

    key: str
    member: int
    guided: bool
    guidance_tokens: int
    fraction: float
    sampled_tokens: int
    success: float | None
    reward: float | None
    advantage: float = 0.0


PROMPT, GUIDANCE, SAMPLED = 0, 1, 2
"""Where a token came from; stored per token in the rollout files."""


@dataclass(frozen=True)
class StepRecord:
    """One line of `steps.jsonl`: what was measured at one step, and the state the controller left it with."""

    step: int
    metrics: dict[str, float | None]
    controller: dict[str, Any] = field(default_factory=dict)
    wall_s: float = 0.0
