"""What accelerate makes of the launch, seen before a model is loaded: refused where it is not what was asked for, mended where
its default costs precision."""

import dataclasses
import os
from pathlib import Path
from typing import Any

import torch
from accelerate.logging import get_logger
from accelerate.utils import DistributedType
from torch import nn
from torch.utils.cpp_extension import get_default_build_root
from transformers import TrainingArguments

from g2rpo.errors import ConfigError

logger = get_logger(__name__)
ASKED_FOR = {"ACCELERATE_USE_FSDP": DistributedType.FSDP, "ACCELERATE_USE_DEEPSPEED": DistributedType.DEEPSPEED}
"""What `accelerate launch` tells its processes, and what a run with it must turn out to be."""


class ChecksLaunch:
    """Mixin in front of `GRPOTrainer`: looks at the launch before a model is loaded, and at the accelerator as soon as there is
    one."""

    def __init__(self, model, reward_funcs, args, *rest: Any, **kwargs: Any) -> None:
        engine_autocasts = keep_weights_fp32(args, model)
        super().__init__(model, reward_funcs, args, *rest, **kwargs)
        if engine_autocasts:
            autocast_outside_engine(self)

    def create_accelerator_and_postprocess(self) -> None:
        super().create_accelerator_and_postprocess()
        check_launch(self.accelerator.distributed_type)
        if self.accelerator.distributed_type == DistributedType.DEEPSPEED:
            tell_of_build_locks(os.environ.get("TORCH_EXTENSIONS_DIR") or get_default_build_root())
        keep_outputs_fp32(self.accelerator)


def check_launch(running: DistributedType) -> None:
    """Raises `ConfigError` where the environment asks for sharding and accelerate does without.

    transformers believes the environment: it loads the weights on the first process only and leaves the others' empty, to be
    filled by an FSDP that never comes. accelerate applies FSDP on accelerators only and in more than one process.
    """
    for name, wanted in ASKED_FOR.items():
        if os.environ.get(name, "false").lower() in ("1", "true", "yes", "on") and running != wanted:
            raise ConfigError(
                name,
                os.environ[name],
                expected=f"it unset: accelerate runs {running.value} here, not {wanted.value}",
                then="Start with torchrun (or a single process) without an FSDP or DeepSpeed configuration, or on devices "
                "and with "
                f"a number of processes on which accelerate has {wanted.value}.",
            )


def tell_of_build_locks(folder: str) -> None:
    """Warns of locks in the folder of torch's compiled extensions.

    DeepSpeed compiles or loads some when it starts. A process that is killed meanwhile leaves its lock, and all later ones wait
    for it, without a word and without an end.
    """
    for lock in Path(folder).glob("**/lock"):
        logger.warning(
            f"{lock} is there: another process compiles, or was killed while it did. If this run now waits, and no other is "
            "starting, remove that file."
        )


def keep_weights_fp32(args: TrainingArguments, model: nn.Module | str) -> bool:
    """Under DeepSpeed with `bf16`, makes float32 weights stay float32 and compute under bf16 autocast, as they do in one process.

    accelerate turns `bf16` into DeepSpeed's own, which holds, computes and saves the weights in bf16 whatever they were loaded
    as. DeepSpeed has autocast, too: the section `torch_autocast`. The section `bf16` stays, without a value: accelerate would
    fill in a missing one, and transformers refuse one that says false. To be called before a model is loaded, since ZeRO-3 makes
    the weights in the dtype of this configuration.

    Returns:
        Whether this run has float32 weights under DeepSpeed's autocast.
    """
    plugin = getattr(args, "deepspeed_plugin", None)
    if plugin is None or not args.bf16:
        return False
    loaded = (args.model_init_kwargs or {}).get("dtype") if isinstance(model, str) else model.dtype
    if loaded not in ("float32", torch.float32):
        return False
    for config in (plugin.deepspeed_config, plugin.hf_ds_config.config, plugin.dschf.config):
        config["bf16"] = {}
        config["torch_autocast"] = {"enabled": True, "dtype": "bfloat16"}
    return True


def autocast_outside_engine(trainer: Any) -> None:
    """Puts bf16 autocast into the model's forward, where accelerate puts it in one process: rollouts and old log-probabilities
    call the model itself, and not the engine, which has autocast of its own."""
    model = trainer.model
    model.forward = torch.autocast(trainer.accelerator.device.type, torch.bfloat16)(model.forward)


def keep_outputs_fp32(accelerator: Any) -> None:
    """Leaves outputs as the model computes them under FSDP2: accelerate's policy would round log-probabilities to the dtype of
    the parameters.

    In bf16 a log-probability of -10 is off by up to 0.03, and each ratio of the loss with it. To be called before a model is
    prepared.
    """
    plugin = getattr(accelerator.state, "fsdp_plugin", None)
    policy = getattr(plugin, "mixed_precision_policy", None)
    if getattr(policy, "output_dtype", None) is not None:
        plugin.mixed_precision_policy = dataclasses.replace(policy, output_dtype=None)
