"""The decode loop gives what `generate` gives: the same tokens, greedily and from the same generator, for less work."""

import pytest
import torch
import transformers as hf
from transformers import GenerationConfig

from g2rpo.sampling import sample as sampling
from g2rpo.sampling.cache import RowCache
from g2rpo.sampling.prefill import batches, carriers, common_prefix
from g2rpo.sampling.sample import sample_rows, why_not

V = 97
SMALL = {
    "vocab_size": V,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "intermediate_size": 64,
    "max_position_embeddings": 256,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": 0,
    "initializer_range": 0.3,
}
FAST = {
    "qwen3": lambda: hf.Qwen3Config(**SMALL, head_dim=16),
    "llama": lambda: hf.LlamaConfig(**SMALL),
    "window in every layer": lambda: hf.MistralConfig(**SMALL, sliding_window=12),
    "window in some layers": lambda: hf.Gemma3TextConfig(
        **SMALL, head_dim=16, sliding_window=12, layer_types=["sliding_attention", "full_attention"]
    ),
    "learned positions": lambda: hf.GPT2Config(
        vocab_size=V, n_embd=32, n_layer=2, n_head=2, n_positions=256, bos_token_id=None, eos_token_id=None
    ),
    "experts": lambda: hf.Qwen3MoeConfig(**SMALL, head_dim=16, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=16),
}
SLOW = {
    "does not use the library": lambda: hf.BloomConfig(
        vocab_size=V, hidden_size=32, n_layer=2, n_head=2, bos_token_id=None, eos_token_id=None
    ),
    "in a way of its own": lambda: hf.Phi3Config(**SMALL),
    "text model inside another": lambda: hf.Mistral3Config(
        text_config=hf.MistralConfig(**SMALL).to_dict(),
        vision_config={
            "model_type": "pixtral",
            "hidden_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 1,
            "intermediate_size": 16,
            "image_size": 28,
            "patch_size": 14,
        },
    ),
    "length of the longest row": lambda: hf.LlamaConfig(
        **SMALL, rope_parameters={"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}
    ),
}
ENDS = [1, 2, 50, 51, 60]


def build(config):
    torch.manual_seed(1)
    kind = hf.AutoModelForImageTextToText if isinstance(config, hf.Mistral3Config) else hf.AutoModelForCausalLM
    return kind.from_config(config).eval()


def ids(n, seed):
    return torch.randint(3, V, (n,), generator=torch.Generator().manual_seed(seed)).tolist()


BASE, SYSTEM = ids(20, 0), ids(70, 1)
RAGGED = [BASE, BASE, BASE + ids(5, 2), BASE[:1], ids(3, 3), ids(40, 4), BASE + ids(5, 2) + ids(4, 5)]
COMMON = [SYSTEM + ids(n, n) for n in (3, 9, 1, 20)]
BUDGETS = [25, 3, 30, 12, 30, 7, 9]


def both(model, prompts, config):
    """Rows of the loop and of `generate`, and a number drawn from the generator after each."""
    out = []
    for fast in (True, False):
        torch.manual_seed(3)
        rows = sample_rows(model, prompts, BUDGETS[: len(prompts)], config, eos_ids=ENDS, pad_id=0, fast=fast)
        out.append(([r.ids for r in rows], torch.rand(1).item()))
    return out


@pytest.mark.parametrize("kind", FAST)
@pytest.mark.parametrize("prompts", [RAGGED, COMMON], ids=["ragged", "common beginning"])
def test_greedy_rows_are_those_of_generate(kind, prompts):
    model = build(FAST[kind]())
    assert why_not(model) is None
    ours, theirs = both(model, prompts, GenerationConfig(do_sample=False))
    assert ours == theirs


@pytest.mark.parametrize(
    "settings", [{}, {"temperature": 0.8, "top_p": 0.9, "top_k": 40, "min_p": 0.01}], ids=["plain", "shaped"]
)
def test_unseeded_rows_are_those_of_generate_and_so_is_the_generator_after_them(settings):
    model = build(FAST["qwen3"]())
    ours, theirs = both(model, RAGGED, GenerationConfig(do_sample=True, **{"temperature": 1.0, **settings}))
    assert ours == theirs
    assert len({len(row) for row in ours[0]}) > 2  # rows did end at different steps


def test_eager_attention_gives_the_same_rows():
    model = build(FAST["qwen3"]())
    model.set_attn_implementation("eager")
    ours, theirs = both(model, RAGGED, GenerationConfig(do_sample=False))
    assert ours == theirs


@pytest.mark.parametrize("own", ["flash_attention_2", "flex_attention"])
def test_attention_without_masks_of_its_own_decodes_with_pytorchs(own):
    model = build(FAST["window in some layers"]())
    _, theirs = both(model, RAGGED, GenerationConfig(do_sample=False))
    model.config._attn_implementation = own
    rows = sample_rows(model, RAGGED, BUDGETS, GenerationConfig(do_sample=False), eos_ids=ENDS, pad_id=0)
    assert [row.ids for row in rows] == theirs[0]
    assert model.config._attn_implementation == own


@pytest.mark.parametrize("reason", SLOW)
def test_what_the_loop_does_not_follow_goes_through_generate_and_says_why(reason, caplog):
    model = build(SLOW[reason]())
    sampling._say.cache_clear()
    ours, theirs = both(model, RAGGED, GenerationConfig(do_sample=False))
    assert ours == theirs
    assert reason in caplog.text


def test_settings_of_the_models_own_shape_unseeded_rows_as_in_generate():
    model = build(FAST["qwen3"]())
    model.generation_config.min_p = 0.5
    ours, theirs = both(model, RAGGED, GenerationConfig(do_sample=True, temperature=1.0))
    assert ours == theirs
    model.generation_config.no_repeat_ngram_size = 2
    ours, theirs = both(model, RAGGED, GenerationConfig(do_sample=False))
    assert ours == theirs


def test_a_step_computes_the_unfinished_rows_alone_and_a_group_its_longest_member():
    model, seen = build(FAST["qwen3"]()), []
    model.register_forward_pre_hook(lambda module, args, kwargs: seen.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True)
    trace = ids(30, 7)
    prompts = [BASE] * 4 + [BASE + trace[:n] for n in (4, 9, 20, 30)]
    sample_rows(model, prompts, [2, 4, 4, 1, 1, 2, 3, 3], GenerationConfig(do_sample=False), eos_ids=[], pad_id=0)
    assert seen == [(1, 49), (8, 1), (6, 1), (4, 1), (2, 1)]


def test_a_context_is_carried_by_the_longest_that_begins_with_it():
    contexts = [(1,), (1, 2), (1, 2, 3), (1, 3), (2,), (), (2,)]
    assert all(long[: len(ids)] == ids for ids, long in carriers(contexts).items())
    assert set(carriers(contexts).values()) == {(1, 2, 3), (1, 3), (2,)}
    assert common_prefix([(1, 2, 3), (1, 2), (1, 2, 4)]) == 2


def test_batches_of_prompts_take_all_and_pad_little():
    lengths = [100, 5, 98, 6, 97, 300]
    made = list(batches(lengths, 8))
    assert sorted(i for b in made for i in b) == list(range(6))
    assert all(sum(max(lengths[i] for i in b) - lengths[i] for i in b) <= 8 for b in made)
    assert len(made) == 3


def test_a_cache_keeps_rows_by_moving_as_few_as_possible():
    cache = RowCache(1, 5, 8, torch.device("cpu"))
    cache.stand(torch.zeros(5, dtype=torch.long), 0)
    states = torch.arange(5.0).view(5, 1, 1, 1)
    cache.update(states, states, 0)
    assert cache.keep([0, 3, 4]) == [0, 3, 4]
    cache.stand(torch.ones(3, dtype=torch.long), 1)
    keys, _ = cache.update(torch.full((3, 1, 1, 1), 9.0), torch.full((3, 1, 1, 1), 9.0), 0)
    assert keys.shape == (3, 1, 2, 1)
    assert sorted(keys[:, 0, 0, 0].tolist()) == [0.0, 3.0, 4.0]
    assert keys[0, 0, 0, 0] == 0.0
