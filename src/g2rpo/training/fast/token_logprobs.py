"""Log-probabilities of chosen tokens without a (tokens x vocabulary) matrix, for devices that have no Triton.

    logp_i = z_i[y_i] - log sum_v exp z_i[v],   H_i = log sum_v exp z_i[v] - sum_v p_i[v] z_i[v], z_i = f(W h_i + b) / temperature

with f the model's own scale and soft cap. The vocabulary is walked in tiles that stay in a core's cache, keeping the running
maximum, sum and first moment (online softmax, Milakov and Gimelshein, arXiv 1805.02867); the backward pass computes each tile
again, unless all products of the batch are few enough to be kept:

    dz_i = g_i (1[v = y_i] - p_i) - k_i p_i (log p_i + H_i)      for upstream gradients g of logp and k of H

The gradients of an embedding and of a head are as large as their weights, however few tokens are in the batch. `accumulating`
adds them to `grad` in place, where autograd makes up to three of that size for each backward pass.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import trl.trainer.utils as trl_utils

TILE_TOKENS, TILE_WORDS = 512, 1024
"""2 MiB of fp32: a second-level cache."""
KEPT_BYTES = 32 * 1024**2
"""Products of hidden states and head that are kept for the backward pass, at most."""


class TokenLogProbs(torch.autograd.Function):
    """Stands in for TRL's `ChunkedLogProbFunction`, with its arguments; outputs other than these two are None."""

    in_place = False
    """Whether the gradient of the weight is added to its `grad` at once."""

    @staticmethod
    def forward(ctx, hidden_NH, weight_VH, bias_V, targets_N, temperature, chunk_size=None, softcap=None, scale=1.0, outputs=()):
        """Returns (logp_N, entropy_N, None, None, None), fp32."""
        ctx.set_materialize_grads(False)
        device = hidden_NH.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden_NH.dtype
        ctx.head = _Head(dtype, temperature, softcap, scale)
        ctx.accumulates = weight_VH if TokenLogProbs.in_place and _is_plain_leaf(weight_VH) else None
        hidden_NH, stats = hidden_NH.detach(), hidden_NH.new_zeros(4, len(hidden_NH), 1, dtype=torch.float32)
        keeps = any(ctx.needs_input_grad) and len(hidden_NH) * len(weight_VH) * dtype.itemsize <= KEPT_BYTES
        ctx.kept = {} if keeps else None
        max_N1, sum_N1, moment_N1, target_N1 = stats
        max_N1.fill_(-torch.inf)
        for words in _tiles(len(weight_VH), TILE_WORDS):
            weight, bias = weight_VH[words].to(dtype).t(), None if bias_V is None else bias_V[words].to(dtype)
            for rows in _tiles(len(hidden_NH), TILE_TOKENS):
                product = ctx.head.product(hidden_NH[rows], weight, bias)
                if keeps:
                    ctx.kept[words.start, rows.start] = product
                z, _ = ctx.head.logits(product)
                local_N1 = (targets_N[rows] - words.start)[:, None]
                inside = (local_N1 >= 0) & (local_N1 < z.shape[1])
                target_N1[rows] += z.gather(1, local_N1.clamp(0, z.shape[1] - 1)) * inside
                top = torch.maximum(max_N1[rows], z.amax(1, keepdim=True))
                shrink = torch.exp(max_N1[rows] - top)
                e = torch.exp(z - top)
                sum_N1[rows] = sum_N1[rows] * shrink + e.sum(1, keepdim=True)
                moment_N1[rows] = moment_N1[rows] * shrink + e.mul_(z).sum(1, keepdim=True)
                max_N1[rows] = top
        log_sum_N1 = max_N1 + sum_N1.log()
        entropy_N1 = log_sum_N1 - moment_N1 / sum_N1
        ctx.save_for_backward(hidden_NH, weight_VH, bias_V, targets_N, log_sum_N1, entropy_N1)
        return (target_N1 - log_sum_N1)[:, 0], entropy_N1[:, 0].clone(), None, None, None

    @staticmethod
    def backward(ctx, grad_logp_N, grad_entropy_N, *_):
        hidden_NH, weight_VH, bias_V, targets_N, log_sum_N1, entropy_N1 = ctx.saved_tensors
        needs_hidden, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        head, dtype = ctx.head, ctx.head.dtype
        # Sums over tiles are in fp32 whatever the products are in.
        grad_hidden = torch.zeros_like(hidden_NH, dtype=torch.float32) if needs_hidden else None
        grad_weight = None
        if needs_weight:
            into = ctx.accumulates
            grad_weight = torch.zeros_like(weight_VH, dtype=torch.float32) if into is None else _grad_of(into)
        grad_bias = torch.zeros_like(bias_V, dtype=torch.float32) if needs_bias else None
        for words in _tiles(len(weight_VH), TILE_WORDS):
            weight, bias = weight_VH[words].to(dtype).t(), None if bias_V is None else bias_V[words].to(dtype)
            for rows in _tiles(len(hidden_NH), TILE_TOKENS):
                kept = ctx.kept.pop((words.start, rows.start)) if ctx.kept else None
                z, slope = head.logits(head.product(hidden_NH[rows], weight, bias) if kept is None else kept)
                logp = z.sub_(log_sum_N1[rows])
                if grad_entropy_N is None:
                    grad = logp.exp_().mul_(-grad_logp_N[rows, None])
                else:
                    grad = logp.exp().mul_((logp + entropy_N1[rows]).mul_(-grad_entropy_N[rows, None]))
                    if grad_logp_N is not None:
                        grad -= logp.exp_().mul_(grad_logp_N[rows, None])
                if grad_logp_N is not None:
                    local_N1 = (targets_N[rows] - words.start)[:, None]
                    inside = (local_N1 >= 0) & (local_N1 < grad.shape[1])
                    grad.scatter_add_(1, local_N1.clamp(0, grad.shape[1] - 1), grad_logp_N[rows, None] * inside)
                grad.mul_(slope)
                if needs_bias:
                    grad_bias[words] += grad.sum(0)
                grad = grad.to(dtype)
                if needs_hidden:
                    _add_product(grad_hidden[rows], grad, weight.t())
                if needs_weight:
                    _add_product(grad_weight[words], grad.t(), hidden_NH[rows].to(dtype))
        if ctx.accumulates is not None:
            grad_weight = None
        grads = [
            None if g is None else g.to(x.dtype)
            for g, x in ((grad_hidden, hidden_NH), (grad_weight, weight_VH), (grad_bias, bias_V))
        ]
        return (*grads, None, None, None, None, None, None)


class _Head:
    """z = f(h W^T + b) / temperature, and dz/d(h W^T)."""

    def __init__(self, dtype: torch.dtype, temperature: float, softcap: float | None, scale: float) -> None:
        self.dtype, self.factor, self.scale, self.softcap = dtype, 1 / temperature, scale, softcap

    def product(self, hidden_nH, weight_Hv, bias_v) -> torch.Tensor:
        x = hidden_nH.to(self.dtype) @ weight_Hv
        return x if bias_v is None else x.add_(bias_v)

    def logits(self, product_nv: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | float]:
        x = product_nv.float()
        if self.softcap is None:
            return x * (self.scale * self.factor), self.scale * self.factor
        t = torch.tanh_(x * (self.scale / self.softcap))
        return t * (self.softcap * self.factor), (1 - t * t) * (self.scale * self.factor)


def _add_product(sum_mn: torch.Tensor, a_mk: torch.Tensor, b_kn: torch.Tensor) -> None:
    if a_mk.dtype == sum_mn.dtype:
        sum_mn.addmm_(a_mk, b_kn)
    else:
        sum_mn.add_(a_mk @ b_kn)


def _is_plain_leaf(weight: torch.Tensor) -> bool:
    """A parameter whose gradient nobody but the optimizer looks at."""
    hooks = weight._backward_hooks or getattr(weight, "_post_accumulate_grad_hooks", None)
    return type(weight) is torch.nn.Parameter and weight.requires_grad and weight.dtype == torch.float32 and not hooks


def _grad_of(weight: torch.Tensor) -> torch.Tensor:
    if weight.grad is None:
        weight.grad = torch.zeros_like(weight)
    return weight.grad


class _Embedding(torch.autograd.Function):
    """Rows of a weight, whose gradient is added to the weight's own at once."""

    @staticmethod
    def forward(ctx, ids, weight_VH, padding):
        ctx.weight, ctx.padding = weight_VH, padding
        ctx.save_for_backward(ids)
        return torch.nn.functional.embedding(ids, weight_VH.detach(), padding)

    @staticmethod
    def backward(ctx, grad):
        ids_N, grad_NH = ctx.saved_tensors[0].flatten(), grad.flatten(0, -2)
        if ctx.padding is not None:
            learned = ids_N != ctx.padding
            ids_N, grad_NH = ids_N[learned], grad_NH[learned]
        _grad_of(ctx.weight).index_add_(0, ids_N, grad_NH.to(ctx.weight.dtype))
        return None, None, None


@contextmanager
def accumulating(embedding: torch.nn.Module) -> Iterator[None]:
    """Within it, what goes through the embedding, and through `TokenLogProbs`, adds its gradient to that of the weight in place.

    For `backward` only, never for `torch.autograd.grad`; a weight with hooks, or that is no plain parameter, is left to autograd.
    """
    replaced = (
        type(embedding) is torch.nn.Embedding
        and "forward" not in vars(embedding)
        and _is_plain_leaf(embedding.weight)
        and not (embedding.max_norm or embedding.scale_grad_by_freq or embedding.sparse)
    )
    if replaced:
        embedding.forward = lambda ids: _Embedding.apply(ids, embedding.weight, embedding.padding_idx)
    TokenLogProbs.in_place = True
    try:
        yield
    finally:
        TokenLogProbs.in_place = False
        if replaced:
            del embedding.forward


def _tiles(length: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, length)) for start in range(0, length, size)]


@contextmanager
def score_labelled_positions_only(device: torch.device):
    """Within it, a model with TRL's fused head scores only positions that have a label, on every device.

    TRL 1.16 does so where Triton runs and scores every position elsewhere. Its head (`trl.trainer.utils.add_fused_lm_head`)
    looks both names up at each call; a contract test watches them.
    """
    if trl_utils._use_triton(device):
        yield
        return
    kept = trl_utils._use_triton, trl_utils._ChunkedLogProbFunction
    trl_utils._use_triton, trl_utils._ChunkedLogProbFunction = (lambda device: True), TokenLogProbs
    try:
        yield
    finally:
        trl_utils._use_triton, trl_utils._ChunkedLogProbFunction = kept
