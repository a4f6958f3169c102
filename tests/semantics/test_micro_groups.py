"""Micro-groups: parts of a group that are sampled one after the other (TRAPO, arXiv 2512.17636)."""

import types

import pytest
import torch

from g2rpo import GuidedGRPOTrainer
from g2rpo.errors import ConfigError
from g2rpo.method.controllers import get_controller
from g2rpo.training.micro_groups import check_micro_groups
from g2rpo.training.presets import preset


class Graded:
    """Right where the table of calls says so; `seen` has the completions of each call."""

    __name__ = "graded"

    def __init__(self, *calls):
        self.calls, self.seen = calls, []

    def __call__(self, completions, **columns):
        self.seen.append([c if isinstance(c, str) else c[0]["content"] for c in completions])
        return [float(x) for x in self.calls[len(self.seen) - 1]]


@pytest.fixture
def step(make_model, tokenizer, rows, config):
    """One step on two problems of eight rollouts: the trainer, its batch, and what its rollouts started from."""

    def run(reward, plain=False, **fields):
        given = {**preset("trapo"), "num_generations": 8, "per_device_train_batch_size": 16, "max_completion_length": 96}
        args = config(**{**given, "max_steps": 1, "learning_rate": 0.0, "fast": False, "shuffle_dataset": False, **fields})
        data = rows(12).map(lambda row: {"prompt": row["prompt"][-1]["content"]}) if plain else rows(12)
        trainer = GuidedGRPOTrainer(make_model(), [reward], args, data, processing_class=tokenizer)
        kept, regroup = {}, trainer._advantages
        trainer._advantages = lambda output, *more: (
            kept.update(starts=trainer.step_batch.guided_prompts) or regroup(output, *more)
        )
        generate = trainer._generate_and_score_completions
        trainer._generate_and_score_completions = lambda inputs: kept.setdefault("batch", generate(inputs))
        trainer.train()
        return trainer, kept["batch"], kept["starts"]

    return run


def row(batch, i):
    return tuple(batch[f"{part}_ids"][i][batch[f"{part}_mask"][i].bool()] for part in ("prompt", "completion"))


# The first problem has 1 of 4, then 2 of 6, then 2 of 7: below 1/2, 2/3 and 1. The second has 2 of 4, 4 of 6, 5 of 7.
CALLS = ((1, 0, 0, 0, 1, 1, 0, 0), (0, 1, 1, 1), (0, 1), (1, 0))


@pytest.mark.parametrize("plain", [False, True], ids=["chat", "plain prompts"])
def test_each_part_is_guided_by_the_success_of_those_before_it_and_graded_once(step, tokenizer, plain):
    reward = Graded(*CALLS)
    trainer, batch, starts = step(reward, plain)
    assert [len(call) for call in reward.seen] == [8, 4, 2, 2]
    shown = [round(s.fraction, 1) for s in starts]
    assert shown[:8] == pytest.approx([0, 0, 0, 0, 0.25, 0.25, 0.5, 1], abs=0.07)
    assert shown[8:] == pytest.approx([0, 0, 0, 0, 0, 0, 0, 1], abs=0.07)
    assert [s.whole for s in starts] == [False] * 7 + [True] + [False] * 7 + [True]
    # Rewards lie where their rollouts do: (1, 0, 0, 0, 0, 1, 0, 1) and (1, 1, 0, 0, 1, 1, 1, 0), against their joint means.
    wanted = [1 - 3 / 8, *[-3 / 8] * 4, 1 - 3 / 8, -3 / 8, 1 - 3 / 8]
    wanted += [1 - 5 / 8, 1 - 5 / 8, -5 / 8, -5 / 8, 1 - 5 / 8, 1 - 5 / 8, 1 - 5 / 8, -5 / 8]
    assert batch["advantages"].tolist() == pytest.approx(wanted)
    # What was graded is what is trained.
    texts = tokenizer.batch_decode([row(batch, i)[1] for i in range(16)], skip_special_tokens=True)
    assert reward.seen[0] == texts[:4] + texts[8:12]
    assert reward.seen[1] == texts[4:6] + texts[12:14]
    assert reward.seen[2:] == [[texts[6], texts[14]], [texts[7], texts[15]]]
    assert trainer._totals["tokens/imitated_total"] == sum(len(s.guidance_ids) for s in starts if s.whole)


def test_rollouts_have_their_own_randomness_whatever_their_part(step):
    """The same rollouts as without parts, where nothing is guided."""
    solved = Graded([1] * 8, [1] * 4, [1] * 2, [1] * 2)
    _, batch, starts = step(solved)
    assert not any(s.guided for s in starts)
    _, whole, _ = step(
        Graded([1] * 16), guidance_controller="none", guidance_demonstrations="none", guidance_seeded_sampling=True
    )
    assert torch.equal(batch["completion_ids"], whole["completion_ids"])


def test_a_step_of_trapo_has_the_gradient_of_its_objective(step, make_model):
    """J = 1/(B L) sum_i [ sum_{t in g_i} p_t / max(sg p_t, 0.1) + sum_{t in o_i} A_i p_t / sg p_t ], A_i = R_i - mean R."""
    trainer, batch, starts = step(Graded(*CALLS))
    model = make_model()
    total = torch.zeros(())
    for i, start in enumerate(starts):
        prompt, completion = row(batch, i)
        logits = model(torch.cat([prompt, completion])[None]).logits[0, len(prompt) - 1 : -1]
        p = torch.softmax(logits, -1).gather(1, completion[:, None])[:, 0]
        given = len(start.guidance_ids)
        total = total + (p[:given] / p[:given].detach().clamp(min=0.1)).sum()
        total = total + batch["advantages"][i] * (p[given:] / p[given:].detach()).sum()
    (-total / (16 * 96)).backward()
    wanted = torch.cat([x.grad.flatten() for x in model.parameters()])
    trainer.model.zero_grad()
    trainer._compute_loss(trainer.model, dict(batch)).backward()
    got = torch.cat([x.grad.flatten() for x in trainer.model.parameters()])
    torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-6)


def test_what_micro_groups_cannot_work_with_is_refused(config):
    fields = {**preset("trapo"), "num_generations": 8}
    for wrong, said in (
        ({"num_generations": 4}, "8 rollouts per group, for micro-groups of 4, 2, 1, 1"),
        ({"guidance_ratio": 0.5}, "Expected 1: which rollouts are guided is decided"),
        ({"guidance_controller_kwargs": {"sizes": [6, 2]}}, "levels is .* Expected 1 numbers in"),
    ):
        with pytest.raises(ConfigError, match=said):
            config(**{**fields, **wrong})
    two_processes = types.SimpleNamespace(
        per_device_train_batch_size=4,
        steps_per_generation=1,
        num_generations=8,
        guidance_controller="micro_groups",
        controller=get_controller("micro_groups"),
    )
    with pytest.raises(ConfigError, match="whole groups in every process: it generates 4 rows"):
        check_micro_groups(two_processes)
