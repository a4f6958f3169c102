"""One rollout: what it starts from, and what came of it.

Symbols follow the paper (arXiv 2508.13023): a group has G rollouts of one problem, a fraction alpha of them is *guided*,
that is, continues from the first l tokens of a ground-truth reasoning trace.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class GuidedPrompt:
    """What one rollout starts from: prompt ids, then guidance ids (empty when unguided), spliced as ids, never as text.

    Where the guidance is a hint in the prompt instead, `prompt_ids` hold it, and there are no guidance ids.
    """

    prompt_ids: tuple[int, ...]
    guidance_ids: tuple[int, ...]
    trace_length: int
    """Guidance tokens that the leak guard would allow at most; 0 for a problem without a usable trace."""
    key: str
    rollout_index: int
    """Index in the group, 0 .. G - 1."""
    whole: bool = False
    """Whether the guidance is a demonstration: a whole completion, end of turn included, after which nothing is sampled."""
    hint_tokens: int = 0
    """Tokens of the trace that stand as a hint in the prompt."""
    plain_ids: tuple[int, ...] | None = None
    """The prompt that the answer is trained on, where it is another than the one it was sampled from (Guide)."""

    @property
    def revealed(self) -> int:
        """Tokens of the trace that the rollout is shown, in its answer or in its prompt."""
        return len(self.guidance_ids) or self.hint_tokens

    @property
    def fraction(self) -> float:
        """Revealed share of what may be revealed, in [0, 1]."""
        return self.revealed / self.trace_length if self.trace_length else 0.0

    @property
    def guided(self) -> bool:
        return self.revealed > 0


@dataclass(frozen=True)
class Outcome:
    """One finished rollout, as the controllers and the statistics see it.

    `reward` is the weighted sum that the advantages come from, `success` the primary reward, which the controller
    listens to (accuracy, in [0, 1]); either is None when the rollout was not scored.
    """

    key: str
    rollout_index: int
    guided: bool
    guidance_tokens: int
    fraction: float
    sampled_tokens: int
    success: float | None
    reward: float | None
    advantage: float = 0.0

    @classmethod
    def of(
        cls, start: GuidedPrompt, sampled_tokens: int, *, success: float | None, reward: float | None, advantage: float
    ) -> "Outcome":
        """What came of a guided prompt."""
        return cls(
            start.key,
            start.rollout_index,
            start.guided,
            start.revealed,
            start.fraction,
            sampled_tokens,
            success,
            reward,
            advantage,
        )


PROMPT, GUIDANCE, SAMPLED = 0, 1, 2
"""Where a token came from; stored per token in the rollout files."""
