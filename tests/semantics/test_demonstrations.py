"""Demonstrations: whole completions that are given and learned, in steps of their own or in groups without a success."""

import math

import pytest
import torch

from g2rpo import GuidedGRPOTrainer
from g2rpo.errors import ConfigError
from g2rpo.method.warm_start import WarmStart


def never(completions, **columns):
    return [0.0] * len(completions)


@pytest.fixture
def train(make_model, tokenizer, rows, config):
    def run(reward=never, foreign=math.inf, trace=None, **fields):
        args = config(**{"max_completion_length": 96, "max_steps": 6, **fields})
        data = rows(12) if trace is None else rows(12).map(lambda row: {"trace": trace(row)})
        trainer = GuidedGRPOTrainer(make_model(), [reward], args, data, processing_class=tokenizer)
        trainer.warm_start = WarmStart(judged=4, first=2, longest=2, foreign=foreign)
        trainer.seen, trainer.kinds, trainer.revealed = [], [], []
        compute, generate, go_on = trainer._compute_loss, trainer._generate_and_score_completions, trainer._continue
        trainer._compute_loss = lambda model, inputs: trainer.seen.append(dict(inputs)) or compute(model, inputs)

        def watched(inputs):
            trainer.kinds.append("imitate" if trainer.imitates else "sample")
            return generate(inputs)

        def revealed(prompts, *more):
            trainer.revealed.append([p.fraction for p in prompts if p.guided])
            return go_on(prompts, *more)

        trainer._generate_and_score_completions, trainer._continue = watched, revealed
        trainer.train()
        return trainer

    return run


def completion_of(tokenizer, row):
    return f"<think>\n{row['trace']}\n</think>\n<answer>{row['answer']}</answer>"


def test_a_warm_start_imitates_whole_completions_without_sampling(train, tokenizer):
    trainer = train(guidance_warm_start=True, max_steps=7)
    # Two groups per step: the fourth failed group is in the second, and the third step tries the longest prefixes.
    assert trainer.kinds == ["sample"] * 3 + ["imitate"] * 2 + ["sample"] + ["imitate"]
    batch = trainer.seen[3]
    trained = (batch["completion_mask"] * batch["tool_mask"]).bool()
    live = trained.any(1)
    assert live.sum() == 2  # one demonstration per group
    assert batch["advantages"][live].tolist() == [1.0, 1.0]
    wanted = {completion_of(tokenizer, row) for row in trainer.train_dataset}
    for ids, mask in zip(batch["completion_ids"][live], trained[live], strict=True):
        assert ids[mask][-1] == tokenizer.eos_token_id
        assert tokenizer.decode(ids[mask][:-1]) in wanted
    assert trainer.imitated_tokens == sum(
        int((b["completion_mask"] * b["tool_mask"]).sum())
        for b, kind in zip(trainer.seen, trainer.kinds, strict=True)
        if kind == "imitate"
    )
    assert trainer.spent_tokens > trainer.imitated_tokens > 0


@pytest.mark.parametrize(
    "fields",
    [
        {"foreign": 100.0},  # the model is random: a perplexity of some 400
        {"trace": lambda row: "One thing follows from another."},  # states no answer
    ],
    ids=["foreign notation", "traces without their answer"],
)
def test_what_is_not_worth_imitating_is_given_up(train, fields):
    trainer = train(guidance_warm_start=True, max_steps=5, **fields)
    assert set(trainer.kinds) == {"sample"}
    assert trainer.warm_start_state.given_up


def test_its_gradient_is_that_of_supervised_fine_tuning(train):
    trainer = train(guidance_warm_start=True, max_steps=4)
    batch = trainer.seen[3]
    model = trainer.model
    model.zero_grad()
    trainer._compute_loss(model, batch).backward()
    got = torch.cat([p.grad.flatten() for p in model.parameters()])
    model.zero_grad()
    mask = (batch["completion_mask"] * batch["tool_mask"]).bool()
    total = torch.zeros(())
    for i in mask.any(1).nonzero().flatten():
        prompt = batch["prompt_ids"][i][batch["prompt_mask"][i].bool()]
        completion = batch["completion_ids"][i][mask[i]]
        logps = torch.log_softmax(model(torch.cat([prompt, completion])[None]).logits[0, len(prompt) - 1 : -1], -1)
        total = total - logps.gather(1, completion[:, None]).sum()
    (total / mask.sum()).backward()
    wanted = torch.cat([p.grad.flatten() for p in model.parameters()])
    torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-6)


def test_the_step_before_reveals_all_that_may_be_revealed(train):
    trainer = train(guidance_warm_start=True, max_steps=4)
    [guided] = {len(batch) for batch in trainer.revealed if set(batch) == {1.0}}
    assert guided == 4  # two of each group
    assert set(trainer.revealed[2]) == {1.0} != set(trainer.revealed[1])


def test_where_groups_succeed_nothing_is_imitated(train):
    trainer = train(
        reward=lambda completions, **columns: [float(i % 4 == 0) for i in range(len(completions))], guidance_warm_start=True
    )
    assert set(trainer.kinds) == {"sample"}
    assert trainer.imitated_tokens == 0


def test_a_failed_group_gets_its_demonstration_in_place_of_its_last_rollout(train, tokenizer):
    trainer = train(guidance_demonstrations="failed_groups", max_steps=2, fast=False, shuffle_dataset=False)
    batch = trainer.seen[0]
    wanted = {completion_of(tokenizer, row) for row in trainer.train_dataset}
    shown = [
        tokenizer.decode(ids[mask.bool()], skip_special_tokens=True)
        for ids, mask in zip(batch["completion_ids"], batch["completion_mask"], strict=True)
    ]
    live = batch["advantages"] != 0
    assert live.sum() == 2
    assert {shown[i] for i in live.nonzero().flatten()} <= wanted
    assert trainer.imitated_tokens == sum(int(b["completion_mask"][b["advantages"] != 0].sum()) for b in trainer.seen)


def test_luffy_has_the_whole_demonstration_as_one_of_the_group(train, tokenizer):
    """arXiv 2504.14945: advantage over the joint mean, no std; - A p / (p + 0.1) on its tokens."""
    from g2rpo.training.presets import preset

    def right_where_shown(completions, trace, **columns):
        return [float(t in c[0]["content"]) for c, t in zip(completions, trace, strict=True)]

    fields = {**preset("luffy"), "guidance_ratio": 0.25}
    trainer = train(reward=right_where_shown, max_steps=1, fast=False, shuffle_dataset=False, **fields)
    batch = trainer.seen[0]
    shown = batch["guidance_tokens"] > 0
    assert shown.sum() == 2
    wanted = {completion_of(tokenizer, row) for row in trainer.train_dataset}
    for i in shown.nonzero().flatten():
        ids = batch["completion_ids"][i][batch["completion_mask"][i].bool()]
        assert ids[-1] == tokenizer.eos_token_id
        assert tokenizer.decode(ids[:-1]) in wanted
        assert batch["guidance_tokens"][i] == len(ids)  # nothing is sampled after it
    assert batch["advantages"][shown].tolist() == pytest.approx([0.75, 0.75])  # 1 - mean of (1, 0, 0, 0)
    assert batch["advantages"][~shown].tolist() == pytest.approx([-0.25] * 6)
    assert trainer.imitated_tokens == batch["guidance_tokens"].sum()


def test_a_kl_term_is_refused(config):
    with pytest.raises(ConfigError, match=r"beta is 0.04. Expected 0 with demonstrations"):
        config(beta=0.04, guidance_warm_start=True)
