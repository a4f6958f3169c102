"""Sampling where each row has its own budget and, if wanted, its own randomness.

Guided rows have less room left than unguided ones: guidance counts in the completion budget. And a rollout's randomness should
depend on what it is (run seed, step, problem, member), not on who shares its batch: then one process and eight draw the same.
"""

import contextlib
import functools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedConfig, PreTrainedModel

from g2rpo.sampling import stock
from g2rpo.sampling.decode import decode
from g2rpo.sampling.draw import Greedy, InverseCDF, Multinomial, warpers
from g2rpo.sampling.graphs import GraphedForward
from g2rpo.sampling.library import LibraryForward
from g2rpo.sampling.prepared import PreparedForward
from g2rpo.sampling.recognise import MASKED, product_type, unwrapped, why_not, why_not_prepared

logger = logging.getLogger(__name__)

FOLLOWED = {"do_sample", "temperature", "top_k", "top_p", "min_p", "eos_token_id", "pad_token_id", "max_new_tokens"}
"""Settings that the fast loop does as `generate` does."""
NEUTRAL = {
    "repetition_penalty": 1.0,
    "encoder_repetition_penalty": 1.0,
    "typical_p": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "num_beams": 1,
    "num_beam_groups": 1,
    "diversity_penalty": 0.0,
    "num_return_sequences": 1,
    "no_repeat_ngram_size": 0,
    "encoder_no_repeat_ngram_size": 0,
    "min_length": 0,
    "min_new_tokens": 0,
    "use_cache": True,
}
"""Values with which a setting does nothing; None is always one, and so is what an empty `GenerationConfig` says."""
WITHOUT_EFFECT = {
    "max_length",
    "bos_token_id",
    "decoder_start_token_id",
    "early_stopping",
    "length_penalty",
    "disable_compile",
    "transformers_version",
    "return_dict_in_generate",
    "output_scores",
    "output_logits",
    "output_attentions",
    "output_hidden_states",
}
"""Settings that cannot change the tokens of one sample per row, cut at its budget."""


@dataclass(frozen=True)
class Sampled:
    """Sampled ids of one row, the EOS included, and, when seeded, the log-probability each was drawn with; None where settings
    that the loop does not follow have shaped it."""

    ids: list[int]
    logprobs: list[float] | None


@torch.no_grad()
def sample_rows(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    budgets: Sequence[int],
    config: GenerationConfig,
    *,
    eos_ids: Sequence[int],
    pad_id: int,
    seeds: Sequence[int] | None = None,
    fast: bool = True,
    finished: Callable[[int, list[int]], None] | None = None,
) -> list[Sampled]:
    """Continues each row of ids by at most its budget of new tokens.

    Args:
        model: A causal language model, unwrapped.
        prompts: Token ids per row.
        budgets: New tokens per row, each at least 1.
        config: Sampling settings; `max_new_tokens` is replaced by the budgets.
        eos_ids: Ids that end a row.
        pad_id: Filler of `generate`; never part of a result.
        seeds: One per row: the row's own randomness. None draws from torch's generator what `generate` would draw from it.
        fast: False goes through `generate` in any case.
        finished: Called with the number and the ids of each row as it ends, while others go on; never by `generate`.
    """
    # Every field that the model's own generation config could fill in is set: what is sampled is what the caller asked for.
    config = GenerationConfig.from_dict(
        {
            **config.to_dict(),
            "eos_token_id": list(eos_ids),
            "pad_token_id": pad_id,
            "repetition_penalty": config.repetition_penalty or 1.0,
            "top_k": config.top_k or 0,
            "top_p": config.top_p if config.top_p is not None else 1.0,
        }
    )
    # What is left unset comes from the model's own generation config, as in `generate`.
    resolved = GenerationConfig.from_dict(config.to_dict())
    own = model.generation_config.to_dict()
    own = {k: v for k, v in own.items() if not k.startswith("_") and (seeds is None or k not in FOLLOWED)}
    resolved.update(**own, defaults_only=True, allow_custom_entries=True)
    shape = warpers(resolved) if seeds is not None or resolved.do_sample else warpers(GenerationConfig())
    # Dropout draws for whole batches: a row with randomness of its own goes without it, `generate` draws for finished rows too.
    dropping = _dropout(model)
    reason = (
        _unfollowed(resolved) or why_not(model) or ("dropout is on" if dropping and seeds is None else None) if fast else None
    )
    if reason:
        _say(logging.WARNING, "Decoding with generate(), which is slower", reason)
    with _evaluating(dropping if seeds is not None else []):
        if reason or not fast:
            ids, logprobs = stock.generate(model, prompts, budgets, config, seeds)
            told = seeds is not None and not _unfollowed(resolved)
            return [Sampled(x, lp if told else None) for x, lp in zip(ids, logprobs, strict=True)]
        draw: Any = Greedy()
        if seeds is not None:
            draw = InverseCDF(seeds, max(budgets), model.device)
        elif resolved.do_sample:
            draw = Multinomial(len(prompts))
        inner = unwrapped(model)
        with _cheapest_mode(model), _masked_attention(inner.config):
            ids, logprobs = decode(_forward(inner), prompts, budgets, eos_ids, shape, draw, finished)
    return [Sampled(x, lp if seeds is not None else None) for x, lp in zip(ids, logprobs, strict=True)]


def _forward(model: PreTrainedModel) -> PreparedForward | LibraryForward:
    """The model's forward pass for one batch: laid out for decoding where the model is one that this is known for."""
    reason = why_not_prepared(model)
    if reason is None:
        kind = GraphedForward if model.device.type == "cuda" else PreparedForward
        return kind(model, product_type(model))
    _say(logging.INFO, "Decoding with the library's forward pass, which is slower", reason)
    return LibraryForward(model)


def _dropout(model: PreTrainedModel) -> list[torch.nn.Module]:
    """The modules of a model in training that drop something. Attention reads the probability from its module's own attribute."""
    return [
        m
        for m in model.modules()
        if m.training and ((isinstance(m, torch.nn.Dropout) and m.p > 0) or (getattr(m, "attention_dropout", 0) or 0) > 0)
    ]


@contextlib.contextmanager
def _evaluating(modules: list[torch.nn.Module]):
    """Inside, these modules (not those in them) are in evaluation."""
    for module in modules:
        module.training = False
    try:
        yield
    finally:
        for module in modules:
            module.training = True


def _cheapest_mode(model: PreTrainedModel) -> contextlib.AbstractContextManager:
    """Inference mode saves a tenth of a small model's step on a processor. What is made in it can never be trained through, so it is
    not for models that keep something from their first forward pass, nor inside an autocast, which keeps its casts; nor on a CUDA
    device, where launches are recorded."""
    kind = model.device.type
    keeps = getattr(model, "is_quantized", False) or torch.is_autocast_enabled(kind) or kind == "cuda"
    return contextlib.nullcontext() if keeps else torch.inference_mode()


@contextlib.contextmanager
def _masked_attention(config: PreTrainedConfig):
    """Inside, a model attends with PyTorch's own kernels, which take the loop's masks; the distribution is the same up to
    rounding."""
    own = config._attn_implementation
    if own not in MASKED:
        config._attn_implementation = "sdpa"
    try:
        yield
    finally:
        config._attn_implementation = own


def _unfollowed(config: GenerationConfig) -> str | None:
    """The first setting that changes what is sampled and that the fast loop does not know."""
    empty = GenerationConfig().to_dict()
    for name, value in config.to_dict().items():
        if name in FOLLOWED or name in WITHOUT_EFFECT or value is None or value == NEUTRAL.get(name, empty.get(name)):
            continue
        return f"generation setting {name}={value!r}"
    return None


@functools.cache
def _say(level: int, what: str, reason: str) -> None:
    """Once per reason and process."""
    logger.log(level, "%s: %s.", what, reason)
