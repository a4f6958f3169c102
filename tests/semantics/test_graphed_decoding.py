"""Steps of fixed shape, as a CUDA graph needs them, give the rows of the usual steps; on a CUDA device they are recorded."""

import pytest
import torch
import transformers as hf
from transformers import GenerationConfig

from g2rpo.sampling import sample as sampling
from g2rpo.sampling.graphs import SPAN, GraphedForward
from g2rpo.sampling.prepared import PreparedForward
from g2rpo.sampling.sample import sample_rows
from tests.semantics.test_prepared_forward import BASE, KINDS, PROMPTS, build, ids

BUDGETS = [25, 3, 30, 12, 30, 7, 9]
SAMPLED = GenerationConfig(do_sample=True, temperature=1.0)
ON_CARD = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def sample(model, forward, prompts, budgets, monkeypatch, config=SAMPLED):
    monkeypatch.setattr(sampling, "_forward", lambda inner: forward(inner, torch.float32))
    seeds = None if not config.do_sample else range(len(prompts))
    return sample_rows(model, prompts, budgets, config, eos_ids=[1, 2, 50, 60], pad_id=0, seeds=seeds)


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3"])
@pytest.mark.parametrize("prompts", [PROMPTS, [BASE[:1]] * 7], ids=["ragged", "no context"])
def test_rows_are_those_of_steps_of_any_shape(kind, prompts, monkeypatch):
    model = build(KINDS[kind]())
    theirs = sample(model, PreparedForward, prompts, BUDGETS, monkeypatch)
    ours = sample(model, GraphedForward, prompts, BUDGETS, monkeypatch)
    assert [r.ids for r in ours] == [r.ids for r in theirs]
    for a, b in zip(ours, theirs, strict=True):
        assert a.logprobs == pytest.approx(b.logprobs, abs=1e-4)


def test_spans_grow_and_rows_shrink(monkeypatch):
    config = KINDS["llama"]()
    config.max_position_embeddings = 2 * SPAN + 64
    model = build(config)
    prompts, budgets = [ids(SPAN - 5, 7), ids(SPAN - 9, 8), BASE, ids(60, 9)], [20, 30, 4, SPAN + 20]
    spans = []

    class Watched(GraphedForward):
        def _record(self, cache):
            super()._record(cache)
            spans.append((self.rows, self.span))

    theirs = sample(model, PreparedForward, prompts, budgets, monkeypatch, GenerationConfig(do_sample=False))
    ours = sample(model, Watched, prompts, budgets, monkeypatch, GenerationConfig(do_sample=False))
    assert [r.ids for r in ours] == [r.ids for r in theirs]
    assert len(spans) > 1
    assert spans[0] == (4, SPAN)


@ON_CARD
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_recording_gives_what_single_launches_give(dtype, monkeypatch):
    model = build(hf.LlamaConfig(**{**KINDS["llama"]().to_dict()})).to("cuda", dtype)
    greedy = GenerationConfig(do_sample=False)
    recorded = []

    class Watched(GraphedForward):
        def _record(self, cache):
            super()._record(cache)
            recorded.append(self.graph is not None)

    def rows(forward):
        monkeypatch.setattr(sampling, "_forward", lambda inner: forward(inner, dtype))
        return sample_rows(model, PROMPTS, BUDGETS, greedy, eos_ids=[1, 2, 50, 60], pad_id=0)

    assert rows(Watched) == rows(PreparedForward)
    assert all(recorded)
