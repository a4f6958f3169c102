"""The update optimizations give TRL's gradient: same rollouts, same loss, fewer positions."""

import copy
import dataclasses

import pytest
import torch
import transformers
from trl import GRPOTrainer
from trl.trainer import utils as trl_utils

from g2rpo import GuidedGRPOTrainer
from g2rpo.training.fast import update as fast_update
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


@pytest.fixture
def make_trainer(make_model, tokenizer, rows, config, tmp_path):
    def build(kind="qwen3", model=None, accumulation=2, **fields):
        if model is None:
            model = make_model(kind, initializer_range=0.2)
        if fields.get("beta"):
            model.save_pretrained(tmp_path / "model")  # the reference model is loaded from where the model came from
            model.config._name_or_path = str(tmp_path / "model")
        args = config(
            guidance_controller="none",
            gradient_accumulation_steps=accumulation,
            per_device_train_batch_size=8 // accumulation,
            **fields,
        )
        return GuidedGRPOTrainer(model, [reward], args, rows(8), processing_class=tokenizer)

    return build


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


@pytest.fixture
def small_pieces(monkeypatch):
    """Micro-batches fall into as many pieces as they have tokens for; gives how many there were, per window."""
    monkeypatch.setattr(fast_update, "PIECE_TOKENS", {"cpu": 20})
    monkeypatch.setattr(fast_update, "PIECE_FLOPS", {"cpu": 1})
    made, kept = [], FastUpdate._pieces
    monkeypatch.setattr(FastUpdate, "_pieces", lambda *args: made.append(kept(*args)) or made[-1])
    return made


@pytest.fixture
def forwards(monkeypatch):
    """Shapes of the ids that a trainer's model was given since they were asked for."""
    shapes = []

    def watch(trainer):
        inner = trainer.model.get_input_embeddings()
        inner.register_forward_hook(lambda module, inputs, output: shapes.append(tuple(inputs[0].shape)))
        return shapes

    return watch


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
