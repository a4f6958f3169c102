"""The sampler's log-probabilities as those of the old policy, where the user allows it (`reuse_sampler_logprobs`).

TRL computes log pi_old once more by a forward pass over the whole batch: where a batch feeds several updates, and always under
vLLM, to correct what the engine computes differently (pi_old / pi_sampler). Taken from the sampler, the ratio of the loss is

    pi_theta(token) / pi_sampler(token),

clipped as ever, so that it bounds the distance from the policy that really drew the token; the correction becomes 1. Guidance
that is learned from was not drawn: it is scored by the model, and nothing beyond it goes through.
"""

from typing import Any

import torch


class ReusesSamplerLogProbs:
    """Mixin in front of `FastUpdate`."""

    def _generate(self, prompts: list) -> tuple:
        generated = super()._generate(prompts)
        generate_every = self.args.steps_per_generation * self.num_iterations
        # As TRL decides; elsewhere the next call would be for the reference policy.
        asked_for = self.args.gradient_accumulation_steps % generate_every != 0 or (
            self.use_vllm and self.vllm_importance_sampling_correction
        )
        if self.args.reuse_sampler_logprobs and asked_for and self.model.training:
            self.step_batch.sampler_logprobs = generated[4]
        return generated

    def _get_per_token_logps_and_entropies(self, model, input_ids, attention_mask, logits_to_keep, *args: Any, **kwargs: Any):
        rows, self.step_batch.sampler_logprobs = self.step_batch.sampler_logprobs, None
        if rows is None:
            return super()._get_per_token_logps_and_entropies(model, input_ids, attention_mask, logits_to_keep, *args, **kwargs)
        drawn = torch.zeros(len(rows), logits_to_keep)
        for row, values in zip(drawn, rows, strict=True):
            row[: len(values)] = torch.tensor([torch.nan if v is None else v for v in values])
        drawn = drawn.to(input_ids.device)
        unknown = drawn.isnan()
        # All processes go forward together, or none: the model may be sharded.
        if self.accelerator.gather(unknown.any()[None]).any():
            if self.optimizations.compact:
                scored, *_ = self.score(model, input_ids, attention_mask, unknown, kwargs.get("batch_size"))
            else:
                scored, *_ = super()._get_per_token_logps_and_entropies(
                    model, input_ids, attention_mask, logits_to_keep, *args, **kwargs
                )
            drawn = torch.where(unknown, scored, drawn)
        return drawn, None, None
