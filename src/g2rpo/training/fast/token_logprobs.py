"""Log-probabilities of chosen tokens without a (tokens x vocabulary) matrix, for devices that have no Triton.

    logp_i = z_i[y_i] - log sum_v exp z_i[v],   H_i = log sum_v exp z_i[v] - sum_v p_i[v] z_i[v], z_i = f(W h_i + b) / temperature

with f the model's own scale and soft cap. The vocabulary is walked in tiles that stay in a core's cache, keeping the running
maximum, sum and first moment (online softmax, Milakov and Gimelshein, arXiv 1805.02867); the backward pass computes each tile
again:

    dz_i = g_i (1[v = y_i] - p_i) - k_i p_i (log p_i + H_i)      for upstream gradients g of logp and k of H
"""

from contextlib import contextmanager

import torch
import trl.trainer.utils as trl_utils

TILE_TOKENS, TILE_WORDS = 512, 1024
"""2 MiB of fp32: a second-level cache."""


class TokenLogProbs(torch.autograd.Function):
    """Stands in for TRL's `ChunkedLogProbFunction`, with its arguments; outputs other than these two are None."""

    @staticmethod
    def forward(ctx, hidden_NH, weight_VH, bias_V, targets_N, temperature, chunk_size=None, softcap=None, scale=1.0, outputs=()):
        """Returns (logp_N, entropy_N, None, None, None), fp32."""
        ctx.set_materialize_grads(False)
        device = hidden_NH.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden_NH.dtype
        ctx.head = _Head(dtype, temperature, softcap, scale)
        hidden_NH, stats = hidden_NH.detach(), hidden_NH.new_zeros(4, len(hidden_NH), 1, dtype=torch.float32)
        max_N1, sum_N1, moment_N1, target_N1 = stats
        max_N1.fill_(-torch.inf)
        for words in _tiles(len(weight_VH), TILE_WORDS):
            weight, bias = weight_VH[words].to(dtype).t(), None if bias_V is None else bias_V[words].to(dtype)
            for rows in _tiles(len(hidden_NH), TILE_TOKENS):
                z, _ = ctx.head.logits(hidden_NH[rows], weight, bias)
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
        # fp32 sums whatever the inputs are: rounding each tile's product would bias the gradient.
        grad_hidden = torch.zeros_like(hidden_NH, dtype=torch.float32) if needs_hidden else None
        grad_weight = torch.zeros_like(weight_VH, dtype=torch.float32) if needs_weight else None
        grad_bias = torch.zeros_like(bias_V, dtype=torch.float32) if needs_bias else None
        for words in _tiles(len(weight_VH), TILE_WORDS):
            weight, bias = weight_VH[words].to(dtype).t(), None if bias_V is None else bias_V[words].to(dtype)
            for rows in _tiles(len(hidden_NH), TILE_TOKENS):
                z, slope = head.logits(hidden_NH[rows], weight, bias)
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
                if needs_hidden:
                    grad_hidden[rows].addmm_(grad, weight.t().float())
                if needs_weight:
                    grad_weight[words].addmm_(grad.t(), hidden_NH[rows].float())
                if needs_bias:
                    grad_bias[words] += grad.sum(0)
        grads = [
            None if g is None else g.to(x.dtype)
            for g, x in ((grad_hidden, hidden_NH), (grad_weight, weight_VH), (grad_bias, bias_V))
        ]
        return (*grads, None, None, None, None, None, None)


class _Head:
    """z = f(h W^T + b) / temperature, and dz/d(h W^T)."""

    def __init__(self, dtype: torch.dtype, temperature: float, softcap: float | None, scale: float) -> None:
        self.dtype, self.factor, self.scale, self.softcap = dtype, 1 / temperature, scale, softcap

    def logits(self, hidden_nH, weight_Hv, bias_v) -> tuple[torch.Tensor, torch.Tensor | float]:
        x = hidden_nH.to(self.dtype) @ weight_Hv
        x = (x if bias_v is None else x.add_(bias_v)).float()
        if self.softcap is None:
            return x.mul_(self.scale * self.factor), self.scale * self.factor
        t = torch.tanh_(x.mul_(self.scale / self.softcap))
        return t * (self.softcap * self.factor), (1 - t * t) * (self.scale * self.factor)


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
