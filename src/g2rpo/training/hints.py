"""Guidance as a hint in the prompt: the question, then an instruction with part of its trace (`guidance_place: prompt`).

The answer is trained on the prompt that it was sampled from (POPE arXiv 2601.18779, Scaf-GRPO 2510.19807, GHPO 2507.10628), or on
the plain one (`guidance_reattach`, Guide 2506.13923), with the ratio of the two distributions as
`method.guidance_loss.reattached_advantages` shapes it.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from g2rpo.errors import ConfigError
from g2rpo.method.rollout import GuidedPrompt

HINT = "{hint}"
NEUTRAL = {"top_p": (None, 1.0), "top_k": (None, 0, -1), "min_p": (None, 0.0), "repetition_penalty": (None, 1.0)}
"""Settings that shape the sampling, and the values with which they do nothing."""


def check_hints(args: Any) -> None:
    """What hints in the prompt need of the other settings.

    Raises:
        ConfigError: names the setting that cannot be combined.
    """
    in_prompt = args.guidance_place == "prompt"
    if args.guidance_reattach and not in_prompt:
        raise ConfigError(
            "guidance_reattach",
            True,
            expected="false with guidance in the answer: there the prompt is the plain one already",
            then="Set guidance_place to prompt, or leave it out.",
        )
    if not in_prompt:
        return
    if HINT not in args.guidance_instruction:
        raise ConfigError(
            "guidance_instruction",
            args.guidance_instruction,
            expected=f"{HINT} in it",
            then="Write it where the hint is to stand.",
        )
    if args.guidance_loss != "mask":
        raise ConfigError(
            "guidance_loss",
            args.guidance_loss,
            expected="mask with guidance_place: prompt, which leaves no guidance tokens in the answer",
            then="Leave it out.",
        )
    if args.guidance_demonstrations == "member":
        raise ConfigError(
            "guidance_demonstrations",
            "member",
            expected="none or failed_groups with guidance_place: prompt",
            then="Set guidance_place to answer: a demonstration is an answer.",
        )
    if not args.guidance_reattach:
        return
    shaping = [name for name, neutral in NEUTRAL.items() if getattr(args, name) not in neutral]
    shaping += [name for name in ("generation_kwargs", "vllm_structured_outputs_regex") if getattr(args, name, None)]
    untold = [] if args.seeded_sampling or args.use_vllm else ["use_transformers_continuous_batching", "guidance_seeded_sampling"]
    if shaping or untold:
        raise ConfigError(
            "guidance_reattach",
            True,
            expected="seeded sampling or vLLM, from the whole distribution: its weights need the sampler's log-probabilities",
            then=f"Leave out {', '.join(shaping or untold)}, or guidance_reattach.",
        )
    if args.use_vllm:
        _check_reattached_to_an_engine(args)
    if name := args.one_advantage_per_row():
        raise ConfigError(
            name,
            getattr(args, name),
            expected="a value that lets each token have its own weight, as guidance_reattach gives it",
            then="Change it, or leave guidance_reattach out.",
        )


def _check_reattached_to_an_engine(args: Any) -> None:
    if args.vllm_importance_sampling_correction:
        raise ConfigError(
            "vllm_importance_sampling_correction",
            True,
            expected="false with guidance_reattach, whose ratio compares with the engine's probabilities already, after the hint",
            then="Set it to false.",
        )
    if args.vllm_mode == "server" and args.temperature != 1:
        raise ConfigError(
            "temperature",
            args.temperature,
            expected="1 with guidance_reattach and a vLLM server, which may tell log-probabilities before the temperature",
            then="Set it to 1, or vllm_mode to colocate.",
        )


def with_hint(prompt: list[dict[str, Any]], hint: str, instruction: str) -> list[dict[str, Any]]:
    """The conversation with the instruction, and the hint in it, after its last message."""
    *before, last = prompt
    return [*before, {**last, "content": f"{last['content']}\n\n{instruction.replace(HINT, hint.strip())}"}]


class HintsInPrompts:
    """Mixin in front of `FastUpdate`."""

    def hinted(self, starts: Sequence[GuidedPrompt], rows: Sequence[dict[str, Any]]) -> list[GuidedPrompt]:
        """The same rollouts with their guidance moved from the answer into the prompt; unguided ones as they are."""
        guided = [i for i, start in enumerate(starts) if start.guided]
        if not guided:
            return list(starts)
        texts = self._tokenizer.batch_decode([starts[i].guidance_ids for i in guided])
        instruction = self.args.guidance_instruction
        prompts = [with_hint(rows[i]["prompt"], text, instruction) for i, text in zip(guided, texts, strict=True)]
        result = list(starts)
        for i, ids in zip(guided, self._tokenize_prompts(prompts)[0], strict=True):
            start = starts[i]
            result[i] = replace(
                start,
                prompt_ids=tuple(ids),
                guidance_ids=(),
                hint_tokens=len(start.guidance_ids),
                plain_ids=start.prompt_ids if self.args.guidance_reattach else None,
            )
        return result

    def hinted_logprobs_kept(
        self, sampled: list[tuple[list[int], list[float] | None]]
    ) -> list[tuple[list[int], list[float] | None]]:
        """Keeps the sampler's log-probabilities of rows that are trained on the plain prompt, and hands on the ids alone."""
        batch = self.step_batch
        batch.hinted_logprobs = [
            None if start.plain_ids is None else logprobs
            for start, (_, logprobs) in zip(batch.guided_prompts, sampled, strict=True)
        ]
        return [(ids, None) for ids, _ in sampled]

    def _generate_and_score_completions(self, inputs):
        output = super()._generate_and_score_completions(inputs)
        if self.args.guidance_reattach and self.model.training:
            values = torch.full(output["completion_ids"].shape, torch.nan)
            for row, logprobs in zip(values, self.step_batch.hinted_logprobs, strict=True):
                if logprobs is not None:
                    row[: len(logprobs)] = torch.tensor([torch.nan if x is None else x for x in logprobs])
            output["hinted_logps"] = values.to(output["completion_ids"].device)
        return output
