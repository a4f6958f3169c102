"""The forward pass laid out for decoding computes what the library's does, from the weights as they are now, or says why not."""

import logging

import pytest
import torch
import transformers as hf
from accelerate.utils import convert_outputs_to_fp32
from transformers import GenerationConfig

from g2rpo.sampling import packed
from g2rpo.sampling import sample as sampling
from g2rpo.sampling.library import LibraryForward
from g2rpo.sampling.prefill import prefill
from g2rpo.sampling.prepared import PreparedForward
from g2rpo.sampling.recognise import product_type, why_not_prepared
from g2rpo.sampling.sample import sample_rows

V = 97
SMALL = {
    "vocab_size": V,
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 256,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": 0,
    "initializer_range": 0.2,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 1e4,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
YARN = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 32}
KINDS = {
    "llama": lambda: hf.LlamaConfig(**SMALL),
    "llama, biases, tied": lambda: hf.LlamaConfig(**SMALL, attention_bias=True, mlp_bias=True, tie_word_embeddings=True),
    "llama, one key per query": lambda: hf.LlamaConfig(**{**SMALL, "num_key_value_heads": 6}),
    "llama, scaled positions": lambda: hf.LlamaConfig(**SMALL, rope_parameters=LLAMA3),
    "mistral": lambda: hf.MistralConfig(**SMALL, sliding_window=None),
    "qwen2": lambda: hf.Qwen2Config(**SMALL),
    "qwen2, yarn": lambda: hf.Qwen2Config(**SMALL, rope_parameters=YARN),
    "qwen3": lambda: hf.Qwen3Config(**SMALL, head_dim=16),
    "qwen3, another activation": lambda: hf.Qwen3Config(**SMALL, head_dim=16, hidden_act="gelu"),
}
GREEDY = GenerationConfig(do_sample=False)


def build(config, seed=1):
    torch.manual_seed(seed)
    model = hf.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():  # norms and biases that do something
        for p in model.parameters():
            if p.dim() == 1:
                p.add_(0.2 * torch.randn_like(p))
    return model


def ids(n, seed):
    return torch.randint(3, V, (n,), generator=torch.Generator().manual_seed(seed)).tolist()


BASE = ids(20, 0)
PROMPTS = [BASE, BASE, BASE + ids(5, 2), BASE[:1], ids(3, 3), ids(40, 4), BASE + ids(5, 2) + ids(4, 5)]
SYSTEM = [ids(70, 1) + ids(n, n) for n in (3, 9, 1, 20)]


@pytest.fixture(params=[True, False], ids=["packed", "plain"])
def layout(request, monkeypatch):
    """Weights of any size packed, or none."""
    least = {torch.float32: 0, torch.bfloat16: 0} if request.param else {}
    monkeypatch.setattr(packed, "PACKED_ELEMENTS", least)


def steps(forward, prompts, more):
    """Logits (steps, rows, V) of a prefill and some steps with given tokens."""
    lengths = torch.tensor([len(p) - 1 for p in prompts])
    with torch.inference_mode():
        cache = forward.cache(len(prompts), int(lengths.max()) + more + 1)
        cache.stand(lengths, int(lengths.max()))
        prefill(forward, [tuple(p[:-1]) for p in prompts], cache)
        tokens, out = torch.tensor([p[-1] for p in prompts]), []
        for step in range(more):
            cache.stand(lengths + step, int(lengths.max()) + step)
            out.append(forward.step(tokens, lengths + step, cache).float())
            tokens = (tokens * 7 + step) % V
        return torch.stack(out).log_softmax(-1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("prompts", [PROMPTS, SYSTEM], ids=["ragged", "common beginning"])
def test_log_probabilities_are_those_of_the_library(kind, prompts, layout):
    model = build(KINDS[kind]())
    assert why_not_prepared(model) is None
    ours, theirs = (steps(f, prompts, 4) for f in (PreparedForward(model, torch.float32), LibraryForward(model)))
    assert ours == pytest.approx(theirs, abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_greedy_rows_are_those_of_generate(kind, layout):
    model = build(KINDS[kind]())
    ours, theirs = (
        sample_rows(model, PROMPTS, [25, 3, 30, 12, 30, 7, 9], GREEDY, eos_ids=[1, 2, 50, 60], pad_id=0, fast=fast)
        for fast in (True, False)
    )
    assert ours == theirs


@pytest.mark.parametrize("kind", ["llama", "qwen3"])
@pytest.mark.parametrize("autocast", [True, False], ids=["float32 weights under autocast", "bfloat16 weights"])
def test_in_bfloat16_it_is_as_close_to_float32_as_the_library_is(kind, autocast, layout):
    """Both round at the same places, but sum in another order; the bound is on how far each is from float32 arithmetic."""
    model = build(KINDS[kind]())
    exact = steps(LibraryForward(model), PROMPTS, 4)
    if autocast:
        model.forward = torch.autocast("cpu", torch.bfloat16)(model.forward)
    else:
        model.bfloat16()
    ours, theirs = steps(PreparedForward(model, torch.bfloat16), PROMPTS, 4), steps(LibraryForward(model), PROMPTS, 4)
    assert (ours - exact).pow(2).mean().sqrt() < 1.1 * (theirs - exact).pow(2).mean().sqrt()
    assert (ours - theirs).abs().mean() < (theirs - exact).abs().mean()


def test_products_are_computed_in_the_type_of_the_models_forward_pass():
    model = build(KINDS["llama"]())
    assert product_type(model) == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert product_type(model) == torch.bfloat16
    model.forward = convert_outputs_to_fp32(torch.autocast("cpu", torch.bfloat16)(model.forward))
    assert why_not_prepared(model) is None
    assert product_type(model) == torch.bfloat16
    assert product_type(build(KINDS["llama"]()).bfloat16()) == torch.bfloat16


@pytest.mark.parametrize("how", ["in place", "data"])
def test_weights_that_changed_between_batches_are_the_ones_used(how, layout):
    model = build(KINDS["qwen3"]())
    before = sample_rows(model, PROMPTS, [8] * 7, GREEDY, eos_ids=[], pad_id=0)
    with torch.no_grad():
        for p in model.parameters():
            if how == "in place":
                p.add_(0.1 * torch.randn_like(p))
            else:
                p.data.mul_(1 + 0.1 * torch.randn_like(p))
    ours, theirs = (sample_rows(model, PROMPTS, [8] * 7, GREEDY, eos_ids=[], pad_id=0, fast=fast) for fast in (True, False))
    assert ours == theirs != before


def test_hooks_of_embedding_and_head_are_followed():
    model, seen = build(KINDS["llama"]()), []
    model.get_input_embeddings().register_forward_pre_hook(lambda module, arguments: seen.append(tuple(arguments[0].shape)))
    model.get_output_embeddings().register_forward_hook(
        lambda module, arguments, logits: logits.index_fill(-1, torch.tensor(9), 99)
    )
    assert why_not_prepared(model) is None
    rows = sample_rows(model, PROMPTS[:2], [3, 2], GREEDY, eos_ids=[], pad_id=0)
    assert [row.ids for row in rows] == [[9] * 3, [9] * 2]
    assert seen[-3:] == [(2, 1), (2, 1), (1, 1)]
    assert "forward" not in vars(model.get_output_embeddings())


def _adapted(model):
    peft = pytest.importorskip("peft")
    return peft.get_peft_model(model, peft.LoraConfig(target_modules=["q_proj"])).get_base_model()


def _hooked(model):
    model.model.layers[1].register_forward_hook(lambda *_: None)
    return model


def _replaced(model):
    model.model.layers[0].mlp.forward = lambda x: x
    return model


def _wrapped(model):
    own = model.forward
    model.forward = lambda **inputs: own(**inputs)
    return model


def _mixed(model):
    model.model.norm.bfloat16()
    return model


REFUSED = {
    "peft.tuners.lora": _adapted,
    "layers.1 has hooks": _hooked,
    "model.layers.0.mlp has a forward pass of its own": _replaced,
    "LlamaForCausalLM has a forward pass of its own": _wrapped,
    "torch.bfloat16, torch.float32": _mixed,
}


@pytest.mark.parametrize("reason", REFUSED)
def test_a_model_that_was_changed_keeps_the_librarys_pass_and_one_line_says_why(reason, caplog):
    model = REFUSED[reason](build(KINDS["llama"]()))
    sampling._say.cache_clear()
    with caplog.at_level(logging.INFO, "g2rpo.sampling.sample"):
        for _ in range(2):
            assert isinstance(sampling._forward(model), LibraryForward)
    assert caplog.text.count("Decoding with the library's forward pass") == 1
    assert reason in caplog.text


def test_other_families_and_windows_keep_the_librarys_pass():
    assert "not laid out like" in why_not_prepared(build(hf.Olmo2Config(**SMALL)))
    assert "a window" in why_not_prepared(build(hf.MistralConfig(**SMALL, sliding_window=12)))


def test_too_little_memory_for_copies_keeps_the_librarys_pass(monkeypatch):
    monkeypatch.setattr("g2rpo.sampling.recognise.FREE_MEMORY", 0.0)
    assert "memory are free" in why_not_prepared(build(KINDS["llama"]()))
