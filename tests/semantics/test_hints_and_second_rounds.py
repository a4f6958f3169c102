"""Hints in the prompt, answers trained on the plain prompt, a second round for failed groups, imitation of failed groups."""

import math

import pytest
import torch

from g2rpo import GuidedGRPOTrainer
from g2rpo.errors import ConfigError
from g2rpo.method.guidance_loss import reattached_advantages
from g2rpo.method.rollout import Outcome
from g2rpo.training.presets import preset
from g2rpo.training.second_round import failed_groups, replacements


def never(completions, **columns):
    return [0.0] * len(completions)


class Scripted:
    """Zero in the first call of each step; then what is given, by rollout index in the group."""

    __name__ = "scripted"

    def __init__(self, *second):
        self.second, self.calls = second, 0

    def __call__(self, completions, **columns):
        self.calls += 1
        first = self.calls % 2 == 1
        return [0.0 if first else self.second[i % len(self.second)] for i in range(len(completions))]


@pytest.fixture
def train(make_model, tokenizer, rows, config):
    def run(reward=never, **fields):
        args = config(**{"max_completion_length": 96, "max_steps": 1, "fast": False, "shuffle_dataset": False, **fields})
        trainer = GuidedGRPOTrainer(make_model(), [reward], args, rows(12), processing_class=tokenizer)
        trainer.batches, trainer.starts = [], []
        generate, go_on = trainer._generate_and_score_completions, trainer._continue

        def generated(inputs):
            trainer.batches.append(generate(inputs))
            return trainer.batches[-1]

        def watched(starts, *more):
            trainer.starts.append(list(starts))
            return go_on(starts, *more)

        trainer._generate_and_score_completions, trainer._continue = generated, watched
        trainer.train()
        return trainer

    return run


def gradient(model):
    return torch.cat([p.grad.flatten() for p in model.parameters()])


def logps(model, prompt, completion):
    found = torch.log_softmax(model(torch.cat([prompt, completion])[None]).logits[0, len(prompt) - 1 : -1], -1)
    return found.gather(1, completion[:, None])[:, 0]


def row(batch, i):
    return tuple(batch[f"{part}_ids"][i][batch[f"{part}_mask"][i].bool()] for part in ("prompt", "completion"))


# --- hints


def test_a_hint_stands_in_the_prompt_and_its_answer_is_trained_there(train, tokenizer):
    fields = {"guidance_controller": "fixed", "guidance_controller_kwargs": {"length": 0.5}, "guidance_unit": "fraction"}
    trainer = train(guidance_place="prompt", guidance_ratio=0.5, guidance_advantages="joint", **fields)
    [starts] = trainer.starts
    [batch] = trainer.batches
    data = {r["key"]: r for r in trainer.train_dataset}
    for i, start in enumerate(starts):
        prompt, _ = row(batch, i)
        text, question = tokenizer.decode(prompt), data[start.key]["prompt"][-1]["content"]
        assert start.guided == (start.rollout_index < 2)
        assert prompt.tolist() == list(start.prompt_ids)
        assert start.guidance_ids == ()
        assert question in text
        assert "think" not in text
        if start.guided:
            shown = text.partition("correct solution:\n\n")[2].partition("\n\nSolve")[0]
            assert shown
            assert data[start.key]["trace"].startswith(shown)
            assert 0.3 < start.fraction <= 0.5
        else:
            assert "correct solution" not in text
    assert trainer._totals["tokens/guidance_total"] == sum(s.hint_tokens for s in starts) > 0


def test_settings_that_hints_cannot_have_are_refused(config):
    hinted = {"guidance_place": "prompt", "guidance_advantages": "joint"}
    assert config(**hinted).guidance_loss == "mask"
    for wrong, said in (
        ({"guidance_loss": "sft"}, "leaves no guidance tokens"),
        ({"guidance_demonstrations": "member"}, "a demonstration is an answer"),
        ({"guidance_instruction": "no place for it"}, "{hint} in it"),
        ({"guidance_reattach": True, "top_p": 0.9}, "Leave out top_p"),
        ({"guidance_reattach": True, "generation_kwargs": {"stop": ["x"]}}, "Leave out generation_kwargs"),
        ({"guidance_reattach": True, "guidance_seeded_sampling": False}, "guidance_seeded_sampling, or guidance_reattach"),
        ({"guidance_reattach": True, "use_vllm": True}, "compares with the engine's probabilities already"),
        (
            {
                "guidance_reattach": True,
                "use_vllm": True,
                "vllm_importance_sampling_correction": False,
                "vllm_mode": "server",
                "temperature": 0.7,
            },
            "log-probabilities before the temperature",
        ),
        ({"guidance_reattach": True, "importance_sampling_level": "sequence"}, "its own weight"),
        ({"guidance_reattach": True, "guidance_place": "answer"}, "the prompt is the plain one already"),
    ):
        with pytest.raises(ConfigError, match=said.replace("{", r"\{").replace("}", r"\}")):
            config(**{**hinted, **wrong})


# --- a second round


def outcome(success, shown=0, key="a"):
    return Outcome(key, 0, shown > 0, shown, 0.0, 5, success, success)


def test_which_groups_failed_and_what_takes_their_place():
    first = [outcome(s) for s in (0, 0, 0, 1, None, 0, None, None)]
    assert failed_groups(first, 2) == [0, 2]
    second = [outcome(s, n) for s, n in ((1, 9), (1, 4), (0, 3), (0, 5))]
    assert replacements([0, 2], second, 2, whole=True) == {0: (1, 0), 1: (1, 1)}
    assert replacements([0, 2], second, 2, whole=False) == {0: (1, 1)}


def test_scaf_grpo_puts_the_least_hinted_success_into_the_failed_group(train):
    """arXiv 2510.19807 with G = 4: rewards (1, 0, 0, 0) after the replacement, so A = (1.5, -0.5, -0.5, -0.5)."""
    fields = {**preset("scaf-grpo"), "num_generations": 4}
    trainer = train(Scripted(0.0, 1.0, 1.0, 0.0), **fields)
    [batch], (first, second) = trainer.batches, trainer.starts
    assert not any(s.guided for s in first)
    assert [round(s.fraction, 1) for s in second[:4]] == pytest.approx([0.25, 0.5, 0.75, 1.0], abs=0.06)
    assert len(second) == 8  # both groups failed
    for group in (0, 4):
        assert row(batch, group)[0].tolist() == list(second[group + 1].prompt_ids)
        assert row(batch, group + 1)[0].tolist() == list(first[group + 1].prompt_ids)
        assert batch["advantages"][group : group + 4].tolist() == pytest.approx([1.5, -0.5, -0.5, -0.5], abs=1e-3)
    assert batch["num_items_in_batch"] == batch["completion_mask"].sum()
    assert trainer._totals["rollouts_total"] == 16


def test_only_failed_groups_are_rolled_again_and_what_fails_twice_stays(train):
    class Mixed(Scripted):
        def __call__(self, completions, **columns):
            self.calls += 1
            return [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0] if self.calls == 1 else [0.0] * len(completions)

    fields = {"guidance_controller": "fixed", "guidance_controller_kwargs": {"length": 1.0}, "guidance_unit": "fraction"}
    trainer = train(
        Mixed(), guidance_second_round="group", guidance_ratio=1.0, guidance_advantages="joint", guidance_loss="mask", **fields
    )
    [batch], (first, second) = trainer.batches, trainer.starts
    assert len(second) == 4
    assert {s.key for s in second} == {s.key for s in first[4:]}
    assert [row(batch, i)[0].tolist() for i in range(8)] == [list(s.prompt_ids) for s in first]


def test_ghpo_trains_the_hinted_group_on_its_hinted_prompt_and_climbs(train):
    trainer = train(Scripted(0.0), **{**preset("ghpo"), "max_steps": 2})
    rungs = dict(trainer.controller_state.rungs)
    assert set(rungs.values()) == {(1.0,)}
    assert [round(s.fraction, 2) for s in trainer.starts[1]] == pytest.approx([0.25] * 8, abs=0.06)
    trainer = train(Scripted(1.0, 0.0), **preset("ghpo"))
    [batch], (_, second) = trainer.batches, trainer.starts
    assert [row(batch, i)[0].tolist() for i in range(8)] == [list(s.prompt_ids) for s in second]
    assert batch["advantages"].tolist() == pytest.approx([0.866, -0.866] * 4, abs=1e-3)  # 0.5 / std of (1, 0, 1, 0)


def test_second_rounds_refuse_what_they_cannot_work_with(config):
    fields = {**preset("scaf-grpo"), "num_generations": 4}
    for wrong, said in (
        ({"dynamic_sampling_rounds": 2}, "1 with guidance_second_round"),
        ({"guidance_controller": "none"}, "a rule that guides"),
        ({"guidance_advantages": "stratified"}, "joint with member"),
        ({"scale_rewards": "batch"}, "group or none"),
        ({"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2, "steps_per_generation": 3}, "."),
    ):
        with pytest.raises((ConfigError, ValueError), match=said):
            config(**{**fields, **wrong})


# --- Guide: trained on the plain prompt


def test_reattached_advantages_by_hand():
    hinted = torch.tensor([[math.log(0.5), math.log(0.25)], [torch.nan, torch.nan]])
    plain = torch.tensor([[math.log(0.05), math.log(0.25)], [-1.0, -2.0]])
    found = reattached_advantages(torch.tensor([2.0, 3.0]), plain, hinted)
    # w = 0.1: 2 * 0.1 * 0.1 / 0.2^2 = 0.5;  w = 1: 2 * 0.1 / 1.1^2
    torch.testing.assert_close(found, torch.tensor([[0.5, 0.2 / 1.21], [3.0, 3.0]]))


@pytest.mark.parametrize("fast", [False, True])
def test_a_step_of_guide_has_the_gradient_of_its_objective(train, make_model, fast):
    """arXiv 2506.13923: J = 1/sum|o| sum_i sum_t A_i r_t / (r_t + 0.1), r_t = p(o_t | q) / p_old(o_t | q, hint)."""
    trainer = train(Scripted(1.0, 0.0, 0.0, 0.0), **{**preset("guide"), "learning_rate": 0.0, "fast": fast})
    [batch], (first, second) = trainer.batches, trainer.starts
    assert [row(batch, i)[0].tolist() for i in range(8)] == [list(s.prompt_ids) for s in first]
    assert all(s.plain_ids == f.prompt_ids != s.prompt_ids for s, f in zip(second, first, strict=True))
    model = make_model()
    total = torch.zeros(())
    for i, start in enumerate(second):
        prompt, completion = row(batch, i)
        with torch.no_grad():
            old = logps(model, torch.tensor(start.prompt_ids), completion)
        torch.testing.assert_close(batch["hinted_logps"][i, : len(old)], old, rtol=1e-4, atol=1e-4)
        ratio = torch.exp(logps(model, prompt, completion) - old)
        total = total - (batch["advantages"][i] * ratio / (ratio + 0.1)).sum()
    (total / batch["completion_mask"].sum()).backward()
    wanted = gradient(model)
    trainer.model.zero_grad()
    trainer.model.train()
    if not fast:
        trainer._compute_loss(trainer.model, dict(batch)).backward()
        torch.testing.assert_close(gradient(trainer.model), wanted, rtol=1e-3, atol=1e-6)
    else:
        norm = next(log["grad_norm"] for log in trainer.state.log_history if "grad_norm" in log)
        assert norm == pytest.approx(wanted.norm().item(), rel=1e-3)


# --- imitation of failed groups, weighted mixtures


def test_a_step_of_hpt_is_the_log_likelihood_of_the_demonstrations_of_failed_groups(train, make_model):
    """arXiv 2509.04419 with P(q) = 0: the group's loss is - 1/|y*| log p(y* | q); two groups, their mean."""
    trainer = train(never, **{**preset("hpt"), "guidance_loss_coefficient": 4.0, "learning_rate": 0.0})
    [batch] = trainer.batches
    model = make_model()
    shown = (batch["guidance_tokens"] > 0).nonzero().flatten()
    assert shown.tolist() == [3, 7]
    total = sum(logps(model, *row(batch, i)).mean() for i in shown)
    (-total / 2).backward()
    trainer.model.zero_grad()
    trainer._compute_loss(trainer.model, dict(batch)).backward()
    torch.testing.assert_close(gradient(trainer.model), gradient(model), rtol=1e-3, atol=1e-6)
    assert trainer.imitated_tokens == batch["guidance_tokens"].sum()


def test_hpt_leaves_groups_with_a_success_to_grpo(train):
    trainer = train(lambda completions, **columns: [1.0, 0.0] * (len(completions) // 2), **preset("hpt"))
    [batch] = trainer.batches
    assert batch["guidance_tokens"].sum() == 0
    assert trainer.imitated_tokens == 0
    assert batch["advantages"].tolist() == pytest.approx([0.866, -0.866] * 4, abs=1e-3)


def test_a_step_of_chord_is_the_weighted_mixture(train, make_model):
    """arXiv 2508.11408: expert tokens - mu / (1 - mu) p (1 - p) log p beside A log p; rows outside the demonstration's baseline."""
    fields = {**preset("chord"), "guidance_ratio": 0.25, "learning_rate": 0.0}
    trainer = train(lambda completions, **columns: [0.0, 1.0, 0.0, 0.0] * (len(completions) // 4), **fields)
    [batch] = trainer.batches
    model = make_model()
    total = torch.zeros(())
    for i in range(8):
        found = logps(model, *row(batch, i))
        if i % 4 == 0:
            p = found.detach().exp()
            total = total + (0.1 / 0.9 * p * (1 - p) * found).sum()
        else:
            assert batch["advantages"][i].item() == pytest.approx(2 / 3 if i % 4 == 1 else -1 / 3, abs=1e-5)
            total = total + (batch["advantages"][i] * found).sum()
    (-total / batch["completion_mask"].sum()).backward()
    trainer.model.zero_grad()
    trainer._compute_loss(trainer.model, dict(batch)).backward()
    torch.testing.assert_close(gradient(trainer.model), gradient(model), rtol=1e-3, atol=1e-6)
