"""Defaults of TRL that the presets rely on. When an upgrade of TRL moves one, this fails: pin the old value in `config.py` or a
preset."""

import dataclasses

import pytest
import torch
from trl import GRPOConfig

from g2rpo import GuidedGRPOConfig, GuidedGRPOTrainer
from g2rpo.training.presets import PRESETS, preset

RELIED_ON = {
    "num_generations": 8,
    "max_completion_length": 512,
    "temperature": 1.0,
    "top_p": 1.0,
    "top_k": 0,
    "min_p": None,
    "repetition_penalty": 1.0,
    "generation_kwargs": None,
    "beta": 0.0,
    "num_iterations": 1,
    "epsilon": 0.2,
    "delta": None,
    "epsilon_high": None,
    "importance_sampling_level": "token",
    "reward_weights": None,
    "multi_objective_aggregation": "sum_then_normalize",
    "scale_rewards": "group",
    "loss_type": "dapo",
    "mask_truncated_completions": False,
    "sync_ref_model": False,
    "top_entropy_quantile": 1.0,
    "entropy_coef": 0.0,
    "use_adaptive_entropy": False,
    "off_policy_mask_threshold": None,
    "use_bias_correction_kl": True,
    "vllm_importance_sampling_correction": True,
    "vllm_importance_sampling_mode": "sequence_mask",
    "vllm_importance_sampling_clip_max": 3.0,
    "vllm_importance_sampling_clip_min": None,
    "shuffle_dataset": True,
    "disable_dropout": False,
    "learning_rate": 1e-6,
}


def test_the_defaults_of_trl_are_those_that_the_presets_rely_on():
    fields = {f.name: f.default for f in dataclasses.fields(GRPOConfig)}
    assert {name: fields[name] for name in RELIED_ON} == RELIED_ON


@pytest.mark.parametrize("name", [n for n, fields in PRESETS.items() if fields.get("beta")])
def test_presets_with_a_kl_term_do_not_weigh_it_by_the_ratio(name, tmp_path):
    assert GuidedGRPOConfig(str(tmp_path), use_cpu=True, bf16=False, **preset(name)).use_bias_correction_kl is False


def test_the_gradient_of_the_kl_term_is_that_of_the_paper(make_model, tokenizer, rows, config, tmp_path):
    """beta KL with KL_t = exp(d) - d - 1, d = log ref - log pi, has the gradient beta (1 - exp(d)) grad log pi: by hand, row by
    row."""
    make_model(seed=3).save_pretrained(tmp_path / "ref")
    model = make_model(seed=0)
    model.config._name_or_path = str(tmp_path / "ref")  # where the reference model is loaded from
    args = config(
        **preset("g2rpo-a-paper"), guidance_controller_kwargs={"initial_length": 4, "max_length": 8}, max_steps=1, fast=False
    )
    trainer = GuidedGRPOTrainer(
        model, [lambda completions, **_: [0.0] * len(completions)], args, rows(4), processing_class=tokenizer
    )
    batches, compute = [], trainer._compute_loss
    trainer._compute_loss = lambda model, inputs: batches.append(dict(inputs)) or compute(model, inputs)
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    trainer.train()
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(start[name])
    model.zero_grad()
    trainer._compute_loss(model, batch := batches[0]).backward()  # rewards are equal: the KL term alone
    got = torch.cat([p.grad.flatten() for p in model.parameters()])

    def logps(policy, i):
        prompt = batch["prompt_ids"][i][batch["prompt_mask"][i].bool()]
        completion = batch["completion_ids"][i][batch["completion_mask"][i].bool()]
        scores = policy(torch.cat([prompt, completion])[None]).logits[0, len(prompt) - 1 : -1] / args.temperature
        return torch.log_softmax(scores, -1).gather(1, completion[:, None])[:, 0]

    model.zero_grad()
    rows_B = len(batch["completion_ids"])
    for i in range(rows_B):
        own = logps(model, i)
        d = logps(trainer.ref_model, i).detach() - own.detach()
        (0.04 * ((1 - d.exp()) * own).mean() / rows_B).backward()
    wanted = torch.cat([p.grad.flatten() for p in model.parameters()])
    torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-7)
