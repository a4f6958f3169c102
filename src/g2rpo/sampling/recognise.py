"""Which models the fast loop can decode, and which of them through a forward pass of our own. Each answer says why not."""

import inspect

import psutil
import torch
from transformers import GenerationMixin, PreTrainedModel

from g2rpo.sampling.library import sliding_window
from g2rpo.sampling.prepared import FAMILIES

MASKED = ("sdpa", "eager")
"""Implementations of attention that take any mask."""
PLAIN_MODULES = (
    "torch.nn.modules.linear",
    "torch.nn.modules.sparse",
    "torch.nn.modules.activation",
    "torch.nn.modules.container",
    "transformers.activations",
)
"""Where the modules come from that a model may have beside those of its own kind."""
FREE_MEMORY = 0.5
"""Share of the free memory that copies of the weights may take."""


def unwrapped(model: PreTrainedModel) -> PreTrainedModel:
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
    model = unwrapped(model)
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


def why_not_prepared(model: PreTrainedModel) -> str | None:
    """What keeps a model that the loop can decode from `PreparedForward`, or None.

    That pass reads weights and computes by itself what the library's modules would, so every module must be the library's own,
    with nothing attached that would change or watch what it does. Hooks of the embedding and of the head are followed.
    """
    config, kind = model.config, type(model)
    if model.device.type not in ("cpu", "cuda"):
        return f"it was not tried on {model.device.type}"
    if (
        config.model_type not in FAMILIES
        or kind.__module__ != f"transformers.models.{config.model_type}.modeling_{config.model_type}"
    ):
        return f"{kind.__name__} is not laid out like {', '.join(FAMILIES)}"
    if sliding_window(config) is not None:
        return f"{kind.__name__} has layers that see a window"
    followed = (model.get_input_embeddings(), model.get_output_embeddings())
    for name, module in model.named_modules():
        if type(module).__module__ not in (kind.__module__, *PLAIN_MODULES):
            return f"{name} is a {type(module).__module__}.{type(module).__name__}"
        if module not in followed and (module._forward_hooks or module._forward_pre_hooks):
            return f"{name or kind.__name__} has hooks"
        if module is not model and "forward" in vars(module):
            return f"{name} has a forward pass of its own"
    if not _only_decorated(model):
        return f"{kind.__name__} has a forward pass of its own"
    types = {p.dtype for p in model.parameters()}
    if len(types) > 1 or not types <= {torch.float32, torch.bfloat16}:
        return f"its weights are {', '.join(sorted(map(str, types)))}"
    copies = sum(p.numel() * p.element_size() for p in model.parameters())
    on_card = model.device.type == "cuda"
    free = torch.cuda.mem_get_info(model.device)[0] if on_card else psutil.virtual_memory().available
    if copies > FREE_MEMORY * free:
        return f"a copy of its weights takes {copies / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB of memory are free"
    return None


def _only_decorated(model: PreTrainedModel) -> bool:
    """Whether the model's forward pass is its class's, with nothing around it but decorators (autocast, casts of what it
    returns)."""
    forward = inspect.unwrap(model.forward)
    return getattr(forward, "__func__", forward) is inspect.unwrap(type(model).forward)


def product_type(model: PreTrainedModel) -> torch.dtype:
    """The type that a model's products are computed in: autocast's, where its forward pass runs under one, else its own."""
    kind = model.device.type
    found: list[torch.dtype | None] = []

    def look(module: torch.nn.Module, arguments: tuple) -> None:
        found.append(torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None)
        raise _Seen

    handle = model.get_input_embeddings().register_forward_pre_hook(look)
    try:
        model(input_ids=torch.zeros(1, 1, dtype=torch.long, device=model.device))
    except _Seen:
        pass
    finally:
        handle.remove()
    return found[0] or model.dtype


class _Seen(Exception):
    """Ends a forward pass at its beginning."""
