"""What accelerate makes of the launch, seen before a model is loaded: refused where it is not what was asked for, mended where
its default costs precision."""

import dataclasses
import os
from typing import Any

from accelerate.utils import DistributedType

from g2rpo.errors import ConfigError

ASKED_FOR = {"ACCELERATE_USE_FSDP": DistributedType.FSDP, "ACCELERATE_USE_DEEPSPEED": DistributedType.DEEPSPEED}
"""What `accelerate launch` tells its processes, and what a run with it must turn out to be."""


class ChecksLaunch:
    """Mixin in front of a `transformers.Trainer`: looks at the accelerator as soon as there is one."""

    def create_accelerator_and_postprocess(self) -> None:
        super().create_accelerator_and_postprocess()
        check_launch(self.accelerator.distributed_type)
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
