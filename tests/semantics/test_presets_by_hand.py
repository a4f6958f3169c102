"""One step of each preset against the objective of its paper, written out: the same gradient.

Baselines are computed from the rewards with `statistics`, the objective from the probabilities of the tokens; nothing of
`g2rpo.method` is used. `guide`, `hpt` and `chord` are in test_hints_and_second_rounds.py, `trapo` is in test_micro_groups.py.
"""

import statistics
from dataclasses import dataclass

import pytest
import torch

from g2rpo import GuidedGRPOTrainer
from g2rpo.training.presets import PRESETS, preset

ELSEWHERE = {"guide", "hpt", "chord", "trapo"}
G, LONGEST = 8, 96
REWARDS = [1, 0, 1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 1, 1]
SECOND = {"scaf-grpo", "ghpo"}
"""Their first round fails, and the second has these rewards."""
SHORT = {
    name: {"guidance_controller_kwargs": {"initial_length": 12, "max_length": 24}}
    for name in ("g2rpo-a-paper", "g2rpo-a-released")
}
SHORT["uft"] = {"guidance_controller_kwargs": {"p_low": 0.9}}  # in a run of one step hints would be short


@dataclass
class Row:
    group: int
    reward: float
    guided: bool
    given: int
    """Tokens at the beginning of the completion that were not sampled."""
    logp: torch.Tensor
    reference: torch.Tensor
    entropy: torch.Tensor
    ended: bool

    @property
    def p(self):
        return self.logp.exp()


def against(rows, like, scale):
    """Per row R - mean over its group's rows `like` it, divided by their sample std where `scale` is."""
    found = []
    for row in rows:
        mine = [r.reward for r in rows if r.group == row.group and like(r, row)]
        found.append((row.reward - statistics.mean(mine)) / ((statistics.stdev(mine) + 1e-4) if scale else 1))
    return found


def joint(rows, scale=True):
    return against(rows, lambda r, row: True, scale)


def of_its_kind(rows):
    return against(rows, lambda r, row: r.guided == row.guided, True)


def ratio(x):
    """pi / sg pi: 1, with the gradient of log pi."""
    return torch.exp(x - x.detach())


def sampled_only(rows, advantages):
    """Token mean over what was sampled."""
    total = sum((a * ratio(r.logp[r.given :])).sum() for r, a in zip(rows, advantages, strict=True))
    return total / sum(len(r.logp) - r.given for r in rows)


def all_tokens(rows, advantages):
    return sum((a * ratio(r.logp)).sum() for r, a in zip(rows, advantages, strict=True)) / sum(len(r.logp) for r in rows)


def published(rows):
    """2508.13023: 1/G sum 1/(|g| + |o|) sum_t [A rho - 0.04 KL], guidance included; KL as pi_ref / pi - log(pi_ref / pi) - 1."""
    per_row = []
    for r, a in zip(rows, joint(rows), strict=True):
        kl = torch.exp(r.reference - r.logp) - (r.reference - r.logp) - 1
        per_row.append((a * ratio(r.logp) - 0.04 * kl).mean())
    return sum(per_row) / len(rows)


def luffy(rows):
    """2504.14945: A p / (p + 0.1) on the demonstration, A rho on rollouts; A = R - mean; one constant length."""
    total = 0.0
    for r, a in zip(rows, joint(rows, scale=False), strict=True):
        p = r.p[: r.given]
        total = total + (a * p / (p + 0.1)).sum() + (a * ratio(r.logp[r.given :])).sum()
    return total / (len(rows) * LONGEST)


def uft(rows):
    """2505.16984: GRPO on what follows the hint, and 0.001 of the hint's log-likelihood."""
    total = sum(
        0.001 * r.logp[: r.given].sum() + (a * ratio(r.logp[r.given :])).sum() for r, a in zip(rows, joint(rows), strict=True)
    )
    return total / sum(len(r.logp) for r in rows)


def prefix_rft(rows):
    """2507.01679: A = R - mean of the rollouts without a prefix; of the prefix the fifth with the highest entropy."""
    total = 0.0
    for r in rows:
        a = r.reward - statistics.mean(x.reward for x in rows if x.group == r.group and not x.guided)
        top = r.entropy[: r.given].topk(-(-r.given // 5)).indices
        total = total + (a * ratio(r.logp[: r.given][top])).sum() + (a * ratio(r.logp[r.given :])).sum()
    return total / (len(rows) * LONGEST)


def dapo(rows):
    """2503.14476: token mean over completions that ended."""
    kept = [(r, a) for r, a in zip(rows, joint(rows), strict=True) if r.ended]
    return sum((a * ratio(r.logp)).sum() for r, a in kept) / sum(len(r.logp) for r, _ in kept)


def ours(rows):
    """Rows of a kind are compared; a prefix that its row verified is imitated by 1 / perplexity, others are left out."""
    total, tokens = 0.0, 0
    for r, a in zip(rows, of_its_kind(rows), strict=True):
        verified = r.given > 0 and r.reward == 1 and a > 0
        if verified:
            given = r.logp[: r.given]
            total = total + a * given.detach().mean().exp() * given.sum()
        total = total + (a * ratio(r.logp[r.given :])).sum()
        tokens += len(r.logp) - (0 if verified else r.given)
    return total / tokens


OBJECTIVES = {
    "grpo": lambda rows: all_tokens(rows, joint(rows)),
    "g2rpo-a-paper": published,
    "g2rpo-a-released": published,
    "luffy": luffy,
    "uft": uft,
    "prefix-rft": prefix_rft,
    "scaf-grpo": lambda rows: all_tokens(rows, joint(rows)),  # 2510.19807: GRPO on the group with its replacement
    "ghpo": lambda rows: all_tokens(rows, joint(rows)),  # 2507.10628: GRPO on the group that saw the hint
    "pope": lambda rows: all_tokens(rows, of_its_kind(rows)),  # 2601.18779: prefixed problems are problems of their own
    "prefix-rl": lambda rows: sampled_only(rows, joint(rows)),  # 2601.18795: one start for a group, masked
    "adaback": lambda rows: sampled_only(rows, joint(rows)),  # 2506.18110: the same
    "seele": lambda rows: sampled_only(rows, joint(rows)),  # 2509.06923: the same
    "r3": lambda rows: sampled_only(rows, joint(rows)),  # 2402.05808, with a group for a critic
    "dapo": dapo,
    "other-trace": lambda rows: sampled_only(rows, of_its_kind(rows)),
    "g2rpo": ours,
}
GUIDED = {
    "luffy": [0],
    "prefix-rft": [0],
    "g2rpo-a-paper": [0, 1, 2, 3],
    "g2rpo-a-released": [0, 1, 2, 3],
    "pope": [0, 1, 2, 3],
} | {name: list(range(G)) for name in ("uft", "prefix-rl", "adaback", "seele", "r3")}
"""Which rollouts of a group the paper guides; where a rule decides how many, it is not here."""


def test_every_preset_has_its_objective_here_or_in_a_test_of_its_own():
    assert set(OBJECTIVES) | ELSEWHERE == set(PRESETS)
    assert not set(OBJECTIVES) & ELSEWHERE


@pytest.fixture
def step(checkpoint, tokenizer, rows, config):
    """One step of a preset without learning: the trainer, its batch, and what its rollouts started from."""

    def run(name):
        calls = []

        def reward(completions, **columns):
            calls.append(len(completions))
            values = [float(x) for x in REWARDS]
            return [0.0] * len(completions) if name in SECOND and len(calls) == 1 else values

        args = config(
            **{**preset(name), **SHORT.get(name, {})},
            num_generations=G,
            per_device_train_batch_size=2 * G,
            max_completion_length=LONGEST,
            max_steps=1,
            learning_rate=0.0,
            fast=False,
            shuffle_dataset=False,
            seed=5,
        )
        trainer = GuidedGRPOTrainer(checkpoint("qwen3"), [reward], args, rows(12), processing_class=tokenizer)
        kept, regroup, generate = {}, trainer._advantages, trainer._generate_and_score_completions

        def advantages(output, *more):
            kept["starts"] = list(trainer.step_batch.guided_prompts)
            return regroup(output, *more)

        trainer._advantages = advantages
        trainer._generate_and_score_completions = lambda inputs: kept.setdefault("batch", generate(inputs))
        trainer.train()
        return trainer, kept["batch"], kept["starts"]

    return run


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_step_has_the_gradient_of_its_papers_objective(step, make_model, tokenizer, name):
    trainer, batch, starts = step(name)
    rewards = REWARDS
    if name == "scaf-grpo":  # the least hinted success of each second group, beside seven failures
        rewards = ([1] + [0] * (G - 1)) * 2
    if name in GUIDED:
        assert [i % G for i, s in enumerate(starts) if s.guided] == GUIDED[name] * 2
    # The published KL term has no gradient where policy and reference are the same: look at it elsewhere.
    model, reference = make_model(seed=1 if "beta" in preset(name) and preset(name)["beta"] else 0), make_model()
    trainer.model.load_state_dict(model.state_dict())
    table = []
    for i, (start, value) in enumerate(zip(starts, rewards, strict=True)):
        prompt, completion = (batch[f"{part}_ids"][i][batch[f"{part}_mask"][i].bool()] for part in ("prompt", "completion"))
        if not len(completion):  # left out of the loss
            completion = batch["completion_ids"][i][batch["completion_ids"][i] != tokenizer.pad_token_id]

        def score(of, prompt=prompt, completion=completion):
            everything = torch.log_softmax(of(torch.cat([prompt, completion])[None]).logits[0, len(prompt) - 1 : -1], -1)
            entropy = -(everything.exp() * everything).sum(-1).detach()
            return everything.gather(1, completion[:, None])[:, 0], entropy

        logp, entropy = score(model)
        given = 0 if preset(name).get("guidance_place") == "prompt" else len(start.guidance_ids)
        ended = completion[-1].item() == tokenizer.eos_token_id
        table.append(Row(i // G, value, start.guided, given, logp, score(reference)[0].detach(), entropy, ended))
    (-OBJECTIVES[name](table)).backward()
    wanted = torch.cat([x.grad.flatten() for x in model.parameters()])
    trainer.model.zero_grad()
    trainer._compute_loss(trainer.model, dict(batch)).backward()
    got = torch.cat([x.grad.flatten() for x in trainer.model.parameters()])
    assert wanted.norm() > 1e-3
    torch.testing.assert_close(got, wanted, rtol=1e-3, atol=2e-6)


def test_pope_puts_a_quarter_of_the_solution_into_the_prompt_with_an_instruction(step, tokenizer):
    trainer, batch, starts = step("pope")
    data = {r["key"]: r for r in trainer.train_dataset}
    for i, start in enumerate(starts):
        text = tokenizer.decode(batch["prompt_ids"][i][batch["prompt_mask"][i].bool()])
        question = data[start.key]["prompt"][-1]["content"]
        assert question in text
        shown = text.partition("correct solution:\n\n")[2].partition("\n\nSolve the problem with its help")[0]
        assert bool(shown) == (i % G < G // 2)
        if shown:
            assert data[start.key]["trace"].startswith(shown)
            assert start.fraction == pytest.approx(0.25, abs=0.06)
    # Both problems had guided successes and failures: neither climbs, nor leaves its rung before all of a group succeed.
    assert dict(trainer.controller_state.rungs) == {key: (0.0,) for key in {s.key for s in starts}}


def test_a_group_of_prefix_rl_starts_from_one_prefix_of_the_trace(step):
    _, _, starts = step("prefix-rl")
    for group in (starts[:G], starts[G:]):
        assert len({s.guidance_ids for s in group}) == 1
        assert 0 < group[0].fraction < 1
    assert starts[0].fraction != starts[G].fraction
