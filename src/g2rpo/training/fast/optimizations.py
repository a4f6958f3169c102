"""Which of the exact speed-ups of the update phase are on for a trainer, and for the others, why not. What they do:
`fast_update.py`."""

from dataclasses import dataclass, field
from typing import Any

from accelerate.utils import DistributedType


@dataclass(frozen=True)
class Optimizations:
    """Which exact speed-ups are on, and for those that are off, why."""

    compact: bool
    order: bool
    drop: bool
    share: bool = False
    split: bool = False
    pack: bool = False
    accumulate: bool = False
    why_not: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        on = [name for name in ("compact", "order", "drop", "share", "split", "pack", "accumulate") if name not in self.why_not]
        return f"Update optimizations on: {', '.join(on) or 'none'}. " + " ".join(
            f"{k}: off, {v}." for k, v in self.why_not.items()
        )


def optimizations(trainer: Any) -> Optimizations:
    """What is exact for this trainer's loss, model and set-up."""
    everywhere = _not_plain_text(trainer)
    per_micro_batch = everywhere or _micro_batch_matters(trainer)
    gradient = per_micro_batch or (f"beta is {trainer.beta:g}: every row has a KL gradient" if trainer.beta else None)
    if trainer.args.guided and not trainer.args.loss_on_guidance.by_reward:
        gradient = gradient or "guidance tokens are learned whatever the reward"
    padding = everywhere or _positions_matter(trainer)
    why_not = {
        "compact": padding,
        "order": per_micro_batch,
        "drop": gradient,
        "share": padding or _no_training_cache(trainer),
        "split": per_micro_batch or _no_pieces(trainer),
        "pack": padding or _no_bounds(trainer),
        "accumulate": padding or _no_gradient_in_place(trainer),
    }
    why_not = {name: reason for name, reason in why_not.items() if reason}
    on = {name: name not in why_not for name in ("compact", "order", "share", "split", "pack", "accumulate")}
    # Rows where nothing is trained can be dropped in spite of a KL term or a loss on the guidance.
    return Optimizations(**on, drop=not per_micro_batch, why_not=why_not)


def _not_plain_text(trainer: Any) -> str | None:
    if not trainer.args.fast:
        return "fast is false"
    if trainer._is_vlm:
        return "the model reads images"
    if trainer.aux_loss_enabled:
        return "the router's auxiliary loss depends on who shares a micro-batch"
    return None


def _micro_batch_matters(trainer: Any) -> str | None:
    if trainer.loss_type == "bnpo":
        return "bnpo divides by the tokens of each micro-batch"
    if trainer._entropy_bonus_enabled:
        return "the entropy bonus is a mean over each micro-batch"
    if trainer.top_entropy_quantile < 1.0:
        return "the entropy quantile is taken in each micro-batch"
    return None


def _positions_matter(trainer: Any) -> str | None:
    """TRL numbers positions from the left end of the padding; only relative positions are the same without it."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    config = model.config.get_text_config()
    if not any(type(m).__name__.endswith("RotaryEmbedding") for m in model.modules()):
        return "the model has no rotary positions"
    rope = getattr(config, "rope_parameters", None) or {}
    kinds = {r.get("rope_type", "default") for r in (rope, *rope.values()) if isinstance(r, dict)}
    if kinds & {"dynamic", "longrope"}:
        return "its rotary positions depend on the padded length"
    if set(getattr(config, "layer_types", None) or ()) - {"full_attention", "sliding_attention", "chunked_attention"}:
        return "some of its layers are not attention"
    if any(getattr(c, "is_prompt_learning", False) for c in (getattr(model, "peft_config", None) or {}).values()):
        return "prompt learning puts tokens of its own in front"
    if trainer.args.torch_compile:
        return "torch_compile wants constant shapes"
    if getattr(trainer.accelerator, "parallelism_config", None) is not None:
        return "sequences may be split over devices"
    return None


def _no_training_cache(trainer: Any) -> str | None:
    config = trainer.accelerator.unwrap_model(trainer.model).config.get_text_config()
    if trainer.accelerator.distributed_type != DistributedType.NO:
        return "a model that is wrapped or sharded goes forward once per backward"
    if _checkpoints_activations(trainer):
        return "gradient checkpointing keeps no cache"
    if config._attn_implementation not in ("sdpa", "eager"):
        return f"it is not tested with {config._attn_implementation}"
    if set(getattr(config, "layer_types", None) or ()) - {"full_attention"} or getattr(config, "sliding_window", None):
        return "some layers keep only a window"
    return None


def _no_bounds(trainer: Any) -> str | None:
    """Other attention computes, and hides, what rows would see of each other: padding costs it less. Flex attention would do,
    were it
    told: some models (GPT-OSS) make its masks without the positions."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    config = model.config.get_text_config()
    if (model.get_base_model() if hasattr(model, "peft_config") else model).is_remote_code():
        return "the model's own code may not know bounds between rows"
    if not is_flash(config):
        return f"attention by {config._attn_implementation} knows no bounds between rows"
    if set(getattr(config, "layer_types", None) or ()) - {"full_attention", "sliding_attention"}:
        return "it is not tested with chunked attention"
    return None


def is_flash(config: Any) -> bool:
    """FlashAttention in any of its packages: `flash_attention_2`, `kernels-community/vllm-flash-attn3`."""
    return "flash" in str(config._attn_implementation)


def _no_gradient_in_place(trainer: Any) -> str | None:
    if trainer.accelerator.distributed_type != DistributedType.NO or trainer.args.n_gpu > 1:
        return "what wraps or shards a model collects its gradients"
    if trainer.accelerator.device.type != "cpu":
        return "it is made for processors"
    return _steps_in_backward(trainer)


def _no_pieces(trainer: Any) -> str | None:
    if trainer.accelerator.distributed_type != DistributedType.NO or trainer.args.n_gpu > 1:
        return "a model that is wrapped or sharded goes backward once per micro-batch"
    if _checkpoints_activations(trainer):
        return "gradient checkpointing saves the memory already"
    return _steps_in_backward(trainer)


def _steps_in_backward(trainer: Any) -> str | None:
    if any(kind in str(trainer.args.optim).lower() for kind in ("lomo", "layerwise")):
        return f"the optimizer {trainer.args.optim} takes its step inside the backward pass"
    return None


def _checkpoints_activations(trainer: Any) -> bool:
    """By its arguments, or because the model came so."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    return bool(trainer.args.gradient_checkpointing or getattr(model, "is_gradient_checkpointing", False))
