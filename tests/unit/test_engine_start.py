"""What is refused before an engine is started or a server taken, each in a sentence; no vLLM is needed to see it."""

import logging
import warnings
from types import SimpleNamespace

import pytest
import torch
import trl.generation.vllm_generation as trl_vllm
import trl.trainer.grpo_trainer as trl_trainer
from peft import LoraConfig

from g2rpo import GuidedGRPOTrainer
from g2rpo.errors import ConfigError, RunError
from g2rpo.training.engine import start
from g2rpo.training.engine.start import Engine, end, engine_checked


def reward(completions, **columns):
    return [0.0] * len(completions)


def engine(mode="colocate", device="cuda", precision="no", name="Qwen/Qwen3-0.6B", **fields):
    made = Engine.__new__(Engine)
    accelerator = SimpleNamespace(device=torch.device(device), mixed_precision=precision, is_main_process=True)
    made.__dict__.update(
        mode=mode,
        accelerator=accelerator,
        enable_sleep_mode=False,
        server_base_url="http://127.0.0.1:1",
        model=SimpleNamespace(dtype=torch.float32, name_or_path=name),
        **fields,
    )
    return made


@pytest.mark.parametrize(("precision", "dtype"), [("no", "float32"), ("bf16", "bfloat16"), ("fp16", "float16")])
def test_an_engine_computes_in_the_trainers_dtype(monkeypatch, precision, dtype):
    made = {}
    monkeypatch.setattr(trl_vllm, "LLM", lambda **kwargs: made.update(kwargs), raising=False)
    monkeypatch.setattr(trl_vllm.VLLMGeneration, "_init_vllm", lambda self: trl_vllm.LLM(model="m"))
    engine(precision=precision)._init_vllm()
    assert made == {"model": "m", "dtype": dtype}  # and nothing else on an accelerator


def test_without_vllm(monkeypatch, make_model, rows, config, tokenizer):
    monkeypatch.setattr(start, "is_vllm_available", lambda: False)
    with pytest.raises(ConfigError, match=r"use_vllm is True. Expected vLLM installed"):
        GuidedGRPOTrainer(make_model(), [reward], config(use_vllm=True), rows(8), processing_class=tokenizer)
    assert trl_trainer.VLLMGeneration is trl_vllm.VLLMGeneration


def test_a_version_that_trl_does_not_know(monkeypatch, config):
    def unknown():
        warnings.warn(
            "TRL currently supports vLLM versions from 1 to 2. You have version 3 installed. We recommend", stacklevel=1
        )
        return True

    monkeypatch.setattr(start, "is_vllm_available", unknown)
    with (
        pytest.raises(ConfigError, match=r"a version of vLLM that TRL works with.*from 1 to 2. You have version 3"),
        engine_checked(config(use_vllm=True)),
    ):
        pass


def test_sleep_mode_on_a_processor():
    made = engine(device="cpu")
    made.enable_sleep_mode = True
    with pytest.raises(ConfigError, match=r"vllm_enable_sleep_mode is True\. Expected false on a processor"):
        made._init_vllm()


@pytest.mark.parametrize("error", [ConnectionError("refused"), RuntimeError("no development endpoints")])
def test_a_server_that_is_not_there_or_not_for_training(monkeypatch, error):
    def fails(self):
        raise error

    monkeypatch.setattr(trl_vllm.VLLMGeneration, "_init_vllm", fails)
    with pytest.raises(RunError, match=rf"http://127.0.0.1:1.*Expected .*{error}.*VLLM_SERVER_DEV_MODE=1"):
        engine("server")._init_vllm()


@pytest.mark.parametrize(
    ("served", "message"),
    [
        (
            {"model": "Qwen/Qwen3-1.7B"},
            r"model of the server at .* is 'Qwen/Qwen3-1.7B'. Expected 'Qwen/Qwen3-0.6B', which is trained",
        ),
        ({"dtype": "torch.bfloat16"}, r"dtype of the server at .*Expected torch.float32.*Start it with --dtype float32"),
    ],
)
def test_a_server_of_another_model_or_dtype(monkeypatch, served, message):
    info = {"model": "/weights/Qwen3-0.6B", "dtype": "torch.float32", "max_model_len": 512, **served}
    made = engine("server")
    made.vllm_client = SimpleNamespace(
        get_server_info=lambda: {"model_config": info}, base_url="http://here", model=info["model"]
    )
    monkeypatch.setattr(trl_vllm.VLLMGeneration, "_init_vllm", lambda self: None)
    with pytest.raises(RunError, match=message):
        made._init_vllm()
    info.update(model="/weights/Qwen3-0.6B", dtype="torch.float32")
    made._init_vllm()
    assert made.max_model_length == 512  # the preflight holds prompts to it


def test_an_engine_ends_before_the_process_group():
    calls = []
    note = lambda name: lambda: calls.append(name)  # noqa: E731
    core = SimpleNamespace(shutdown=note("engine"))
    llm = SimpleNamespace(llm_engine=SimpleNamespace(engine_core=core))
    accelerator = SimpleNamespace(wait_for_everyone=note("wait"), end_training=note("group"))
    end(SimpleNamespace(accelerator=accelerator, vllm_generation=SimpleNamespace(llm=llm)))
    assert calls == ["wait", "engine", "group"]


@pytest.mark.parametrize(("dropout", "several"), [(0.1, True), (0.0, True), (0.1, False)])
def test_dropout_in_old_log_probabilities(make_model, tokenizer, rows, config, caplog, dropout, several):
    args = config(per_device_train_batch_size=4, steps_per_generation=2 if several else 1)
    peft = LoraConfig(r=2, target_modules="all-linear", lora_dropout=dropout)
    with caplog.at_level(logging.WARNING):
        GuidedGRPOTrainer(make_model(), [reward], args, rows(8), processing_class=tokenizer, peft_config=peft)
    assert ("lora_dropout is 0.1" in caplog.text) == (dropout > 0 and several)
