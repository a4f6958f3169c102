"""What this machine's processor can do, as far as it decides settings."""

import torch


def computes_bf16() -> bool:
    """Whether products in bfloat16 run in hardware.

    Measured on one core: with AVX2 alone 9 GFLOP/s in bfloat16 and 80 in float32; with AMX twice as many as in float32.
    """
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def slow_bf16(bf16: bool, device: str) -> str | None:
    """A warning where a run on `device` ("cpu", "cuda") would compute bfloat16 in software; None otherwise."""
    if not bf16 or device != "cpu" or computes_bf16():
        return None
    return (
        "bf16 is true, and this processor has no instructions for bfloat16: products take about eight times as long as in "
        "float32. Set bf16: false to train on it."
    )
