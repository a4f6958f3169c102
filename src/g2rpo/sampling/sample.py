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
from transformers import GenerationConfig, GenerationMixin, PreTrainedConfig, PreTrainedModel

from g2rpo.sampling import stock
from g2rpo.sampling.decode import decode
from g2rpo.sampling.draw import Greedy, InverseCDF, Multinomial, warpers

logger = logging.getLogger(__name__)

FOLLOWED = {"do_sample", "temperature", "top_k", "top_p", "min_p", "eos_token_id", "pad_token_id", "max_new_tokens"}
"""Settings that the fast loop does as `generate` does."""
NEUTRAL = {
    "repetition_penalty": 1.0, "encoder_repetition_penalty": 1.0, "typical_p": 1.0, "epsilon_cutoff": 0.0, "eta_cutoff": 0.0,
    "num_beams": 1, "num_beam_groups": 1, "diversity_penalty": 0.0, "num_return_sequences": 1, "no_repeat_ngram_size": 0,
    "encoder_no_repeat_ngram_size": 0, "min_length": 0, "min_new_tokens": 0, "use_cache": True,
}  # fmt: skip
"""Values with which a setting does nothing; None is always one, and so is what an empty `GenerationConfig` says."""
WITHOUT_EFFECT = {
    "max_length", "bos_token_id", "decoder_start_token_id", "early_stopping", "length_penalty", "disable_compile",
    "transformers_version", "return_dict_in_generate", "output_scores", "output_logits", "output_attentions", "output_hidden_states",
}  # fmt: skip
"""Settings that cannot change the tokens of one sample per row, cut at its budget."""
MASKED = ("sdpa", "eager")
"""Implementations of attention that take any mask."""


@dataclass(frozen=True)
class Sampled:
    """Sampled ids of one row, the EOS included, and, when seeded, the log-probability each was drawn with; None where settings that the
    loop does not follow have shaped it."""

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
        _say(reason)
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
        with _cheapest_mode(model), _masked_attention(_unwrapped(model).config):
            ids, logprobs = decode(_unwrapped(model), prompts, budgets, eos_ids, shape, draw, finished)
    return [Sampled(x, lp if seeds is not None else None) for x, lp in zip(ids, logprobs, strict=True)]


def _dropout(model: PreTrainedModel) -> list[torch.nn.Module]:
    """The modules of a model in training that drop something. Attention reads the probability from its module's own attribute."""
    return [
        m for m in model.modules()
        if m.training and ((isinstance(m, torch.nn.Dropout) and m.p > 0) or (getattr(m, "attention_dropout", 0) or 0) > 0)
    ]  # fmt: skip


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
    """Inference mode saves a tenth of a small model's step. What is made in it can never be trained through, so it is not for models that
    keep something from their first forward pass, nor inside an autocast, which keeps its casts."""
    keeps = getattr(model, "is_quantized", False) or torch.is_autocast_enabled(model.device.type)
    return contextlib.nullcontext() if keeps else torch.inference_mode()


@contextlib.contextmanager
def _masked_attention(config: PreTrainedConfig):
    """Inside, a model attends with PyTorch's own kernels, which take the loop's masks; the distribution is the same up to rounding."""
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


def _unwrapped(model: PreTrainedModel) -> PreTrainedModel:
    """The model under a PEFT wrapper, its adapters in place."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def why_not(model: PreTrainedModel) -> str | None:
    """What keeps a model from the fast loop, or None.

    The loop lays out cache, positions and mask by itself, so it takes models of which the library promises that nothing else is
    needed: attention by the standard interface, inputs by the standard preparation, layers that see everything or a window.
    """
    from transformers.integrations import is_deepspeed_zero3_enabled
    from transformers.integrations.fsdp import is_fsdp_managed_module

    if any(getattr(c, "is_prompt_learning", False) for c in (getattr(model, "peft_config", None) or {}).values()):
        return "a PEFT method that adds tokens of its own"
    if is_deepspeed_zero3_enabled() or is_fsdp_managed_module(model):
        return "weights sharded over processes, which must keep in step"
    model = _unwrapped(model)
    config, kind = model.config, type(model)
    if config.get_text_config() is not config:
        return f"{kind.__name__} has its text model inside another"
    if config.is_encoder_decoder:
        return f"{kind.__name__} is an encoder-decoder"
    if len(set((getattr(model, "hf_device_map", None) or {"": 0}).values())) > 1:
        return "a model spread over devices"
    if not getattr(kind, "_supports_attention_backend", False) or getattr(kind, "_is_stateful", False) or model.is_remote_code():
        return f"{kind.__name__} does not use the library's standard attention"
    if config._attn_implementation not in MASKED and not getattr(kind, "_supports_sdpa", False):
        return f"{kind.__name__} has no attention that takes a mask beside {config._attn_implementation}"
    if not set(getattr(config, "layer_types", None) or ()) <= {"full_attention", "sliding_attention"}:
        return f"{kind.__name__} has layers whose memory is not keys and values"
    if getattr(config, "num_kv_shared_layers", 0):
        return f"{kind.__name__} has layers that share keys and values"
    scaling = getattr(config, "rope_parameters", None) or {}
    if {"dynamic", "longrope"} & {d.get("rope_type") for d in (scaling, *scaling.values()) if isinstance(d, dict)}:
        return "positions encoded by the length of the longest row"
    if kind.prepare_inputs_for_generation is not GenerationMixin.prepare_inputs_for_generation:
        return f"{kind.__name__} prepares its inputs in a way of its own"
    return None


@functools.cache
def _say(reason: str) -> None:
    """Once per reason and process."""
    logger.warning("Decoding with generate(), which is slower: %s.", reason)
