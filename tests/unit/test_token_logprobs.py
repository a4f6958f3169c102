"""The tiled head against the whole matrix."""

import pytest
import torch

from g2rpo.training.fast import token_logprobs
from g2rpo.training.fast.token_logprobs import TokenLogProbs, accumulating


@pytest.mark.parametrize("kept", [0, 1 << 20])
@pytest.mark.parametrize("softcap", [None, 3.0])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("upstream", [(1, 0), (0, 1), (1, 1)])
def test_values_and_gradients_are_those_of_the_whole_matrix(monkeypatch, softcap, bias, upstream, kept):
    monkeypatch.setattr(token_logprobs, "KEPT_BYTES", kept)
    monkeypatch.setattr(token_logprobs, "TILE_TOKENS", 4)
    monkeypatch.setattr(token_logprobs, "TILE_WORDS", 7)
    torch.manual_seed(0)
    hidden, weight = torch.randn(10, 6, requires_grad=True), torch.randn(23, 6, requires_grad=True)
    b = torch.randn(23, requires_grad=True) if bias else None
    targets, temperature, scale = torch.randint(23, (10,)), 0.7, 1.5
    leaves = [x for x in (hidden, weight, b) if x is not None]
    logits = torch.nn.functional.linear(hidden, weight, b) * scale
    logits = (logits if softcap is None else softcap * torch.tanh(logits / softcap)) / temperature
    logp = logits.log_softmax(-1)
    entropy = -(logp.exp() * logp).sum(-1)
    wanted = logp.gather(1, targets[:, None])[:, 0], entropy
    got = TokenLogProbs.apply(hidden, weight, b, targets, temperature, None, softcap, scale, ("entropy",))[:2]
    weights = torch.randn(2, 10)
    for a, e in zip(got, wanted, strict=True):
        torch.testing.assert_close(a, e, rtol=1e-5, atol=1e-5)
    losses = [sum((w * x).sum() for w, x, on in zip(weights, pair, upstream, strict=True) if on) for pair in (got, wanted)]
    for a, e in zip(*(torch.autograd.grad(loss, leaves) for loss in losses), strict=True):
        torch.testing.assert_close(a, e, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kept", [0, 1 << 30])
def test_half_precision_sums_in_single(monkeypatch, kept):
    monkeypatch.setattr(token_logprobs, "KEPT_BYTES", kept)
    torch.manual_seed(0)
    hidden, weight, targets = torch.randn(300, 16), torch.randn(5000, 16) * 0.3, torch.randint(5000, (300,))
    half, full = ([x.to(d).requires_grad_() for x in (hidden, weight)] for d in (torch.bfloat16, torch.float32))
    grads = []
    for h, w in (half, full):
        logp = TokenLogProbs.apply(h, w, None, targets, 1.0)[0]
        assert logp.dtype == torch.float32
        grads.append([g.float() for g in torch.autograd.grad(logp.mean(), (h, w))])
    for a, e in zip(*grads, strict=True):
        assert (a - e).norm() / e.norm() < 0.02


def test_no_position_is_a_zero_that_can_go_backward():
    hidden, weight = torch.randn(0, 4, requires_grad=True), torch.randn(9, 4, requires_grad=True)
    logp, entropy = TokenLogProbs.apply(hidden, weight, None, torch.zeros(0, dtype=torch.long), 1.0)[:2]
    logp.sum().backward()
    assert logp.shape == entropy.shape == (0,)
    assert weight.grad.abs().max() == 0


@pytest.mark.parametrize("padding", [None, 3])
def test_a_tied_weight_gets_its_gradient_in_place(padding):
    torch.manual_seed(0)
    embedding, ids, targets = torch.nn.Embedding(9, 4, padding), torch.randint(9, (2, 5)), torch.randint(9, (10,))
    weight = embedding.weight

    def loss():
        return TokenLogProbs.apply(embedding(ids).flatten(0, 1), weight, None, targets, 1.0)[0].sum()

    (wanted,) = torch.autograd.grad(loss(), weight)
    for times in (1, 2):
        with accumulating(embedding):
            value = loss()
        value.backward()
        torch.testing.assert_close(weight.grad, times * wanted)
    assert "forward" not in vars(embedding)


def test_a_weight_with_hooks_is_left_to_autograd():
    embedding, ids, seen = torch.nn.Embedding(9, 4), torch.randint(9, (5,)), []
    embedding.weight.register_hook(seen.append)
    with accumulating(embedding):
        TokenLogProbs.apply(embedding(ids), embedding.weight, None, ids, 1.0)[0].sum().backward()
    torch.testing.assert_close(embedding.weight.grad, seen[0])
