"""Batches as TRL's generation returns them, and one update from them with and without the update optimizations."""

import copy

import pytest
import torch
from trl import GRPOTrainer

from g2rpo.training.fast.optimizations import Optimizations, optimizations
from g2rpo.training.fast.update import FastUpdate

SEQUENCE = {"importance_sampling_level": "sequence"}
LOSSES = {
    "grpo": {"loss_type": "grpo"},
    "dr_grpo": {"loss_type": "dr_grpo"},
    "dapo": {"loss_type": "dapo"},
    "cispo": {"loss_type": "cispo", "epsilon_high": 1.2},
    "sapo": {"loss_type": "sapo"},
    "vespo": {"loss_type": "vespo"},
    "gspo": {"loss_type": "grpo", **SEQUENCE},
    "luspo": {"loss_type": "luspo", **SEQUENCE},
    "bnpo": {"loss_type": "bnpo"},
    "two_sided": {"loss_type": "dapo", "delta": 1.3},
    "off_policy_mask": {"loss_type": "grpo", "off_policy_mask_threshold": 0.05},
    "kl": {"loss_type": "dapo", "beta": 0.1},
    "kl_grpo": {"loss_type": "grpo", "beta": 0.1},
    "temperature": {"loss_type": "dapo", "temperature": 0.7},
    "entropy_bonus": {"loss_type": "dapo", "entropy_coef": 0.1},
    "entropy_quantile": {"loss_type": "dapo", "top_entropy_quantile": 0.5},
}


def reward(completions, **columns):
    return [0.0] * len(completions)


def rollouts(trainer, rows=8, dead=(1, 2, 3, 6), truncated=(), masked=True, old=True, seed=0, groups=None, prompt=12):
    """What TRL's generation returns: ragged prompts and completions, some rows without advantage, guidance masked on some."""
    draw = torch.Generator().manual_seed(seed)
    prompts = torch.randint(prompt // 4, prompt, (groups or rows,), generator=draw).repeat_interleave(rows // (groups or rows))
    completions = torch.randint(4, 30, (rows,), generator=draw)
    width_p, width_c = int(prompts.max()) + 2, int(completions.max()) + 3  # padding that every row shares, as after a split
    prompt_mask = (torch.arange(width_p) >= width_p - prompts[:, None]).long()
    completion_mask = (torch.arange(width_c) < completions[:, None]).long()
    ids = lambda mask: torch.randint(8, trainer.model.config.vocab_size, mask.shape, generator=draw) * mask  # noqa: E731
    advantages = torch.randn(rows, generator=draw)
    advantages[list(dead)] = 0.0
    batch = {
        "prompt_ids": ids(prompt_mask),
        "prompt_mask": prompt_mask,
        "completion_ids": ids(completion_mask),
        "completion_mask": completion_mask,
        "advantages": advantages,
    }
    completion_mask[list(truncated)] = 0
    if groups:
        batch["prompt_ids"] = batch["prompt_ids"][:: rows // groups].repeat_interleave(rows // groups, 0)
        batch["completion_ids"][:, :3] = 9  # the same guidance for all
    if masked:
        batch["tool_mask"] = (torch.arange(width_c) >= torch.randint(0, 4, (rows, 1), generator=draw)).long()
        if groups:
            batch["tool_mask"] = (torch.arange(width_c) >= torch.tensor([0, 3]).repeat(rows // 2)[:, None]).long()
        batch["tool_mask"][0, int(completions[0]) - 2 :] = 0  # a masked end, as after a tool's last answer
    batch["num_items_in_batch"] = (completion_mask * batch.get("tool_mask", 1)).sum()
    with torch.no_grad():
        trainer.optimizations = Optimizations(False, False, False)
        joined = (torch.cat([prompt_mask, completion_mask], 1), width_c)
        now, _, _ = trainer._get_per_token_logps_and_entropies(
            trainer.model, torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1), *joined
        )
    if old:
        batch["old_per_token_logps"] = now + 0.3 * torch.randn(now.shape, generator=draw)
    if trainer.beta:
        batch["ref_per_token_logps"] = now + 0.3 * torch.randn(now.shape, generator=draw)
    return batch


def update(trainer, batch, chosen, monkeypatch):
    """Loss, gradients and metrics of one pass over a generation batch."""
    monkeypatch.setattr(GRPOTrainer, "_generate_and_score_completions", lambda self, inputs: copy.deepcopy(batch))
    monkeypatch.setattr(
        trainer, "_generate_and_score_completions", lambda inputs: FastUpdate._generate_and_score_completions(trainer, inputs)
    )
    trainer.optimizations, trainer._buffered_inputs, trainer._step = chosen, None, 0
    trainer.current_gradient_accumulation_steps = trainer.args.gradient_accumulation_steps
    trainer.accelerator.gradient_state._set_sync_gradients(True)
    trainer.model.train()
    trainer.model.zero_grad()
    trainer._metrics["train"].clear()
    torch.manual_seed(0)
    total = 0.0
    for _ in range(trainer.args.steps_per_generation):
        loss = trainer.compute_loss(trainer.model, trainer._prepare_inputs([]))
        loss.backward()
        trainer._step += 1
        total += loss.item()
    grads = torch.cat([p.grad.flatten() for p in trainer.model.parameters() if p.requires_grad])
    return total, grads, {name: sum(values) / len(values) for name, values in trainer._metrics["train"].items()}


def both(trainer, monkeypatch, chosen=None, **kwargs):
    batch = rollouts(trainer, **kwargs)
    plain = update(trainer, batch, Optimizations(False, False, False), monkeypatch)
    fast = update(trainer, batch, chosen or optimizations(trainer), monkeypatch)
    assert plain[1].norm() > 0
    assert (fast[1] - plain[1]).norm() / plain[1].norm() < 1e-5
    assert fast[0] == pytest.approx(plain[0], rel=1e-5, abs=1e-6)
    return plain, fast


def unusual(kind, make_model, tokenizer):
    """Soft caps and sliding windows (Gemma 2), scaled logits (Granite), adapters, heads of their own."""
    import transformers

    sizes = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "intermediate_size": 64,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    torch.manual_seed(0)
    if kind == "gemma2":
        return transformers.Gemma2ForCausalLM(
            transformers.Gemma2Config(
                **sizes, sliding_window=8, final_logit_softcapping=5.0, query_pre_attn_scalar=16, initializer_range=0.2
            )
        )
    if kind == "granite":
        return transformers.GraniteForCausalLM(transformers.GraniteConfig(**sizes, logits_scaling=4.0))
    if kind == "peft":
        from peft import LoraConfig, get_peft_model

        return get_peft_model(
            make_model("qwen3", initializer_range=0.2),
            LoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj", "up_proj"], init_lora_weights=False),
        )
    return make_model("qwen3" if kind == "untied" else kind, initializer_range=0.2, tie_word_embeddings=kind != "untied")
