"""Parts of a group that are sampled one after the other, for rules that plan a part by the success of those before it
(`Controller.micro_groups`; TRAPO, arXiv 2512.17636).

Each rollout is graded once, right after its part. Groups stay in the process that samples them, and all processes sample equally
many rows of a part.
"""

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

import torch

from g2rpo.errors import ConfigError
from g2rpo.method.rollout import GuidedPrompt
from g2rpo.training.step_batch import number

Sampled = tuple[list[int], list[float] | None]
"""Sampled ids and, where the sampler tells them, their log-probabilities."""


def check_micro_groups(args: Any) -> None:
    """What micro-groups need of the other settings.

    Raises:
        ConfigError: names the setting that cannot be combined.
    """
    rows = args.per_device_train_batch_size * args.steps_per_generation
    parts = args.controller.micro_groups(args.num_generations)
    if len(parts) > 1 and rows % args.num_generations:
        raise ConfigError(
            "guidance_controller",
            args.guidance_controller,
            expected=f"whole groups in every process: it generates {rows} rows, groups have {args.num_generations}",
            then="Change per_device_train_batch_size or steps_per_generation.",
        )


class SamplesInTurn:
    """Mixin in front of `Continues`."""

    def check_turns(self) -> None:
        """What micro-groups need of model and tokenizer.

        Raises:
            ConfigError: before training; names what cannot be graded part by part.
        """
        if not self.args.guided or len(self.controller.micro_groups(self.num_generations)) == 1:
            return
        parsed = getattr(self._tokenizer, "response_schema", None) or getattr(self._tokenizer, "response_template", None)
        for wrong, value in (
            ("model", "reads images" if self._is_vlm else ""),
            ("tokenizer", "parses responses" if parsed else ""),
        ):
            if value:
                raise ConfigError(
                    wrong,
                    value,
                    expected=f"plain text with {self.args.guidance_controller}, a rule that grades while it samples",
                    then="Use another model, or another rule.",
                )

    def sampled_in_turn(
        self, begin: Callable[[int, float | None], GuidedPrompt], images: Any, fields: Any, *, guides: bool
    ) -> tuple[list[GuidedPrompt], list[Sampled]]:
        """Guided prompts and what was sampled after them, in the order of the batch.

        Args:
            begin: The guided prompt of a row, given the mean success of its group so far.
            guides: Whether any row is guided; otherwise all are sampled at once.
        """
        batch, size = self.step_batch, self.num_generations
        ends = list(accumulate(self.controller.micro_groups(size))) if guides else [size]
        starts: list[Any] = [None] * len(batch.rows)
        sampled: list[Any] = [None] * len(batch.rows)
        graded_BF = torch.full((len(batch.rows), len(self.reward_funcs)), torch.nan, device=self.accelerator.device)
        part_of = [sum(self._rollout_index(i) >= end for end in ends) for i in range(len(batch.rows))]
        for part in range(len(ends)):
            places = [i for i, p in enumerate(part_of) if p == part or len(ends) == 1]
            so_far = graded_BF[:, self.primary_reward].view(-1, size).nanmean(1).tolist() if part else None
            mine = [begin(i, None if so_far is None else number(so_far[i // size])) for i in places]
            if self.args.guidance_place == "prompt":
                mine = self.hinted(mine, [batch.rows[i] for i in places])
            for i, start, (ids, logprobs) in zip(places, mine, self._continue(mine, images, fields, places), strict=True):
                starts[i] = start
                sampled[i] = ([], None if logprobs is None else []) if start.whole else (ids, logprobs)
            if len(ends) > 1:
                graded_BF[places] = self._graded(places, [[*starts[i].guidance_ids, *sampled[i][0]] for i in places])
        if len(ends) > 1:
            batch.graded_BF = graded_BF
        return starts, sampled

    def _graded(self, places: Sequence[int], completion_ids: list[list[int]]) -> torch.Tensor:
        """Rewards of some rows of this process, NaN where a reward function gave nothing."""
        rows = [self.step_batch.rows[i] for i in places]
        texts = self._tokenizer.batch_decode(completion_ids, skip_special_tokens=True)
        plain = isinstance(rows[0]["prompt"], str)
        completions = texts if plain else [[{"role": "assistant", "content": text}] for text in texts]
        rewards_NF = self._calculate_rewards(rows, [row["prompt"] for row in rows], completions, completion_ids)
        return self._of_this_process(rewards_NF, len(rows))

    def _calculate_rewards(self, inputs, prompts, completions, completion_ids_list):
        if self.model.training and self.step_batch.graded_BF is not None:
            return self.accelerator.gather(self.step_batch.graded_BF)
        return super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
