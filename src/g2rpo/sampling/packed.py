"""Weights laid out once for many products: cast, stacked, and on a processor in the order in which oneDNN reads them.

A decoding step multiplies few rows by every weight of the model, so what a product does beside multiplying counts: under autocast
the library casts each weight in each step, and an unpacked weight is reordered in each product.
"""

from collections.abc import Sequence

import torch
from torch.nn import functional

from g2rpo.processor import computes_bf16

PACKED_ELEMENTS = {torch.float32: 1 << 18, torch.bfloat16: 0}
"""By type, the smallest weight that is packed; below, the call of the packed product costs more than it saves."""
ROWS = 32
"""Rows that the layout is chosen for. Measured with 1 to 2,048 rows: it makes no difference."""


class PackedLinear:
    """x -> x W^T + b with the weights of one linear layer, or of several that read the same input, stacked.

    Args:
        layers: Linear layers with the same number of inputs.
        dtype: The type that products are computed in.
    """

    def __init__(self, layers: Sequence[torch.nn.Linear], dtype: torch.dtype) -> None:
        self.inputs = layers[0].in_features
        self.bias = _stacked([layer.bias for layer in layers], dtype) if layers[0].bias is not None else None
        self.weight = _stacked([layer.weight for layer in layers], dtype)
        self.packed = _packs(self.weight)
        if self.packed:
            self.weight = torch.ops.mkldnn._reorder_linear_weight(self.weight, ROWS)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """(..., inputs) -> (..., outputs)."""
        if self.packed:
            return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")
        return functional.linear(x, self.weight, self.bias)


def _stacked(tensors: Sequence[torch.Tensor], dtype: torch.dtype) -> torch.Tensor:
    return torch.cat([t.detach().to(dtype) for t in tensors]) if len(tensors) > 1 else tensors[0].detach().to(dtype)


def _packs(weight: torch.Tensor) -> bool:
    if weight.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    if weight.dtype == torch.bfloat16 and not computes_bf16():
        return False
    least = PACKED_ELEMENTS.get(weight.dtype)
    return least is not None and weight.numel() >= least
