"""What sampling a rollout means: its own randomness, the model's own distribution, its own budget."""

import pytest
import torch
from transformers import GenerationConfig

from g2rpo.errors import ConfigError
from g2rpo.sampling.draw import CHUNK, InverseCDF, _invert
from g2rpo.sampling.sample import Sampled, sample_rows
from g2rpo.seeds import seed_of

CONFIG = GenerationConfig(do_sample=True, temperature=1.0)


@pytest.fixture
def sample(make_model, tokenizer):
    """`sample(prompts, budgets, seeds)` on a tiny model whose EOS never comes unless asked for."""
    model = make_model()

    def run(prompts, budgets, seeds=None, config=CONFIG, eos_ids=None, model=model):
        ids = [tokenizer.eos_token_id] if eos_ids is None else eos_ids
        return sample_rows(model, prompts, budgets, config, eos_ids=ids, pad_id=tokenizer.pad_token_id, seeds=seeds)

    run.model = model
    return run


PROMPTS = [[10, 11, 12], [20], list(range(30, 50)), [40, 41]]
SEEDS = [seed_of("row", i) for i in range(4)]


def test_seeded_rows_do_not_depend_on_who_shares_their_batch(sample):
    together = sample(PROMPTS, [12] * 4, SEEDS)
    for i in range(4):
        assert sample([PROMPTS[i]], [12], [SEEDS[i]])[0].ids == together[i].ids


def test_seeded_rows_do_not_depend_on_their_order(sample):
    order = [2, 0, 3, 1]
    straight = sample(PROMPTS, [12] * 4, SEEDS)
    shuffled = sample([PROMPTS[i] for i in order], [12] * 4, [SEEDS[i] for i in order])
    assert [straight[i].ids for i in order] == [r.ids for r in shuffled]


def test_seeded_rows_do_not_depend_on_other_rows_budgets_nor_on_global_randomness(sample):
    alone = sample([PROMPTS[0]], [5], [SEEDS[0]])[0].ids
    torch.manual_seed(99)
    assert sample(PROMPTS[:2], [5, 30], SEEDS[:2])[0].ids == alone


def test_a_longer_budget_continues_the_same_rollout(sample):
    short, long = sample([PROMPTS[0]], [4], [7])[0], sample([PROMPTS[0]], [12], [7])[0]
    assert long.ids[: len(short.ids)] == short.ids


def test_different_seeds_give_different_rollouts(sample):
    rows = sample([PROMPTS[0]] * 16, [8] * 16, [seed_of(i) for i in range(16)])
    assert len({tuple(r.ids) for r in rows}) == 16


def test_each_row_keeps_to_its_own_budget(sample):
    rows = sample(PROMPTS, [1, 3, 7, 2], SEEDS, eos_ids=[])
    assert [len(r.ids) for r in rows] == [1, 3, 7, 2]
    rows = sample(PROMPTS, [1, 3, 7, 2], None, eos_ids=[])
    assert [len(r.ids) for r in rows] == [1, 3, 7, 2]


def forced(make_model, *tokens):
    """A model that says `tokens[0]` for ever; with two tokens, `tokens[i]` for ever after a prompt that ends in 5 + i."""
    model, read = make_model(tie_word_embeddings=False), []

    def say(module, inputs, out):
        said = torch.tensor([{5 + i: t for i, t in enumerate(tokens)}.get(x, x) if len(tokens) > 1 else tokens[0] for x in read])
        return (torch.nn.functional.one_hot(said, out.shape[-1]).to(out.dtype) * 1e4)[:, None].expand_as(out)

    def listen(module, args, kwargs):
        read[:] = kwargs["input_ids"][:, -1].tolist()

    model.register_forward_pre_hook(listen, with_kwargs=True)
    model.lm_head.register_forward_hook(say)
    return model


def test_a_row_ends_with_its_eos_included(make_model, sample, tokenizer):
    model = forced(make_model, tokenizer.eos_token_id)
    assert sample(PROMPTS, [9] * 4, SEEDS, model=model) == [Sampled([tokenizer.eos_token_id], [0.0])] * 4
    assert [r.ids for r in sample(PROMPTS, [9] * 4, model=model)] == [[tokenizer.eos_token_id]] * 4


def test_an_eos_inside_the_prompt_does_not_end_a_row(sample, tokenizer):
    eos = tokenizer.eos_token_id
    rows = sample([[10, eos, 11, eos]], [6], [3], eos_ids=[eos])
    assert len(rows[0].ids) == 6 or rows[0].ids[-1] == eos


def test_no_filler_is_ever_part_of_a_result(make_model, sample, tokenizer):
    # The first row stops at once, the other goes on: what fills the first meanwhile is not its own.
    rows = sample([[5], [6]], [9, 9], [1, 2], model=forced(make_model, tokenizer.eos_token_id, 77))
    assert [r.ids for r in rows] == [[tokenizer.eos_token_id], [77] * 9]
    rows = sample([[5], [6]], [2, 9], [1, 2], model=forced(make_model, 78, 77))
    assert [r.ids for r in rows] == [[78] * 2, [77] * 9]


def test_an_end_known_to_the_model_alone_leaves_no_filler_either(make_model, sample, tokenizer):
    # Llama-3 and Qwen3 name several ends in their generation config and one in their tokenizer.
    end = tokenizer.convert_tokens_to_ids("<|im_start|>")
    model = forced(make_model, end, 77)
    model.generation_config.eos_token_id = [tokenizer.eos_token_id, end]
    row = sample([[5], [6]], [9, 9], [1, 2], model=model)[0]
    assert row.ids in ([end], [end] * 9)  # an end, or a token like any other; never followed by filler


# --- the distribution


def next_token_probabilities(model, prompt, config):
    from g2rpo.sampling.draw import warpers

    with torch.no_grad():
        logits = model(torch.tensor([prompt])).logits[:, -1]
    return torch.softmax(warpers(config)(torch.tensor([prompt]), logits).double(), -1)[0]


SETTINGS = {
    "plain": {},
    "temperature": {"temperature": 0.5},
    "top_k": {"top_k": 5},
    "top_p": {"top_p": 0.7},
    "min_p": {"min_p": 0.1},
    "all": {"temperature": 1.5, "top_k": 9, "top_p": 0.9, "min_p": 0.05},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_seeded_sampling_draws_from_the_softmax(make_model, sample, settings):
    """Pearson's chi-square over a vocabulary of 12; its 99.9 % quantile at 11 degrees of freedom is 31.3."""
    model = make_model(vocab_size=12, eos_token_id=None, pad_token_id=0, initializer_range=0.12)
    config = GenerationConfig(**{"do_sample": True, "temperature": 1.0, **settings})
    prompt, n = [3, 1, 4], 4000
    wanted = next_token_probabilities(model, prompt, config)
    rows = sample([prompt] * n, [1] * n, [seed_of("draw", i) for i in range(n)], config, eos_ids=[], model=model)
    counts = torch.bincount(torch.tensor([r.ids[0] for r in rows]), minlength=12).double()
    assert counts[wanted == 0].sum() == 0
    likely = wanted * n >= 5
    expected, seen = wanted[likely] * n, counts[likely]
    assert ((seen - expected) ** 2 / expected).sum() < 31.3
    assert likely.sum() >= 2


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_the_logprobs_returned_are_the_models_own_under_teacher_forcing(sample, settings):
    """Within 1e-4 in float32: cached, left-padded decoding against one plain forward pass per row."""
    from g2rpo.sampling.draw import warpers

    config = GenerationConfig(**{"do_sample": True, "temperature": 1.0, **settings})
    for prompt, row in zip(PROMPTS, sample(PROMPTS, [12, 9, 5, 12], SEEDS, config), strict=True):
        assert len(row.logprobs) == len(row.ids)
        ids = torch.tensor([prompt + row.ids])
        with torch.no_grad():
            logits = sample.model(ids).logits[0, len(prompt) - 1 : -1]
        logp = torch.log_softmax(warpers(config)(ids, logits), -1)
        wanted = logp.gather(1, torch.tensor(row.ids)[:, None])[:, 0]
        assert torch.tensor(row.logprobs) == pytest.approx(wanted, abs=1e-4)


def test_a_models_own_generation_defaults_do_not_shape_seeded_draws(make_model, sample):
    """What a checkpoint's generation_config.json suggests (Qwen3: top_k 20, top_p 0.95, temperature 0.6) is not ours to use."""
    model = make_model()
    plain = sample(PROMPTS, [10] * 4, SEEDS, model=model)
    model.generation_config.update(do_sample=True, top_k=2, top_p=0.1, temperature=0.1)
    assert [r.ids for r in sample(PROMPTS, [10] * 4, SEEDS, model=model)] == [r.ids for r in plain]


def test_a_models_own_repetition_penalty_does_not_shape_seeded_draws(make_model, sample):
    model = make_model(initializer_range=0.5)
    plain = sample(PROMPTS, [20] * 4, SEEDS, model=model)
    model.generation_config.repetition_penalty = 5.0
    assert [r.ids for r in sample(PROMPTS, [20] * 4, SEEDS, model=model)] == [r.ids for r in plain]


def test_sampling_changes_neither_the_callers_config_nor_the_model(sample):
    config = GenerationConfig(do_sample=True, temperature=0.7, top_k=5, max_new_tokens=99)
    before, own = config.to_dict(), sample.model.generation_config.to_dict()
    sample(PROMPTS, [3] * 4, SEEDS, config)
    assert config.to_dict() == before
    assert sample.model.generation_config.to_dict() == own


@pytest.mark.parametrize("name", ["typical_p", "epsilon_cutoff", "eta_cutoff"])
def test_settings_that_seeded_sampling_cannot_follow_are_refused(sample, name):
    with pytest.raises(ConfigError, match=rf"generation_kwargs\['{name}'\] is 0.5"):
        sample(PROMPTS, [3] * 4, SEEDS, GenerationConfig(do_sample=True, **{name: 0.5}))


@pytest.mark.parametrize("u", [0.0, 1 - 2**-53])
def test_the_extreme_uniform_numbers_still_draw_possible_tokens(u):
    draw = InverseCDF([0], 1)
    draw.uniform_TB1 = torch.tensor([[[u]]], dtype=torch.double)
    token, logprob = draw(torch.tensor([[-torch.inf, 1.0, 2.0, -torch.inf]]), torch.tensor([0]))
    assert token.item() == (1 if u == 0 else 2)
    assert logprob.isfinite().all()


def test_a_large_vocabulary_is_searched_in_parts_with_the_same_result():
    torch.manual_seed(0)
    p = torch.softmax(3 * torch.randn(300, 2 * CHUNK + 77), -1)
    p[:, CHUNK : 2 * CHUNK] *= torch.randint(0, 2, (300, 1))  # whole parts of probability zero
    u = torch.rand(300, 1, dtype=torch.double)
    u[:2] = torch.tensor([[0.0], [1 - 2**-53]])
    cdf = p.cumsum(-1, dtype=torch.double)
    drawn = _invert(p, u)
    assert torch.equal(drawn[2:], torch.searchsorted(cdf, u * cdf[:, -1:], right=True)[2:])
    assert (p.gather(1, drawn) > 0).all()


@pytest.mark.parametrize("kind", ["qwen3", "llama"])
def test_under_autocast_rows_are_drawn_from_what_the_model_says_there(make_model, tokenizer, kind):
    """As in every run with `bf16: true` and weights in float32: some of the keys and values come in bf16, some do not."""
    model, seeds = make_model(kind), [seed_of("autocast", i) for i in range(4)]
    model.forward = torch.autocast("cpu", torch.bfloat16)(model.forward)  # as Accelerate wraps it
    rows = sample_rows(
        model, PROMPTS, [12] * 4, CONFIG, eos_ids=[tokenizer.eos_token_id], pad_id=tokenizer.pad_token_id, seeds=seeds
    )
    for prompt, row in zip(PROMPTS, rows, strict=True):
        with torch.no_grad():
            logp = model(torch.tensor([[*prompt, *row.ids]])).logits[0, len(prompt) - 1 : -1].float().log_softmax(-1)
        scored = logp[torch.arange(len(row.ids)), torch.tensor(row.ids)]
        assert row.logprobs == pytest.approx(scored.tolist(), abs=0.05)


@pytest.mark.parametrize("attention", [True, False])
def test_seeded_rows_go_without_dropout(make_model, tokenizer, attention):
    """A model in training, as in a trainer: a row's tokens hang neither on its neighbours nor on torch's generator."""
    model = make_model("llama", attention_dropout=0.3 if attention else 0.0).train()
    if not attention:
        model.model.layers[0].mlp.act_fn = torch.nn.Sequential(torch.nn.SiLU(), torch.nn.Dropout(0.3)).train()

    def draw(prompts, seeds, **settings):
        rows = sample_rows(
            model,
            prompts,
            [12] * len(prompts),
            CONFIG,
            eos_ids=[tokenizer.eos_token_id],
            pad_id=tokenizer.pad_token_id,
            seeds=seeds,
            **settings,
        )
        return [row.ids for row in rows]

    assert draw(PROMPTS, SEEDS) == draw(PROMPTS, SEEDS) == draw(PROMPTS, SEEDS, fast=False)
    assert draw(PROMPTS[1:2], SEEDS[1:2]) == draw(PROMPTS, SEEDS)[1:2]
    assert all(module.training for module in model.modules())
    torch.manual_seed(0)
    ours = draw(PROMPTS, None)
    torch.manual_seed(0)
    assert ours == draw(PROMPTS, None, fast=False)  # with dropout, as TRL


@pytest.mark.parametrize(("quantized", "autocast"), [(False, False), (True, False), (False, True)])
def test_inference_mode_only_where_nothing_is_kept(make_model, monkeypatch, quantized, autocast):
    model, modes = make_model("qwen3"), []
    model.is_quantized = quantized
    model.register_forward_hook(lambda *_: modes.append(torch.is_inference_mode_enabled()))
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        sample_rows(model, [[5, 6, 7]], [2], GenerationConfig(do_sample=False), eos_ids=[1], pad_id=0)
    assert set(modes) == {not (quantized or autocast)}
