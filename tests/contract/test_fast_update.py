"""The update optimizations give TRL's gradient: same rollouts, same loss, fewer positions."""

import dataclasses

import pytest
import torch
from trl.trainer import utils as trl_utils

from g2rpo.training.fast import update as fast_update
from g2rpo.training.fast.optimizations import Optimizations, optimizations
from tests.contract.fast_updates import LOSSES, both, rollouts, unusual, update


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_has_trls_gradient(make_trainer, monkeypatch, loss):
    trainer = make_trainer(**LOSSES[loss])
    both(trainer, monkeypatch)


@pytest.mark.parametrize("accumulation", [1, 4])
@pytest.mark.parametrize(
    "case",
    [
        {"dead": range(1, 8)},
        {"dead": ()},
        {"masked": False},
        {"old": False},
        {"truncated": (0, 4), "masked": True},
        {"dead": (0, 5, 7), "truncated": (3,), "masked": False},
    ],
    ids=str,
)
def test_every_batch_has_trls_gradient(make_trainer, monkeypatch, accumulation, case):
    both(make_trainer(accumulation=accumulation, loss_type="grpo"), monkeypatch, **case)


@pytest.mark.parametrize("case", [{}, {"groups": 1, "prompt": 200, "dead": ()}], ids=["rows", "prefixes"])
@pytest.mark.parametrize("kind", ["qwen3", "llama"])
def test_under_autocast_the_gradient_is_as_near_the_true_one_as_trls(make_trainer, monkeypatch, kind, case):
    """`bf16: true` with weights in float32, the recipes' precision."""
    plain = Optimizations(False, False, False)
    exact, rounded = make_trainer(kind, accumulation=1), make_trainer(kind, bf16=True, accumulation=1)
    off = {"trls": 0.0, "ours": 0.0}
    for seed in range(4):  # one ratio on the other side of a clipping bound makes one case say little
        batch = rollouts(exact, seed=seed, **case)
        true = update(exact, batch, plain, monkeypatch)[1]
        for side, chosen in (("trls", plain), ("ours", optimizations(rounded))):
            off[side] += ((update(rounded, batch, chosen, monkeypatch)[1] - true).norm() / true.norm()).item()
    assert off["ours"] < 1.5 * off["trls"] < 1.2


@pytest.mark.parametrize(("groups", "masked"), [(1, True), (2, False)], ids=["guided", "unguided"])
@pytest.mark.parametrize("kind", ["qwen3", "llama", "peft"])
def test_prompts_that_are_computed_once_have_trls_gradient(
    make_trainer, make_model, tokenizer, monkeypatch, kind, groups, masked
):
    """Long prompts, short completions, guidance masked on every other row: a micro-batch continues from its distinct prefixes."""
    shared = []
    kept = fast_update.common_prefix
    monkeypatch.setattr(fast_update, "common_prefix", lambda rows: shared.append(kept(rows)) or shared[-1])
    model = unusual(kind, make_model, tokenizer)
    both(make_trainer(model=model, accumulation=groups), monkeypatch, groups=groups, masked=masked, prompt=200, dead=())
    assert all(prefix is not None for prefix in shared)
    assert {len(prefix.ids_UP) for prefix in shared} == ({2} if masked else {1})


def test_a_batch_without_any_signal_still_goes_backward(make_trainer, monkeypatch):
    trainer = make_trainer()
    loss, grads, _ = update(trainer, rollouts(trainer, dead=range(8), truncated=range(8)), optimizations(trainer), monkeypatch)
    assert (loss, grads.abs().max().item()) == (0.0, 0.0)


@pytest.mark.parametrize("kind", ["llama", "qwen2", "gemma2", "peft", "untied", "granite"])
def test_every_head_has_trls_gradient(make_trainer, make_model, tokenizer, monkeypatch, kind):
    both(make_trainer(model=unusual(kind, make_model, tokenizer)), monkeypatch)


@pytest.mark.parametrize(
    ("fields", "off"),
    [
        ({}, ""),
        ({"fast": False}, "compact order drop share split accumulate"),
        ({"loss_type": "bnpo"}, "order drop split"),
        ({"beta": 0.1}, "drop"),
        ({"entropy_coef": 0.1}, "order drop split"),
        ({"top_entropy_quantile": 0.5}, "order drop split"),
    ],
    ids=str,
)
def test_levers_that_are_not_exact_are_off(make_trainer, fields, off):
    assert set(make_trainer(**fields).optimizations.why_not) == {*off.split(), "pack"}  # scaled dot products know no bounds


def test_learned_positions_keep_their_padding(make_trainer, tokenizer):
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=len(tokenizer), n_embd=32, n_layer=1, n_head=2, n_positions=128, eos_token_id=tokenizer.eos_token_id
        )
    )
    assert set(make_trainer(model=model).optimizations.why_not) == {"compact", "share", "pack", "accumulate"}


def test_logged_figures_keep_their_meaning_or_say_so(make_trainer, monkeypatch):
    """One micro-batch, where TRL's means are means over all tokens; in ours, half of the rows are dropped."""
    plain, fast = both(make_trainer(accumulation=1), monkeypatch)
    dropped = {"entropy", "clip_ratio/low_min", "clip_ratio/high_max"}
    assert fast[2].keys() == {f"trained_rows/{n}" if n in dropped else n for n in plain[2]}
    for name in plain[2].keys() - dropped:
        assert fast[2][name] == pytest.approx(plain[2][name], abs=1e-6)
    assert plain[2]["clip_ratio/region_mean"] > 0
    whole, kept = both(make_trainer(accumulation=1), monkeypatch, dead=())
    assert kept[2]["trained_rows/entropy"] == pytest.approx(whole[2]["entropy"], rel=1e-5)


@pytest.mark.parametrize("level", ["token", "sequence"])
def test_means_are_over_the_window_whatever_the_micro_batches(make_trainer, monkeypatch, level):
    names = ("clip_ratio/region_mean", "trained_rows/entropy")
    one, four = (make_trainer(accumulation=n, importance_sampling_level=level, loss_type="grpo") for n in (1, 4))
    one, four = (update(t, rollouts(t), optimizations(t), monkeypatch)[2] for t in (one, four))
    assert [one[n] for n in names] == pytest.approx([four[n] for n in names], rel=1e-5)


def test_log_probs_of_the_old_and_the_reference_policy_are_trls(make_trainer):
    trainer = make_trainer()
    batch = rollouts(trainer, masked=False)
    inputs = (
        torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1),
        torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1),
        batch["completion_ids"].shape[1],
    )
    values = []
    for chosen in (Optimizations(False, False, False), optimizations(trainer)):
        trainer.optimizations = chosen
        with torch.no_grad():
            values.append(trainer._get_per_token_logps_and_entropies(trainer.model, *inputs, batch_size=3, compute_entropy=True))
    for plain, fast in zip(values[0][:2], values[1][:2], strict=True):
        torch.testing.assert_close(fast, plain, rtol=1e-5, atol=1e-5)


def test_trl_is_left_as_it_was(make_trainer, monkeypatch):
    before = trl_utils._use_triton, trl_utils._ChunkedLogProbFunction
    trainer = make_trainer()
    update(trainer, rollouts(trainer), optimizations(trainer), monkeypatch)
    assert (trl_utils._use_triton, trl_utils._ChunkedLogProbFunction) == before


def test_outputs_in_the_dtype_of_the_parameters_are_taken(make_trainer):
    """FSDP2 with mixed precision rounds what a model returns (`MixedPrecisionPolicy.output_dtype`)."""
    trainer = make_trainer()
    batch = rollouts(trainer)

    def rounded(module, args, output):
        output.log_probs, output.entropy = output.log_probs.bfloat16(), output.entropy.bfloat16()
        return output

    trainer.model.register_forward_hook(rounded)
    trainer.optimizations = dataclasses.replace(optimizations(trainer), share=False)
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
    mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)
    width = batch["completion_ids"].shape[1]
    logps, entropies, _ = trainer._get_per_token_logps_and_entropies(trainer.model, ids, mask, width, compute_entropy=True)
    assert logps.dtype == entropies.dtype == torch.float32
    assert torch.isfinite(logps).all()
    assert logps.min() < 0
