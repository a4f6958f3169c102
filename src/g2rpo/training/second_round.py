"""A second, guided round of rollouts within the step, for groups that failed in the first, unguided one.

    group    a guided group with a success takes the place of the failed one   (Guide arXiv 2506.13923, GHPO 2507.10628)
    member   the least revealing success takes the place of one failed rollout  (Scaf-GRPO 2510.19807)

A group has failed where none of its scored rollouts has a success. Groups stay in the process that sampled them; a process with
fewer failed groups than another generates some of its others once more, which are not used, so that all go forward together.
Every sampled token counts in the budget. Rollout files hold all rows of both rounds, with the advantages of their own round.
"""

from collections.abc import Sequence
from typing import Any

import torch

from g2rpo.errors import ConfigError
from g2rpo.method.advantages import group_advantages
from g2rpo.method.rollout import Outcome
from g2rpo.training.dynamic_sampling import assemble
from g2rpo.training.step_batch import ScoredRound

SECOND_ROUNDS = ("none", "group", "member")


def check_second_round(args: Any) -> None:
    """What a second round needs of the other settings.

    Raises:
        ConfigError: names the setting that cannot be combined.
    """
    if args.guidance_second_round == "none":
        return
    rows = args.per_device_train_batch_size * args.steps_per_generation
    member = args.guidance_second_round == "member"
    for name, right, expected, then in (
        ("guidance_controller", args.guided, "a rule that guides: the second round is guided", "Set it to fixed, say."),
        ("dynamic_sampling_rounds", args.dynamic_sampling_rounds == 1, "1 with guidance_second_round", "Leave one of them out."),
        (
            "guidance_second_round",
            rows % args.num_generations == 0,
            f"whole groups in every process: it generates {rows} rows, groups have {args.num_generations}",
            "Change per_device_train_batch_size or steps_per_generation.",
        ),
        ("guidance_advantages", not member or args.guidance_advantages == "joint", "joint with member", "Set it to joint."),
        ("scale_rewards", not member or args.scale_rewards != "batch", "group or none with member", "Set it to group."),
        (
            "multi_objective_aggregation",
            not member or args.multi_objective_aggregation == "sum_then_normalize",
            "sum_then_normalize with member",
            "Leave it out.",
        ),
    ):
        if not right:
            raise ConfigError(name, getattr(args, name), expected=expected, then=then)


class RollsAgain:
    """Mixin in front of `SamplesAgain`, which has the other reason for a further round."""

    def more_rows(self, rounds: list[ScoredRound]) -> list[dict[str, Any]] | None:
        if self.args.guidance_second_round == "none":
            return super().more_rows(rounds)
        if len(rounds) == 2:
            return None
        again, size, rows = self._again(rounds[0]), self.num_generations, self.step_batch.rows
        return [rows[g * size + i] for g in again for i in range(size)] or None

    def chosen(self, rounds: list[ScoredRound]) -> dict[str, Any]:
        if self.args.guidance_second_round == "none" or len(rounds) == 1:
            return super().chosen(rounds)
        size, (first, second) = self.num_generations, rounds
        alone, helped = (self._of_this_process(r.outcomes, len(r.output["advantages"])) for r in rounds)
        failed = failed_groups(alone, size)
        whole = self.args.guidance_second_round == "group"
        places = replacements(failed, helped, size, whole=whole)
        source = [places.get(row, (0, row)) for row in range(len(alone))]
        output = assemble([first.output, second.output], source, 1, self._tokenizer.pad_token_id)
        if not whole:
            for group in {row // size for row in places}:
                rows = slice(group * size, (group + 1) * size)
                rewards = [(alone, helped)[r][i].reward for r, i in source[rows]]
                output["advantages"][rows] = group_advantages(
                    torch.tensor([torch.nan if x is None else x for x in rewards], device=output["advantages"].device),
                    torch.zeros(size, dtype=torch.bool, device=output["advantages"].device),
                    size,
                    "joint",
                    self.scale_rewards,
                )
        return {**output, "num_items_in_batch": self.tokens_in_loss(output)}

    def _again(self, first: ScoredRound) -> list[int]:
        """Groups of this process to generate again: failed ones, then as many others as the fullest process needs."""
        outcomes = self._of_this_process(first.outcomes, len(first.output["advantages"]))
        failed = failed_groups(outcomes, self.num_generations)
        others = [g for g in range(len(outcomes) // self.num_generations) if g not in failed]
        counts = torch.tensor([len(failed)], device=self.accelerator.device)
        return (failed + others)[: int(self.accelerator.gather(counts).max())]


def failed_groups(outcomes: Sequence[Outcome], size: int) -> list[int]:
    """Groups with a scored rollout and without a success; groups contiguous."""
    failed = []
    for group in range(len(outcomes) // size):
        scores = [o.success for o in outcomes[group * size : (group + 1) * size] if o.success is not None]
        if scores and max(scores) <= 0:
            failed.append(group)
    return failed


def replacements(failed: Sequence[int], helped: Sequence[Outcome], size: int, *, whole: bool) -> dict[int, tuple[int, int]]:
    """For each row of the first round that gives way: (1, row of the second round).

    Args:
        failed: Failed groups of the first round; the second has them first, in this order.
        helped: The second round's rollouts.
        size: Rollouts per group.
        whole: Whether the whole group gives way, or its first rollout to the least revealing success.
    """
    places = {}
    for number, group in enumerate(failed):
        rows = range(number * size, (number + 1) * size)
        right = [i for i in rows if (helped[i].success or 0) > 0]
        if right and whole:
            places |= {group * size + k: (1, i) for k, i in enumerate(rows)}
        elif right:
            places[group * size] = (1, min(right, key=lambda i: (helped[i].guidance_tokens, i)))
    return places
