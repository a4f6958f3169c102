"""The vLLM path without vLLM: an engine that answers like one, put where TRL keeps it. What it is asked, and what is made of its answers."""

import pytest
import torch

from g2rpo import GuidedGRPOTrainer


def length_reward(completions, **columns):
    return [float(len(c[0]["content"]) % 5) / 4 for c in completions]


class Engine:
    """Answers every prompt with the same number of tokens, as an engine does that knows nothing of guidance budgets."""

    def __init__(self, length: int) -> None:
        self.length, self.asked, self.synced = length, [], 0

    def sync_weights(self) -> None:
        self.synced += 1

    def generate(self, prompts, images, num_generations, profiler=None):
        self.asked.append((prompts, num_generations))
        ids = [[10 + (i + t) % 300 for t in range(self.length)] for i in range(len(prompts))]
        return prompts, ids, [[[-1.0] for _ in row] for row in ids], None


@pytest.mark.parametrize("reuse", [False, True], ids=["computed again", "the engine's"])
@pytest.mark.parametrize("guidance_loss", ["mask", "verified_sft", "policy_gradient", "luffy"])
def test_an_engine_continues_each_row_from_its_own_prefix(make_model, tokenizer, rows, config, guidance_loss, reuse):
    args = config(guidance_controller="fixed", guidance_controller_kwargs={"length": 12}, guidance_loss=guidance_loss, max_steps=1,
                  vllm_importance_sampling_mode="token_truncate", reuse_sampler_logprobs=reuse)  # fmt: skip
    trainer = GuidedGRPOTrainer(make_model(), [length_reward], args, rows(8), processing_class=tokenizer)
    engine = Engine(length=args.max_completion_length)
    args.use_vllm = trainer.use_vllm = True
    trainer.vllm_generation, trainer._last_loaded_step = engine, -1
    kept = {}
    regroup, generate = trainer._advantages, trainer._round
    closed = {}
    trainer._advantages = lambda output, *args: kept.update(output) or regroup(output, *args)

    def watched(rows, number):
        scored = generate(rows, number)
        closed.update(scored.output)
        return scored

    trainer._round = watched
    trainer.train()

    assert engine.synced == 1
    [(prompts, num_generations)] = engine.asked
    assert num_generations == 1  # in server mode anything else gives a whole group the first row's prefix
    assert len({tuple(p) for p in prompts}) == 4  # two problems, each with and without its prefix
    lengths = kept["completion_mask"].sum(1)
    assert (lengths == args.max_completion_length).all()  # guidance counts: what the engine said too much is cut
    guidance = torch.zeros_like(kept["completion_mask"])
    for i in range(len(prompts)):
        guidance[i, : 12 if i % 4 < 2 else 0] = 1
    ratio = kept["importance_sampling_ratio"]
    if guidance_loss == "mask":
        assert torch.equal(kept["tool_mask"], 1 - guidance)
    elif guidance_loss == "verified_sft":
        arrived = closed["verified"][:, None] > 0
        assert torch.equal(closed["tool_mask"], 1 - guidance * ~arrived)
        assert closed["num_items_in_batch"] == closed["tool_mask"].sum()
    else:
        assert "tool_mask" not in kept
    assert (ratio[guidance.bool()] == 1).all()  # guidance was not sampled: there is nothing to correct
    assert torch.isfinite(ratio).all()
    if reuse:
        assert (kept["old_per_token_logps"][(1 - guidance).bool()] == -1).all()  # what the engine said
        assert (ratio == 1).all()
    assert trainer.state.global_step == 1
