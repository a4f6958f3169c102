"""The vLLM path without vLLM: TRL's own `VLLMGeneration` and client over an engine that answers like one. What it is asked, per
row, and what is made of its answers."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import trl.generation.vllm_generation as trl_vllm
from trl.generation.vllm_client import VLLMClient

from g2rpo import GuidedGRPOTrainer
from g2rpo.training.presets import preset

CONTEXT = 128
"""Tokens that the engine has room for, prompt and completion together."""


def length_reward(completions, **columns):
    return [float(len(c[0]["content"]) % 5) / 4 for c in completions]


@dataclass
class Parameters:
    """The fields of vLLM's `SamplingParams` that TRL sets."""

    n: int
    max_tokens: int
    temperature: float
    top_p: float
    top_k: int
    min_p: float
    repetition_penalty: float
    logprobs: int | None


class Engine:
    """Goes on until it is stopped. `asked` has (prompt, most new tokens) of every row, in the order of the answers."""

    def __init__(self) -> None:
        self.asked: list[tuple[list[int], int]] = []
        self.refused = 0

    def answer(self, prompt: list[int], most: int) -> list[int]:
        self.asked.append((prompt, most))
        return [10 + (len(self.asked) + t) % 300 for t in range(most)]

    def generate(self, prompts, sampling_params, use_tqdm):
        """`vllm.LLM.generate`."""
        each = sampling_params if isinstance(sampling_params, list) else [sampling_params] * len(prompts)
        rows = []
        for prompt, params in zip(prompts, each, strict=True):
            ids = self.answer(prompt["prompt_token_ids"], params.max_tokens)
            drawn = [{token: SimpleNamespace(rank=1, logprob=-1.0)} for token in ids]
            rows.append(
                SimpleNamespace(
                    prompt_token_ids=prompt["prompt_token_ids"], outputs=[SimpleNamespace(token_ids=ids, logprobs=drawn)]
                )
            )
        return rows

    def post(self, url, json):
        """`POST /v1/completions`."""
        if any(len(prompt) + json["max_tokens"] > CONTEXT for prompt in json["prompt"]):
            self.refused += 1
            return SimpleNamespace(status_code=400, text="maximum context length")
        choices = []
        for prompt in json["prompt"]:
            ids = self.answer(prompt, json["max_tokens"])
            logprobs = {
                "token_logprobs": [-1.0] * len(ids),
                "tokens": [f"token_id:{i}" for i in ids],
                "top_logprobs": [{f"token_id:{i}": -1.0} for i in ids],
            }
            choices.append({"prompt_token_ids": prompt, "token_ids": ids, "logprobs": logprobs})
        return SimpleNamespace(status_code=200, json=lambda: {"choices": choices})


class Generation(trl_vllm.VLLMGeneration):
    """TRL's class without the start of an engine."""

    def __init__(self, trainer: Any, mode: str, engine: Engine) -> None:
        self.__dict__.update(
            mode=mode,
            accelerator=trainer.accelerator,
            model=trainer.model,
            temperature=1.0,
            top_p=1.0,
            top_k=0,
            min_p=None,
            repetition_penalty=1.0,
            max_completion_length=trainer.max_completion_length,
            logprobs=0,
            generation_kwargs={},
            structured_outputs_regex=None,
            tensor_parallel_size=1,
            enable_sleep_mode=False,
            synced=0,
        )
        if mode == "colocate":
            self.llm = engine
        else:
            self.vllm_client = VLLMClient.__new__(VLLMClient)
            self.vllm_client.__dict__.update(base_url="http://server", model="tiny", session=engine)

    def sync_weights(self) -> None:
        self.synced += 1


@pytest.fixture(params=["colocate", "server"])
def over_an_engine(request, monkeypatch):
    monkeypatch.setattr(trl_vllm, "SamplingParams", Parameters, raising=False)

    def attach(trainer: GuidedGRPOTrainer) -> tuple[Engine, Generation]:
        engine = Engine()
        generation = Generation(trainer, request.param, engine)
        trainer.args.use_vllm = trainer.use_vllm = True
        trainer.vllm_generation, trainer._last_loaded_step = generation, -1
        return engine, generation

    return attach


@pytest.mark.parametrize("reuse", [False, True], ids=["computed again", "the engine's"])
@pytest.mark.parametrize("guidance_loss", ["mask", "verified_sft", "policy_gradient", "luffy"])
def test_an_engine_continues_each_row_from_its_own_prefix(
    make_model, tokenizer, rows, config, over_an_engine, guidance_loss, reuse
):
    args = config(
        guidance_controller="fixed",
        guidance_controller_kwargs={"length": 12},
        guidance_loss=guidance_loss,
        max_steps=1,
        vllm_importance_sampling_mode="token_truncate",
        reuse_sampler_logprobs=reuse,
    )
    trainer = GuidedGRPOTrainer(make_model(), [length_reward], args, rows(8), processing_class=tokenizer)
    engine, generation = over_an_engine(trainer)
    kept = {}
    regroup, generate = trainer._advantages, trainer._round
    closed = {}
    trainer._advantages = lambda output, *args: kept.update(output) or regroup(output, *args)

    def watched(rows, number):
        scored = generate(rows, number)
        closed.update(scored.output)
        return scored

    trainer._round = watched
    trainer.train()

    assert generation.synced == 1
    assert len({tuple(prompt) for prompt, _ in engine.asked}) == 4  # two problems, each with and without its prefix
    lengths = kept["completion_mask"].sum(1)
    assert (lengths == args.max_completion_length).all()  # guidance counts
    # Nothing is sampled that is thrown away, and each row has the answer to its own prompt.
    assert sorted(most for _, most in engine.asked) == [args.max_completion_length - 12] * 4 + [args.max_completion_length] * 4
    answers = {tuple(prompt): [] for prompt, _ in engine.asked}
    for number, (prompt, most) in enumerate(engine.asked, 1):
        answers[tuple(prompt)].append([10 + (number + t) % 300 for t in range(most)])
    guidance = torch.zeros_like(kept["completion_mask"])
    for i in range(len(lengths)):
        given = 12 if i % 4 < 2 else 0
        guidance[i, :given] = 1
        prompt = kept["prompt_ids"][i][kept["prompt_mask"][i].bool()].tolist() + kept["completion_ids"][i, :given].tolist()
        answers[tuple(prompt)].remove(kept["completion_ids"][i, given:].tolist())
    assert not any(answers.values())
    ratio = kept["importance_sampling_ratio"]
    if guidance_loss == "mask":
        assert torch.equal(kept["tool_mask"], 1 - guidance)
    elif guidance_loss == "verified_sft":
        arrived = closed["verified"][:, None] > 0
        assert torch.equal(closed["tool_mask"], 1 - guidance * ~arrived)
        assert closed["num_items_in_batch"] == closed["tool_mask"].sum()
    else:
        assert "tool_mask" not in kept
    assert (ratio[guidance.bool()] == 1).all()  # guidance was not sampled: there is nothing to correct
    assert torch.isfinite(ratio).all()
    if reuse:
        assert (kept["old_per_token_logps"][(1 - guidance).bool()] == -1).all()  # what the engine said
        assert (ratio == 1).all()
    assert trainer.state.global_step == 1


def test_a_completion_that_just_fits_is_not_refused(make_model, tokenizer, rows, config, over_an_engine):
    """A server refuses a row whose prompt and new tokens exceed its context; a guided row needs less of them."""
    longest = max(
        len(ids) for ids in tokenizer.apply_chat_template(list(rows(8)["prompt"]), add_generation_prompt=True)["input_ids"]
    )
    args = config(
        guidance_controller="fixed",
        guidance_controller_kwargs={"length": 12},
        max_steps=1,
        max_completion_length=CONTEXT - longest,
    )
    trainer = GuidedGRPOTrainer(make_model(), [length_reward], args, rows(8), processing_class=tokenizer)
    engine, _ = over_an_engine(trainer)
    trainer.train()
    assert engine.refused == 0
    assert max(len(prompt) + most for prompt, most in engine.asked) <= CONTEXT


def test_a_smaller_limit_of_the_users_holds(make_model, tokenizer, rows, config, over_an_engine):
    args = config(guidance_controller="fixed", guidance_controller_kwargs={"length": 12}, max_steps=1)
    trainer = GuidedGRPOTrainer(make_model(), [length_reward], args, rows(8), processing_class=tokenizer)
    engine, generation = over_an_engine(trainer)
    generation.generation_kwargs = {"max_tokens": 40}
    trainer.train()
    assert {most for _, most in engine.asked} == {36, 40}


def test_answers_to_hinted_prompts_are_trained_on_plain_ones_with_the_engines_probabilities(
    make_model, tokenizer, rows, config, over_an_engine, monkeypatch
):
    """Guide: the engine sees the hint, the loss the plain prompt, and the ratio of the two is formed with what the engine said."""
    monkeypatch.setitem(globals(), "CONTEXT", 512)  # a hint makes the prompt longer
    calls = []

    def second_round_succeeds(completions, **columns):
        calls.append(len(completions))
        return [float(len(calls) == 2 and i % 2 == 0) for i in range(len(completions))]

    args = config(**preset("guide"), vllm_importance_sampling_correction=False, max_steps=1, shuffle_dataset=False)
    trainer = GuidedGRPOTrainer(make_model(), [second_round_succeeds], args, rows(8), processing_class=tokenizer)
    engine, _ = over_an_engine(trainer)
    batches, generate = [], trainer._generate_and_score_completions
    trainer._generate_and_score_completions = lambda inputs: batches.append(generate(inputs)) or batches[-1]
    weighed, score = [], trainer._get_per_token_logps_and_entropies

    def watched(*args, **kwargs):
        scores = score(*args, **kwargs)
        weighed.append((scores[0].detach(), dict(trainer.in_loss or {})))
        return scores

    trainer._get_per_token_logps_and_entropies = watched
    trainer.train()
    [batch] = batches
    assert calls == [8, 8]
    asked = [tokenizer.decode(prompt) for prompt, _ in engine.asked]
    assert [("correct solution" in text) for text in asked] == [False] * 8 + [True] * 8
    trained = [ids[mask.bool()].tolist() for ids, mask in zip(batch["prompt_ids"], batch["prompt_mask"], strict=True)]
    assert sorted(trained) == sorted(prompt for prompt, _ in engine.asked[:8])
    assert (batch["hinted_logps"][batch["completion_mask"].bool()] == -1).all()
    assert "importance_sampling_ratio" not in batch
    rows_seen = 0
    for logps, inputs in weighed:
        ratio = torch.exp(logps + 1)
        sign = torch.sign(inputs["advantages"])
        assert torch.equal(sign, sign[:, :1].expand_as(sign))
        size = (inputs["advantages"].abs() / (0.1 * ratio / (ratio + 0.1) ** 2))[inputs["completion_mask"].bool()]
        torch.testing.assert_close(size, size[:1].expand_as(size), rtol=1e-3, atol=1e-3)  # |A|, alike in a group of halves
        rows_seen += len(logps)
    assert rows_seen == 8
