"""What is drawn, in which batches, by whom."""

import sys
from types import ModuleType, SimpleNamespace

import pytest

from g2rpo.errors import ConfigError
from g2rpo.evaluation import engines
from g2rpo.evaluation.checkpoint import Checkpoint
from g2rpo.evaluation.engines import (
    PRESETS,
    Decoding,
    Request,
    TransformersEngine,
    batches,
    decoding,
    engine_name,
    open_engine,
    requests,
)
from g2rpo.seeds import seed_of


def seeds(key, sample):
    return seed_of(0, "x", key, sample)


def test_presets():
    assert decoding("paper") == Decoding(0.6, 0.95, 20)
    assert decoding("paper", temperature=1.0, top_k=0) == Decoding(1.0, 0.95, 0)
    assert PRESETS["greedy"].greedy
    with pytest.raises(ConfigError, match="Did you mean 'greedy'"):
        decoding("gredy")
    for wrong in ({"temperature": -1}, {"top_p": 0}, {"top_p": 1.1}, {"top_k": -1}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            decoding("greedy", **wrong)


def test_requests_have_randomness_of_their_own():
    plan = requests([[1], [1, 2]], ["a", "b"], 2, budget=10, room=None, seeds=seeds, suite="x")
    assert [(r.problem, r.sample) for r in plan] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert len({r.seed for r in plan}) == 4
    more = requests([[1], [1, 2]], ["a", "b"], 3, budget=10, room=None, seeds=seeds, suite="x")
    assert {r.seed for r in plan} < {r.seed for r in more}


def test_a_budget_ends_where_the_model_does():
    [short, long] = requests([[1], [1] * 6], ["a", "b"], 1, budget=10, room=8, seeds=seeds, suite="x")
    assert (short.budget, long.budget) == (7, 2)
    with pytest.raises(ConfigError, match="prompt of problem 0 of x is '8 tokens'"):
        requests([[1] * 8], ["a"], 1, budget=10, room=8, seeds=seeds, suite="x")


def test_batches_hold_like_lengths_the_longest_first():
    plan = [Request(i, 0, (1,) * n, 5, 0) for i, n in enumerate((3, 9, 4, 9, 1))]
    assert [[len(r.ids) for r in batch] for batch in batches(plan, 2)] == [[9, 9], [4, 3], [1]]
    assert [[r.problem for r in batch] for batch in batches(plan, 2)] == [[1, 3], [2, 0], [4]]


def test_unknown_engines():
    with pytest.raises(ConfigError, match="auto, transformers or vllm"):
        engine_name("tgi")
    with pytest.raises(ConfigError, match="vLLM installed, and an accelerator or the build"):
        engine_name("vllm")
    assert engine_name("auto") == "transformers"


def test_vllm_on_a_processor_where_it_is_built_for_one(monkeypatch):
    platforms = ModuleType("vllm.platforms")
    platforms.current_platform = SimpleNamespace(is_cpu=lambda: True)
    monkeypatch.setitem(sys.modules, "vllm", ModuleType("vllm"))
    monkeypatch.setitem(sys.modules, "vllm.platforms", platforms)
    monkeypatch.setattr(engines, "find_spec", lambda name: object())
    assert engine_name("vllm") == "vllm"
    assert engine_name("auto") == "transformers"  # its start takes longer than most evaluations on a processor
    platforms.current_platform.is_cpu = lambda: False
    with pytest.raises(ConfigError, match="vLLM installed, and an accelerator or the build"):
        engine_name("vllm")


def test_greedy_rows_are_those_of_generate(make_model, tokenizer):
    """In one batch with others, of other lengths: the same tokens as alone."""
    import torch

    model = make_model("qwen3", seed=3).eval()
    prompts = [tokenizer(f"{n} plus {n}" * (1 + n % 3))["input_ids"] for n in range(9)]
    engine = TransformersEngine(model, tokenizer, Decoding())
    plan = requests(prompts, list("abcdefghi"), 1, budget=12, room=None, seeds=seeds, suite="x")
    for batch in batches(plan, 4):
        for request, ids in zip(batch, engine(batch), strict=True):
            alone = model.generate(
                torch.tensor([request.ids]), max_new_tokens=12, do_sample=False, pad_token_id=tokenizer.pad_token_id
            )
            assert alone[0, len(request.ids) :].tolist() == ids


def test_vllm_gets_ids_budgets_and_seeds(monkeypatch, make_model, tokenizer, tmp_path):
    """The path through vLLM, with something in its place that answers each prompt with its own length."""
    calls = {}

    class LLM:
        def __init__(self, **kwargs):
            calls["init"] = kwargs

        def generate(self, prompts, params, use_tqdm):
            calls["params"] = params
            return [SimpleNamespace(outputs=[SimpleNamespace(token_ids=(len(p["prompt_token_ids"]), 2))]) for p in prompts]

    stand_in = ModuleType("vllm")
    stand_in.LLM, stand_in.SamplingParams = LLM, lambda **kwargs: SimpleNamespace(**kwargs)
    monkeypatch.setitem(sys.modules, "vllm", stand_in)
    merged = Checkpoint(str(tmp_path), make_model("qwen3"), tokenizer, "digest", merged=True)
    engine = open_engine("vllm", merged, PRESETS["paper"], max_length=64)
    plan = requests([[5, 6, 7], [8]], ["a", "b"], 1, budget=10, room=None, seeds=seeds, suite="x")
    assert engine(plan) == [[3, 2], [1, 2]]
    engine.close()
    assert calls["init"]["max_model_len"] == 64
    assert calls["init"]["enforce_eager"]  # on a processor
    assert calls["init"]["dtype"] == "float32"
    assert calls["init"]["model"] != str(tmp_path)  # the merged weights, not the adapter's folder
    first = calls["params"][0]
    assert (first.temperature, first.top_p, first.top_k, first.max_tokens) == (0.6, 0.95, 20, 10)
    assert first.seed == plan[0].seed % 2**32
    assert first.stop_token_ids == [tokenizer.eos_token_id]
