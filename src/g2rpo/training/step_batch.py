"""One round of generation in this process, as a value: filled in while TRL's methods run, from data set rows to scored
rollouts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from g2rpo.method.rollout import GuidedPrompt, Outcome


@dataclass
class StepBatch:
    """B rollouts of this process, N of all processes, in group order."""

    rows: list[dict[str, Any]]
    """The data set row of each rollout: each problem stands there once per rollout of its group."""
    earlier_groups: int = 0
    """Groups of all processes that earlier rounds of the same step have generated: 0 in its first round."""
    guided_prompts: list[GuidedPrompt] = field(default_factory=list)
    """What each rollout starts from; empty until the rollouts are planned."""
    hinted_logprobs: list[list[float] | None] | None = None
    """Of rows that are trained on another prompt: log-probabilities of the sampled ids after the prompt with the hint, nats."""
    sampler_logprobs: list[list[float | None]] | None = None
    """Log-probabilities that the sampler gave, nats, per completion token; None where they are not to be used."""
    rewards_NF: torch.Tensor | None = None
    """What each of F reward functions gave each rollout of all processes; NaN where it gave nothing."""
    prompts: Sequence[Any] = ()
    completions: Sequence[Any] = ()
    completion_ids: Sequence[Sequence[int]] = ()
    """Prompt, completion as the rewards see it, and its ids, guidance included; of this process."""

    def weighted_rewards(self, weights_F: torch.Tensor) -> torch.Tensor:
        """The reward sums that advantages come from, shape (N,); NaN where no function scored the rollout."""
        rewards = (self.rewards_NF * weights_F.to(self.rewards_NF.device)).nansum(dim=1)
        rewards[torch.isnan(self.rewards_NF).all(dim=1)] = torch.nan
        return rewards

    def counts(self) -> list[tuple[str, int, int, float, int]]:
        """Of each rollout of this process: problem, rollout index, revealed tokens, revealed fraction, sampled tokens."""
        return [
            (p.key, p.rollout_index, p.revealed, p.fraction, len(ids) - len(p.guidance_ids))
            for p, ids in zip(self.guided_prompts, self.completion_ids, strict=True)
        ]

    def outcomes(
        self,
        gathered: Sequence[tuple[str, int, int, float, int]],
        primary: int,
        rewards_N: torch.Tensor,
        advantages_N: torch.Tensor,
    ) -> list[Outcome]:
        """The finished rollouts of all processes. `gathered` are their `counts`, `primary` is the index of the primary reward."""
        return [
            Outcome(
                key=key,
                rollout_index=index,
                guided=tokens > 0,
                guidance_tokens=tokens,
                fraction=fraction,
                sampled_tokens=sampled,
                success=number(success),
                reward=number(reward),
                advantage=advantage,
            )
            for (key, index, tokens, fraction, sampled), success, reward, advantage in zip(
                gathered, self.rewards_NF[:, primary].tolist(), rewards_N.tolist(), advantages_N.tolist(), strict=True
            )
        ]

    def records(
        self, gather: Callable[[list[Any]], list[Any]], outcomes: Sequence[Outcome], names: Sequence[str], answer_column: str
    ) -> list[dict]:
        """Rows for the rollout files, of all processes, on each of them. `names` are those of the reward functions."""
        rows = gather(
            [
                {
                    "prompt_ids": list(start.prompt_ids),
                    "completion_ids": list(ids),
                    "guidance_tokens": len(start.guidance_ids),
                    "prompt": _last_text(prompt),
                    "completion": _last_text(completion),
                    "answer": _text_or_none(row.get(answer_column)),
                }
                for row, start, ids, prompt, completion in zip(
                    self.rows, self.guided_prompts, self.completion_ids, self.prompts, self.completions, strict=True
                )
            ]
        )
        return [
            {
                **row,
                "key": o.key,
                "rollout_index": o.rollout_index,
                "guided": o.guided,
                "fraction": o.fraction,
                "reward": o.reward,
                "advantage": o.advantage,
                "success": o.success,
                "rewards": dict(zip(names, map(number, values), strict=True)),
            }
            for row, o, values in zip(rows, outcomes, self.rewards_NF.tolist(), strict=True)
        ]


@dataclass
class ScoredRound:
    """What one round of generation gave: TRL's tensors for the loss, the outcomes and, where they are written, the rows of the
    rollout files."""

    output: dict[str, Any]
    outcomes: list[Outcome]
    records: list[dict[str, Any]]


def number(value: float) -> float | None:
    """NaN as None: what was not scored."""
    return None if value != value else value


def _text_or_none(value: Any) -> str | None:
    return None if value is None else str(value)


def _last_text(messages: Any) -> Any:
    return messages if isinstance(messages, str) else messages[-1]["content"]
