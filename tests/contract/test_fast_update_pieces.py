"""Micro-batches in pieces, and rows in one line without padding: TRL's gradient, fewer positions."""

import dataclasses

import pytest
import torch
import transformers

from g2rpo.training.fast import update as fast_update
from g2rpo.training.fast.optimizations import Optimizations, optimizations
from g2rpo.training.fast.update import FastUpdate
from tests.contract.fast_updates import LOSSES, SEQUENCE, both, rollouts, unusual, update


@pytest.fixture
def small_pieces(monkeypatch):
    """Micro-batches fall into as many pieces as they have tokens for; gives how many there were, per window."""
    monkeypatch.setattr(fast_update, "PIECE_TOKENS", {"cpu": 20})
    monkeypatch.setattr(fast_update, "PIECE_FLOPS", {"cpu": 1})
    made, kept = [], FastUpdate._pieces
    monkeypatch.setattr(FastUpdate, "_pieces", lambda *args: made.append(kept(*args)) or made[-1])
    return made


@pytest.mark.parametrize("loss", LOSSES)
def test_pieces_of_a_micro_batch_have_trls_gradient(make_trainer, monkeypatch, small_pieces, loss):
    trainer = make_trainer(**LOSSES[loss])
    both(trainer, monkeypatch)
    assert [n > 1 for n in small_pieces] == ([] if loss in ("bnpo", "entropy_bonus", "entropy_quantile") else [True])


@pytest.mark.parametrize(
    "fields", [{"loss_type": "grpo"}, {"loss_type": "grpo", "beta": 0.1}, {"loss_type": "grpo", **SEQUENCE}], ids=str
)
def test_figures_of_pieces_are_those_of_the_micro_batch(make_trainer, monkeypatch, small_pieces, fields):
    trainer = make_trainer(accumulation=1, **fields)
    batch = rollouts(trainer)
    pieces = update(trainer, batch, optimizations(trainer), monkeypatch)[2]
    monkeypatch.setattr(fast_update, "PIECE_TOKENS", {"cpu": 10_000})
    whole = update(trainer, batch, optimizations(trainer), monkeypatch)[2]
    assert small_pieces[0] > 1 == small_pieces[1]
    assert whole.pop("clip_ratio/region_mean", 0) == pytest.approx(pieces.pop("clip_ratio/region_mean", 0), rel=1e-5) != 0
    assert pieces == pytest.approx(whole, rel=1e-5, abs=1e-7)


def test_there_is_a_row_in_every_piece_and_the_longest_come_first(make_trainer, monkeypatch, small_pieces, forwards):
    trainer = make_trainer(accumulation=1)
    shapes = forwards(trainer)
    both(trainer, monkeypatch, dead=range(3, 8))
    assert small_pieces == [3]
    assert [rows for rows, _ in shapes[-3:]] == [1, 1, 1]
    assert [width for _, width in shapes[-3:]] == sorted((width for _, width in shapes[-3:]), reverse=True)


def test_a_window_without_signal_does_not_keep_others_whole(make_trainer, monkeypatch, small_pieces):
    trainer = make_trainer(accumulation=1, steps_per_generation=2)
    window = rollouts(trainer)
    dead = {**window, "advantages": torch.zeros_like(window["advantages"])}
    trainer.optimizations = optimizations(trainer)
    counts = [len(part.get("pieces", [part])) for part in trainer._deal([window, dead])]
    assert small_pieces == counts
    assert counts[0] > 1 == counts[1]


def test_pieces_do_not_compute_a_shared_prompt_again_and_again(make_trainer, monkeypatch, small_pieces, forwards):
    trainer = make_trainer(accumulation=1)
    shapes = forwards(trainer)
    both(trainer, monkeypatch, groups=1, prompt=200, dead=(), masked=False)
    assert small_pieces == [1]
    assert shapes[-2][0] == 1  # the prompt, and then what follows it


def test_every_piece_goes_backward_by_way_of_accelerate(make_trainer, monkeypatch, small_pieces):
    """Which scales the loss where weights are float16."""
    trainer, gone = make_trainer(accumulation=1), []
    kept = trainer.accelerator.backward
    monkeypatch.setattr(trainer.accelerator, "backward", lambda loss: gone.append(loss) or kept(loss))
    both(trainer, monkeypatch)
    assert len(gone) == small_pieces[0] - 1


@pytest.mark.parametrize(
    ("fields", "own"), [({"gradient_checkpointing": True}, False), ({}, True), ({"optim": "lomo"}, False)], ids=str
)
def test_no_pieces_where_they_do_not_serve(make_trainer, make_model, fields, own):
    model = make_model(initializer_range=0.2)
    if own:
        model.gradient_checkpointing_enable()
    off = set(make_trainer(model=model, **fields).optimizations.why_not)
    assert off == ({"split", "pack", "accumulate"} if "optim" in fields else {"split", "share", "pack"})


# --- one line without padding


def packed(trainer):
    return dataclasses.replace(optimizations(trainer), pack=True, share=False)


@pytest.mark.parametrize("loss", LOSSES)
def test_rows_in_one_line_have_trls_gradient(make_trainer, monkeypatch, forwards, loss):
    """Scaled dot products get a mask of blocks from the positions: slower, and exact."""
    trainer = make_trainer(**LOSSES[loss])
    shapes = forwards(trainer)
    both(trainer, monkeypatch, packed(trainer))
    assert shapes[-1][0] == 1 < shapes[1][0]


@pytest.mark.parametrize("kind", ["llama", "qwen2", "gemma2", "peft", "untied", "granite"])
def test_models_whose_rows_are_in_one_line_have_trls_gradient(make_trainer, make_model, tokenizer, monkeypatch, kind):
    trainer = make_trainer(model=unusual(kind, make_model, tokenizer))
    both(trainer, monkeypatch, packed(trainer), truncated=(0,))


@pytest.fixture
def flash_attention(monkeypatch):
    """FlashAttention as transformers calls it, with a kernel in plain PyTorch; gives the bounds that its layers were given."""
    seen = []

    def attend(q, k, v, causal, softmax_scale, window_size=(-1, -1), **kwargs):
        k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], 1) for x in (k, v))
        behind = torch.arange(len(k))[None, :] - torch.arange(len(q))[:, None] - (len(k) - len(q))
        seen_by = (behind <= 0) if causal else torch.ones_like(behind, dtype=torch.bool)
        if window_size[0] >= 0:
            seen_by &= behind >= -window_size[0]
        scores = torch.einsum("qhd,khd->hqk", q, k) * (softmax_scale or q.shape[-1] ** -0.5)
        return torch.einsum("hqk,khd->qhd", scores.masked_fill(~seen_by, -torch.inf).softmax(-1), v)

    def varying(q, k, v, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, **kwargs):
        assert (max_seqlen_q, cu_seqlens_q.dtype) == (cu_seqlens_q.diff().max(), torch.int32)
        seen.append(cu_seqlens_q.tolist())
        lengths_q, lengths_k = (bounds.diff().tolist() for bounds in (cu_seqlens_q, cu_seqlens_k))
        rows = zip(q.split(lengths_q), k.split(lengths_k), v.split(lengths_k), strict=True)
        return torch.cat([attend(*row, **kwargs) for row in rows])

    def plain(q, k, v, **kwargs):
        return torch.stack([attend(*row, **kwargs) for row in zip(q, k, v, strict=True)])

    names = {"causal", "softmax_scale", "window_size", "max_seqlen_q", "max_seqlen_k"}
    fa = transformers.modeling_flash_attention_utils
    kernels = (plain, varying, None, fa._pad_input, fa._unpad_input)

    def arguments(**kwargs):
        given = {"causal": kwargs["is_causal"], "softmax_scale": kwargs["softmax_scale"], **kwargs}
        if (width := kwargs.get("sliding_window")) is not None:
            given["window_size"] = (width - 1, width - 1)
        return {name: value for name, value in given.items() if name in names}

    monkeypatch.setattr(fa, "lazy_import_flash_attention", lambda *args, **kwargs: (kernels, (arguments, None)))
    return seen


@pytest.mark.parametrize("kind", ["qwen3", "llama", "peft"])
def test_flash_attention_gets_the_bounds_of_the_rows(make_trainer, make_model, tokenizer, monkeypatch, flash_attention, kind):
    model = unusual(kind, make_model, tokenizer)
    trainer = make_trainer(model=model)
    batch = rollouts(trainer)
    plain = update(trainer, batch, Optimizations(False, False, False), monkeypatch)
    model.config._attn_implementation = "flash_attention_2"
    assert set(optimizations(trainer).why_not) == {"share"}
    fast = update(trainer, batch, optimizations(trainer), monkeypatch)
    assert (fast[1] - plain[1]).norm() / plain[1].norm() < 1e-5
    assert {len(bounds) for bounds in flash_attention} == {3}  # two micro-batches of two live rows each
