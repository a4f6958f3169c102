"""The launch as accelerate understood it: refused where it is not what was asked for; FSDP2 keeps log-probabilities in fp32."""

from types import SimpleNamespace

import pytest
import torch
from accelerate import PartialState
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin

from g2rpo import GuidedGRPOTrainer
from g2rpo.errors import ConfigError
from g2rpo.training.distributed import check_launch, keep_outputs_fp32, keep_weights_fp32, tell_of_build_locks


@pytest.mark.parametrize(
    ("name", "running"),
    [
        ("ACCELERATE_USE_FSDP", DistributedType.MULTI_CPU),
        ("ACCELERATE_USE_FSDP", DistributedType.NO),
        ("ACCELERATE_USE_DEEPSPEED", DistributedType.MULTI_GPU),
    ],
)
def test_sharding_that_does_not_happen_is_refused(monkeypatch, name, running):
    monkeypatch.setenv(name, "true")
    with pytest.raises(ConfigError, match=rf"{name} is 'true'.*accelerate runs {running.value} here"):
        check_launch(running)


def test_sharding_that_happens_is_not(monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    check_launch(DistributedType.FSDP)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "false")
    check_launch(DistributedType.NO)


def test_a_trainer_refuses_it_before_anything_else(monkeypatch, make_model, rows, config, tokenizer):
    args = config()
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(ConfigError, match="ACCELERATE_USE_FSDP"):
        GuidedGRPOTrainer(make_model(), [lambda completions, **columns: [0.0]], args, rows(8), processing_class=tokenizer)


def test_fsdp2_does_not_round_what_the_model_gives_out():
    plugin = FullyShardedDataParallelPlugin(fsdp_version=2)
    plugin.set_mixed_precision("bf16")
    assert plugin.mixed_precision_policy.output_dtype == torch.bfloat16  # accelerate's default
    keep_outputs_fp32(SimpleNamespace(state=SimpleNamespace(fsdp_plugin=plugin)))
    assert plugin.mixed_precision_policy.output_dtype is None
    assert plugin.mixed_precision_policy.param_dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("bf16", "dtype", "kept"), [(True, "float32", True), (True, "bfloat16", False), (False, "float32", False)]
)
def test_deepspeed_takes_autocast_for_float32_weights(bf16, dtype, kept):
    configs = [{"bf16": {"enabled": bf16}} for _ in range(3)]
    plugin = SimpleNamespace(
        deepspeed_config=configs[0], hf_ds_config=SimpleNamespace(config=configs[1]), dschf=SimpleNamespace(config=configs[2])
    )
    args = SimpleNamespace(bf16=bf16, deepspeed_plugin=plugin, model_init_kwargs={"dtype": dtype})
    assert keep_weights_fp32(args, "a model") is kept
    wanted = {"bf16": {}, "torch_autocast": {"enabled": True, "dtype": "bfloat16"}} if kept else {"bf16": {"enabled": bf16}}
    assert configs == [wanted] * 3


def test_a_lock_of_a_build_is_told(tmp_path, caplog):
    PartialState()
    tell_of_build_locks(str(tmp_path))
    assert not caplog.records
    (tmp_path / "py311_cpu" / "deepspeed_shm_comm").mkdir(parents=True)
    (tmp_path / "py311_cpu" / "deepspeed_shm_comm" / "lock").touch()
    tell_of_build_locks(str(tmp_path))
    assert "deepspeed_shm_comm/lock is there" in caplog.text
