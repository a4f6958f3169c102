"""G2RPO-A, the whole method in one screen: for reading, on one device, from the same parts that the trainer stands on.

A contract test holds it to `GuidedGRPOTrainer`: same seed, same model, same losses, advantages and controller states.

Words: a group is the G rollouts of one problem; a share alpha of them is guided, that is, starts from the first l tokens of the
problem's trace. The controller decides l: `planner.start` asks it, `controller.update` tells it what came of it
(`guidance/controllers/` has one rule per file).

The published method (arXiv 2508.13023) is the controller `paper`, `guidance_loss="policy_gradient"` and `grouping="joint"`.
Deviations: the loss is normalised by the number of trained tokens in the batch (DAPO, TRL's default), where the paper averages per
rollout, and there is no KL term, where the released recipe has 0.04.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedModel

from g2rpo.method.advantages import Grouping, group_advantages
from g2rpo.method.guidance_loss import COEFFICIENTS, GuidanceLoss, loss_mask, token_advantages, verified
from g2rpo.sampling.sample import sample_rows
from g2rpo.method.planner import Planner
from g2rpo.seeds import seed_of
from g2rpo.method.rollout import Outcome


@dataclass(frozen=True)
class LoopStep:
    """What one step gave: the loss, the outcomes of its rollouts in group order, and the controller's next state."""

    loss: float
    outcomes: list[Outcome]
    state: Any


def guided_grpo(
    model: PreTrainedModel,
    planner: Planner,
    batches: Sequence[Sequence[dict[str, Any]]],
    reward: Callable[..., list[float]],
    sampling: GenerationConfig,
    *,
    learning_rate: float = 1e-6,
    grouping: Grouping = "stratified",
    guidance_loss: GuidanceLoss = "verified_sft",
    guidance_loss_coefficient: float | None = None,
    max_grad_norm: float = 1.0,
) -> Iterator[LoopStep]:
    """One optimizer step per batch of rows (columns as for the trainer: prompt, answer, trace); strictly on-policy."""
    tokenizer, controller, group_size = planner.tokenizer, planner.controller, planner.group_size
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.0)
    state = controller.initial()
    for step, rows in enumerate(batches):
        # 1. Every member of every group starts from its prompt and, if guided, from the first l tokens of the trace.
        starts = []
        for row in rows:
            prompt_ids = tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True, return_dict=False)
            starts += [planner.start(row, prompt_ids, member, state, step, len(batches)) for member in range(group_size)]
        # 2. The model goes on from there. Guidance counts in the completion budget.
        sampled = sample_rows(
            model,
            [s.prompt_ids + s.guidance_ids for s in starts],
            [planner.budget - len(s.guidance_ids) for s in starts],
            sampling,
            eos_ids=[tokenizer.eos_token_id],
            pad_id=tokenizer.pad_token_id,
            seeds=[
                seed_of(planner.seed, "sample", "train", step, s.key, s.member, i // group_size) for i, s in enumerate(starts)
            ],
        )
        # 3. Rewards are given for the whole completion, guidance included; advantages compare members of a group.
        completions = [list(s.guidance_ids) + row.ids for s, row in zip(starts, sampled, strict=True)]
        texts = [[{"role": "assistant", "content": t}] for t in tokenizer.batch_decode(completions, skip_special_tokens=True)]
        rewards = reward(completions=texts, **{c: [r[c] for r in rows for _ in range(group_size)] for c in rows[0]})
        guided = torch.tensor([s.guided for s in starts])
        advantages = group_advantages(torch.tensor(rewards, dtype=torch.float32), guided, group_size, grouping)
        # 4. Policy gradient on the sampled tokens (and on the guidance, if asked), token mean over the batch.
        optimizer.zero_grad()
        arrived = verified(advantages, torch.tensor(rewards, dtype=torch.float32))
        masks = [
            loss_mask(len(s.guidance_ids), len(row.ids), guidance_loss, v)
            for s, row, v in zip(starts, sampled, arrived.tolist(), strict=True)
        ]
        weights = (guidance_loss, guidance_loss_coefficient or COEFFICIENTS.get(guidance_loss))
        loss = policy_loss(model, starts, completions, masks, advantages, arrived, sampling.temperature, weights)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), max_grad_norm)
        optimizer.step()
        # 5. The controller sees what came of it.
        outcomes = [
            Outcome(s.key, s.member, s.guided, len(s.guidance_ids), s.fraction, len(row.ids), r, r, a)
            for s, row, r, a in zip(starts, sampled, rewards, advantages.tolist(), strict=True)
        ]
        state = controller.update(state, outcomes)
        yield LoopStep(loss.item(), outcomes, state)


def policy_loss(
    model, starts, completions, masks, advantages_B, verified_B, temperature: float, weights=("mask", None)
) -> torch.Tensor:
    """- sum_{i,t} m_it rho_it A_it / sum_{i,t} m_it, with rho = pi / stop_gradient(pi): one update per batch, so rho is 1.

    A_it is the row's advantage, but for guidance tokens under the losses that weigh each of them by itself.
    """
    total = torch.zeros(())
    for start, completion, mask, advantage, arrived in zip(starts, completions, masks, advantages_B, verified_B, strict=True):
        ids = torch.tensor([[*start.prompt_ids, *completion]])  # row by row: no padding to think about
        logits_CV = model(ids).logits[0, len(start.prompt_ids) - 1 : -1] / temperature
        logp_CV = torch.log_softmax(logits_CV, -1)
        logp_C = logp_CV.gather(1, torch.tensor(completion)[:, None])[:, 0]
        if weights[0] in COEFFICIENTS:
            entropy_C, given = -(logp_CV.exp() * logp_CV).sum(-1), torch.tensor([len(start.guidance_ids)])
            advantage = token_advantages(advantage[None], given, logp_C[None], entropy_C[None], *weights, arrived[None])[0]
        ratio_C = torch.exp(logp_C - logp_C.detach())
        total = total - (ratio_C * advantage * torch.tensor(mask)).sum()
    return total / sum(map(sum, masks))
