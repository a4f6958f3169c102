"""Advantages of single tokens: of guidance, and of answers that are trained on another prompt than they were sampled from."""

from typing import Any

import torch

from g2rpo.method.guidance_loss import reattached_advantages, token_advantages, verified
from g2rpo.training.step_batch import StepBatch


class WeighsGuidance:
    """Mixin in front of `FastUpdate`."""

    def weigh_guidance(self, output: dict[str, Any], batch: StepBatch) -> None:
        """Gives the loss what it needs to know of guidance tokens: how many there are, and which of them are verified."""
        loss = self.args.loss_on_guidance
        if loss.weigh is None:
            return
        output["guidance_tokens"] = tokens_B = torch.tensor(
            [len(p.guidance_ids) for p in batch.guided_prompts], device=output["advantages"].device
        )
        if not loss.only_verified:
            return
        success_B = self._of_this_process(batch.rewards_NF[:, self.primary_reward], len(tokens_B))
        output["verified"] = verified_B = verified(output["advantages"], success_B)
        if "tool_mask" not in output:
            return  # nothing is given yet: demonstrations come later
        position_T = torch.arange(output["tool_mask"].shape[1], device=tokens_B.device)
        left_out_BT = (verified_B == 0)[:, None] & (position_T < tokens_B[:, None])
        output["tool_mask"] = output["tool_mask"].masked_fill(left_out_BT, 0)
        self.forget_masked(output)
        output["num_items_in_batch"] = self.tokens_in_loss(output)

    def _get_per_token_logps_and_entropies(self, *args, **kwargs):
        scores = super()._get_per_token_logps_and_entropies(*args, **kwargs)
        inputs = self.in_loss
        if inputs is not None and "guidance_tokens" in inputs:
            # Between the scores and the loss: TRL reads the advantages after this call, and takes them per token.
            logps_BT, entropies_BT, *_ = scores
            inputs["advantages"] = token_advantages(
                inputs["advantages"],
                inputs["guidance_tokens"],
                logps_BT,
                entropies_BT,
                self.args.loss_on_guidance,
                self.args.guidance_loss_coefficient,
                inputs.get("verified"),
            )
        if inputs is not None and "hinted_logps" in inputs:
            inputs["advantages"] = reattached_advantages(inputs["advantages"], scores[0], inputs["hinted_logps"])
        return scores
