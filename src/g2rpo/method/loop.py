"""G2RPO-A in one screen: for reading, row by row, from the parts the trainer uses; `python -m g2rpo.method.loop` runs it.

Deviations from the paper (arXiv 2508.13023): the loss is a mean over the trained tokens of the batch (DAPO, TRL's default), the
paper averages per rollout; no KL term, the released recipe has 0.04. The published method is the controller `paper`, the guidance
loss `policy_gradient`, the grouping `joint`. A contract test holds this loop to `GuidedGRPOTrainer`.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from transformers import GenerationConfig

from g2rpo.method.advantages import Grouping, group_advantages
from g2rpo.method.guidance_loss import GUIDANCE_LOSSES, loss_mask, token_advantages, verified
from g2rpo.method.planner import Planner
from g2rpo.method.rollout import Outcome
from g2rpo.sampling.sample import sample_rows
from g2rpo.seeds import seed_of


def guided_grpo(
    model: Any, planner: Planner, batches: Sequence[Sequence[dict[str, Any]]], reward: Callable[..., list[float]],
    sampling: GenerationConfig, *, learning_rate: float = 1e-6, grouping: Grouping = "stratified",
    guidance_loss: str = "verified_sft", constant: float | None = None,
) -> Iterator[tuple[float, list[Outcome], Any]]:  # fmt: skip
    """One optimizer step per batch of rows (prompt, answer, trace), on-policy; yields loss, outcomes and controller state."""
    tokenizer, controller, loss_on_guidance = planner.tokenizer, planner.controller, GUIDANCE_LOSSES[guidance_loss]
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.0)
    state = controller.initial()
    for step, rows in enumerate(batches):
        # 1. Each rollout starts from the prompt and, where guided, the first l tokens of the trace; the controller decides l.
        starts = []
        for row in rows:
            ids: Any = tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True, return_dict=False)
            starts += [planner.guided_prompt(row, ids, i, state, step, len(batches)) for i in range(planner.group_size)]
        # 2. The model continues. Guidance counts in the completion budget.
        prompts = [s.prompt_ids + s.guidance_ids for s in starts]
        budgets = [planner.budget - len(s.guidance_ids) for s in starts]
        seeds = [
            seed_of(planner.seed, "sample", "train", step, s.key, s.rollout_index, i // planner.group_size)
            for i, s in enumerate(starts)
        ]
        ends = {"eos_ids": [tokenizer.eos_token_id], "pad_id": tokenizer.pad_token_id}
        sampled = [row.ids for row in sample_rows(model, prompts, budgets, sampling, seeds=seeds, **ends)]
        # 3. The reward judges the whole completion, guidance included; advantages compare rollouts of a group.
        completions = [[*s.guidance_ids, *ids] for s, ids in zip(starts, sampled, strict=True)]
        texts = [[{"role": "assistant", "content": t}] for t in tokenizer.batch_decode(completions, skip_special_tokens=True)]
        columns = {c: [r[c] for r in rows for _ in range(planner.group_size)] for c in rows[0]}
        rewards_B = torch.tensor(reward(completions=texts, **columns), dtype=torch.float32)
        guided_B = torch.tensor([s.guided for s in starts])
        advantages_B = group_advantages(rewards_B, guided_B, planner.group_size, grouping)
        verified_B = verified(advantages_B, rewards_B)
        # 4. Policy gradient: - sum m rho A / sum m, rho = pi / stop_gradient(pi); guidance tokens as the guidance loss says.
        total, trained = torch.zeros(()), 0
        for s, ids, drawn, a, v in zip(starts, completions, sampled, advantages_B, verified_B, strict=True):
            logits_CV = model(torch.tensor([[*s.prompt_ids, *ids]])).logits[0, len(s.prompt_ids) - 1 : -1] / sampling.temperature
            logps_CV = torch.log_softmax(logits_CV, -1)
            logps_C, entropies_C = logps_CV.gather(1, torch.tensor(ids)[:, None])[:, 0], -(logps_CV.exp() * logps_CV).sum(-1)
            given_1 = torch.tensor([len(s.guidance_ids)])
            [a_C] = token_advantages(a[None], given_1, logps_C[None], entropies_C[None], loss_on_guidance, constant, v[None])
            mask = loss_mask(len(s.guidance_ids), len(drawn), loss_on_guidance, v.item())
            total = total - (torch.exp(logps_C - logps_C.detach()) * a_C * torch.tensor(mask)).sum()
            trained += sum(mask)
        optimizer.zero_grad()
        (loss := total / trained).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        # 5. The controller takes in what came of it, and returns its next state.
        facts = zip(starts, sampled, rewards_B.tolist(), advantages_B.tolist(), strict=True)
        outcomes = [Outcome.of(s, len(ids), success=r, reward=r, advantage=a) for s, ids, r, a in facts]
        state = controller.update(state, outcomes)
        yield loss.item(), outcomes, state


if __name__ == "__main__":
    from g2rpo.method.loop_example import builtin_run, summary

    for number, (_, rollouts, _) in enumerate(guided_grpo(*builtin_run(), learning_rate=2e-4)):
        print(summary(number, rollouts))
