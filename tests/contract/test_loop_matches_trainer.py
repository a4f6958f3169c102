"""`loop.py` is the method in one screen and `trainer.py` is what users run: same seed, same model, same numbers."""

import pytest
import torch
from transformers import GenerationConfig

from g2rpo import GuidedGRPOTrainer
from g2rpo.method.loop import guided_grpo

STEPS = 3


def length_reward(completions, **columns):
    return [float(len(c[0]["content"]) % 5) / 4 for c in completions]


class Outcomes:
    """Collects what the trainer hands its controller."""

    def __init__(self, controller):
        self.controller, self.steps, self.states = controller, [], []

    def __getattr__(self, name):
        return getattr(self.controller, name)

    def update(self, state, outcomes):
        self.steps.append(list(outcomes))
        self.states.append(self.controller.update(state, outcomes))
        return self.states[-1]


@pytest.mark.parametrize(
    "fields",
    [
        {"guidance_controller": "profile"},
        {
            "guidance_controller": "paper",
            "guidance_controller_kwargs": {"initial_length": 12, "max_length": 24},
            "guidance_loss": "policy_gradient",
            "guidance_advantages": "joint",
        },
        {"guidance_controller": "fixed", "guidance_controller_kwargs": {"length": 0.5}, "guidance_unit": "fraction"},
        {"guidance_controller": "adaptive_profile", "guidance_ratio": 1.0, "guidance_cut": "step"},
        {"guidance_controller": "uniform", "guidance_loss": "verified_sft"},
        {"guidance_controller": "uniform", "guidance_loss": "luffy", "guidance_advantages": "joint"},
        {"guidance_controller": "window", "guidance_loss": "top_entropy", "guidance_advantages": "unguided_baseline"},
        {"guidance_controller": "cosine_binomial", "guidance_loss": "sft", "guidance_loss_coefficient": 0.2},
        {
            "guidance_controller": "ladder",
            "guidance_loss": "trust_region_sft",
            "guidance_advantages": "leave_one_out",
            "guidance_controller_kwargs": {"levels": [0.3, 0.6]},
        },
    ],
    ids=["profile", "paper", "fixed", "adaptive", "verified_sft", "luffy", "top_entropy", "sft", "trust_region_sft"],
)
def test_the_loop_and_the_trainer_agree(make_model, tokenizer, rows, config, fields):
    data = rows(2 * STEPS)
    args = config(
        max_steps=STEPS,
        shuffle_dataset=False,
        lr_scheduler_type="constant",
        weight_decay=0.0,
        temperature=0.9,
        seed=5,
        learning_rate=1e-4,
        **fields,
    )
    trainer = GuidedGRPOTrainer(make_model(), [length_reward], args, data, processing_class=tokenizer)
    trainer.controller = spy = Outcomes(trainer.controller)
    trainer.train()
    losses = [r["loss"] for r in trainer.state.log_history if "loss" in r]

    trainer.planner.traces.clear()
    steps = list(
        guided_grpo(
            make_model(),
            trainer.planner,
            [[data[2 * s], data[2 * s + 1]] for s in range(STEPS)],
            length_reward,
            GenerationConfig(temperature=0.9, do_sample=True),
            learning_rate=args.learning_rate,
            grouping=args.guidance_advantages,
            guidance_loss=args.guidance_loss,
            constant=args.guidance_loss_coefficient,
        )
    )
    assert [state for _, _, state in steps] == spy.states
    assert any(o.guided for _, outcomes, _ in steps for o in outcomes)
    for (own_loss, outcomes, _), theirs, loss in zip(steps, spy.steps, losses, strict=True):
        for a, b in zip(outcomes, theirs, strict=True):
            assert (a.key, a.rollout_index, a.guidance_tokens, a.sampled_tokens, a.success) == (
                b.key,
                b.rollout_index,
                b.guidance_tokens,
                b.sampled_tokens,
                b.success,
            )
            assert a.advantage == pytest.approx(b.advantage, abs=1e-5)
        assert own_loss == pytest.approx(loss, abs=1e-6)
    assert any(abs(own_loss) > 1e-4 for own_loss, _, _ in steps)


def test_the_trainer_scores_tokens_as_the_sampler_drew_them(make_model, tokenizer, rows, config):
    """Log-probabilities of sampled tokens under the training forward equal those under generation, within 1e-5 in float32."""
    from g2rpo.sampling.sample import sample_rows

    args = config(guidance_controller="fixed", guidance_controller_kwargs={"length": 10}, temperature=0.8)
    trainer = GuidedGRPOTrainer(make_model(), [length_reward], args, rows(4, steps=4), processing_class=tokenizer)
    planner, model = trainer.planner, trainer.model
    starts = []
    for row in trainer.train_dataset:
        ids = trainer._tokenize_prompts([row["prompt"]])[0][0]
        starts += [planner.guided_prompt(row, ids, member, trainer.controller_state, 0, 2) for member in range(4)]
    sampled = sample_rows(
        model,
        [s.prompt_ids + s.guidance_ids for s in starts],
        [30 - len(s.guidance_ids) for s in starts],
        GenerationConfig(temperature=0.8, do_sample=True),
        eos_ids=trainer.eos_token_ids,
        pad_id=tokenizer.pad_token_id,
        seeds=list(range(len(starts))),
    )
    assert {s.guided for s in starts} == {True, False}
    for start, row in zip(starts, sampled, strict=True):
        ids = torch.tensor([[*start.prompt_ids, *start.guidance_ids, *row.ids]])
        logps, _, _ = trainer._get_per_token_logps_and_entropies(model, ids, torch.ones_like(ids), len(row.ids))
        torch.testing.assert_close(logps[0], torch.tensor(row.logprobs), atol=1e-5, rtol=0)
