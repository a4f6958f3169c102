"""The update phase without its waste: the gradient of TRL's `GRPOTrainer` from fewer positions.

    compact   the forward pass sees each row without its padding on the left, cut after its last needed position, and scores only
              positions that are trained or logged: no logits of prompts, padding or masked guidance
    order     rows of one accumulation window are dealt to its micro-batches by length, so that little is padded
    drop      rows whose loss has no gradient (advantage 0, or nothing in them is trained) leave the update
    share     where it pays, what rows have in common before their first needed position (the prompt, and masked guidance) goes
              through the model once, with gradients; the rows continue from copies of its keys and values
    split     a large micro-batch goes forward and backward in pieces: activations of one piece are held at a time, and nothing is
              computed twice, where gradient checkpointing pays for the same memory with another forward pass

Each is exact (relative difference of gradients below 1e-5 in fp32, a test for every loss type) where `levers` has it on, and off
elsewhere. What TRL logs about the loss keeps its name where its meaning stays: see `_log`.
"""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from accelerate.logging import get_logger
from accelerate.utils import DistributedType
from transformers import DynamicCache

from g2rpo.errors import RunError
from g2rpo.training.token_logprobs import score_labelled_positions_only

MEAN_OVER_ROWS = ("grpo", "sapo", "dr_grpo", "luspo")
"""Losses that divide by the rows of a micro-batch; the others (cispo, dapo, vespo) by the tokens of the generation batch."""
TRAINED_ROWS = "trained_rows/"
SHARE_SAVES = 0.4
"""Share of the tokens that a common prefix must save: attention with a cache needs a mask, which is slower than plain causal."""
PIECE_TOKENS = {"cpu": 128}
PIECE_TOKENS_ELSEWHERE = 1024
PIECE_FLOPS = {"cpu": 1e10}
PIECE_FLOPS_ELSEWHERE = 4e12
"""A piece of a micro-batch has at least so many tokens and forward operations: smaller ones cost more than they should."""
PIECES_COST = 1.1
"""Pieces may take so many times the tokens of the whole, where they compute a shared prefix more than once."""
logger = get_logger(__name__)


@dataclass(frozen=True)
class Levers:
    """Which exact speed-ups are on, and for those that are off, why."""

    compact: bool
    order: bool
    drop: bool
    share: bool = False
    split: bool = False
    why_not: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        on = [name for name in ("compact", "order", "drop", "share", "split") if name not in self.why_not]
        return f"Update levers on: {', '.join(on) or 'none'}. " + " ".join(f"{k}: off, {v}." for k, v in self.why_not.items())


def levers(trainer: Any) -> Levers:
    """What is exact for this trainer's loss, model and set-up."""
    everywhere = _not_plain_text(trainer)
    per_micro_batch = everywhere or _micro_batch_matters(trainer)
    gradient = per_micro_batch or (f"beta is {trainer.beta:g}: every row has a KL gradient" if trainer.beta else None)
    if trainer.args.guided and trainer.args.guidance_loss == "sft":
        gradient = gradient or "guidance tokens are learned whatever the reward"
    padding = everywhere or _positions_matter(trainer)
    why_not = {
        "compact": padding, "order": per_micro_batch, "drop": gradient, "share": padding or _no_training_cache(trainer),
        "split": per_micro_batch or _no_pieces(trainer),
    }  # fmt: skip
    why_not = {name: reason for name, reason in why_not.items() if reason}
    on = {name: name not in why_not for name in ("compact", "order", "share", "split")}
    # Rows where nothing is trained can be dropped in spite of a KL term or a loss on the guidance.
    return Levers(**on, drop=not per_micro_batch, why_not=why_not)


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


def _no_pieces(trainer: Any) -> str | None:
    if trainer.accelerator.distributed_type != DistributedType.NO or trainer.args.n_gpu > 1:
        return "a model that is wrapped or sharded goes backward once per micro-batch"
    if _checkpoints_activations(trainer):
        return "gradient checkpointing saves the memory already"
    if any(kind in str(trainer.args.optim).lower() for kind in ("lomo", "layerwise")):
        return f"the optimizer {trainer.args.optim} takes its step inside the backward pass"
    return None


def _checkpoints_activations(trainer: Any) -> bool:
    """By its arguments, or because the model came so."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    return bool(trainer.args.gradient_checkpointing or getattr(model, "is_gradient_checkpointing", False))


class FastUpdate:
    """Mixin in front of `GRPOTrainer`: its update phase with the levers that `self.levers` has on."""

    levers = Levers(False, False, False)
    _scored_BC: torch.Tensor | None = None
    """While a loss is computed: which completion positions are trained. None: all that are not padding."""

    def choose_levers(self) -> None:
        self.levers = levers(self)
        logger.info(str(self.levers))

    # ------------------------------------------------------------------ order, drop

    def _generate_and_score_completions(self, inputs):
        output = super()._generate_and_score_completions(inputs)
        self.forget_masked(output)
        return output

    def forget_masked(self, output: dict[str, Any]) -> None:
        """Log-probabilities of masked positions are not computed again: they read 0 on both sides of each ratio."""
        if self.levers.compact and "tool_mask" in output:
            for name in ("old_per_token_logps", "ref_per_token_logps"):
                if name in output:
                    output[name] = output[name].masked_fill(output["tool_mask"] == 0, 0.0)

    def _prepare_inputs(self, generation_batch):
        before = self._buffered_inputs
        inputs = super()._prepare_inputs(generation_batch)
        if not self.model.training or not self.levers.order or self._buffered_inputs is before:
            return inputs
        self._buffered_inputs = self._deal(self._buffered_inputs)
        return self._buffered_inputs[self._step % self.args.steps_per_generation]

    def _deal(self, batches: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Micro-batches of one generation batch, dealt anew within each accumulation window."""
        # Where windows and buffers do not divide each other, whatever divides both lies within one window.
        size = torch.gcd(torch.tensor(len(batches)), torch.tensor(self.args.gradient_accumulation_steps)).item()
        windows = [merge(batches[start : start + size]) for start in range(0, len(batches), size)]
        masks = [trained_positions(window) for window in windows]
        rows = len(masks[0])
        live = [(mask > 0).any(1) if self.levers.drop else torch.ones(rows, dtype=torch.bool) for mask in masks]
        if self.levers.drop and "drop" not in self.levers.why_not:
            live = [x & has_advantage(window["advantages"]) for x, window in zip(live, windows, strict=True)]
        # Every process keeps as many rows as the fullest one (at least one for each backward call): collectives stay aligned.
        counts = torch.stack([x.sum() for x in live]).to(self.accelerator.device)
        counts = self.accelerator.gather(counts[None]).amax(0).clamp(min=size).tolist()
        pieces = [
            self._pieces(window, x, n, size) if self.levers.split else 1
            for window, x, n in zip(windows, live, counts, strict=True)
        ]
        dealt = [
            deal(window, x, n, size * k, self.levers.share) for window, x, n, k in zip(windows, live, counts, pieces, strict=True)
        ]
        tokens = torch.zeros(len(dealt), size * max(pieces))
        for row, parts in zip(tokens, dealt, strict=True):
            row[: len(parts)] = torch.stack([trained_positions(part).sum() for part in parts])
        whole = torch.stack([mask.sum() for mask in masks]).float().cpu()
        shares = self.accelerator.reduce(
            torch.cat([tokens, whole[:, None]], 1).to(self.accelerator.device), reduction="sum"
        ).cpu()
        tokens, whole = shares[:, :-1], shares[:, -1:]
        of_kept, of_all = (tokens * size / total.clamp(min=1.0) for total in (tokens.sum(1, keepdim=True), whole))
        batches = []
        for window, parts in enumerate(dealt):
            for i, part in enumerate(parts):
                part["shares"] = Shares(
                    len(part["advantages"]) * size / rows, of_all[window, i].item(), of_kept[window, i].item()
                )
            k = pieces[window]
            batches += parts if k == 1 else [{"pieces": parts[i : i + k]} for i in range(0, len(parts), k)]
        return batches

    def _pieces(self, window: dict[str, Any], live_B: torch.Tensor, count: int, size: int) -> int:
        """Into how many pieces each micro-batch of a window goes, `count` rows in `size` micro-batches."""
        device = self.accelerator.device.type
        parameters = max(1, self.accelerator.unwrap_model(self.model).num_parameters(exclude_embeddings=True))
        flops = PIECE_FLOPS.get(device, PIECE_FLOPS_ELSEWHERE)
        least = max(PIECE_TOKENS.get(device, PIECE_TOKENS_ELSEWHERE), flops / (2 * parameters))
        whole = arrange(window, live_B, count, size, self.levers.share)[1]
        pieces = min(count // size, int(whole / size / least))
        while pieces > 1:
            # Rows that share a prefix compute it once, and only where they go through the model together.
            if arrange(window, live_B, count, size * pieces, self.levers.share)[1] <= PIECES_COST * whole:
                return pieces
            pieces //= 2
        return 1

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        if "pieces" not in inputs:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        *first, last = inputs["pieces"]
        metrics = self._metrics["train"]
        self._metrics["train"] = of_pieces = type(metrics)(list)
        try:
            done = 0.0
            for piece in first:
                loss = super().compute_loss(model, piece, return_outputs, num_items_in_batch)
                self.accelerator.backward(loss)
                done += loss.detach()
            loss = super().compute_loss(model, last, return_outputs, num_items_in_batch) + done
        finally:
            self._metrics["train"] = metrics
        for name, values in of_pieces.items():
            metrics[name].append(_of_micro_batch(name, values))
        return loss

    def _compute_loss(self, model, inputs):
        if self.levers.compact:
            self._scored_BC = trained_positions(inputs).bool()
        shares = inputs.get("shares")
        mode = "train" if self.model.training else "eval"
        metrics = self._metrics[mode]
        if shares is not None:
            self._metrics[mode] = type(metrics)(list)
        try:
            loss = super()._compute_loss(model, inputs)
            if shares is not None:
                for name, values in self._metrics[mode].items():
                    name, factor = self._logged(name, shares)
                    metrics[name].extend(value * factor for value in values)
        finally:
            self._scored_BC, self._metrics[mode] = None, metrics
        return loss * shares.rows if shares is not None and self.loss_type in MEAN_OVER_ROWS else loss

    def _logged(self, name: str, shares: "Shares") -> tuple[str, float]:
        """Name and weight of a figure that TRL took from one micro-batch; what is logged is the mean over micro-batches.

        Token means are weighted to be the mean over the tokens of the whole window, where TRL gives each micro-batch the same
        weight. Rows that are dropped would not have been clipped, so clip ratios count them and keep their names; of the others
        only the rows in the update are known, and their names say so.
        """
        if (name.startswith("clip_ratio/") and name.endswith("_mean")) or name == "cispo_clip_ratio":
            by_row = self.importance_sampling_level == "sequence"
            return name, shares.rows if by_row else shares.tokens
        factor = shares.kept_tokens if name in ("entropy", "kl") else 1.0
        every_row = not self.levers.drop or "drop" in self.levers.why_not
        return (name if every_row else TRAINED_ROWS + name), factor

    # ------------------------------------------------------------------ compact

    def _get_per_token_logps_and_entropies(
        self, model, input_ids, attention_mask, logits_to_keep, batch_size=None, compute_entropy=False, compute_aux_loss=False, **inputs
    ):  # fmt: skip
        if not self.levers.compact or compute_aux_loss or any(value is not None for value in inputs.values()):
            return super()._get_per_token_logps_and_entropies(
                model, input_ids, attention_mask, logits_to_keep, batch_size, compute_entropy, compute_aux_loss, **inputs
            )
        needed = attention_mask.bool()
        needed[:, :-logits_to_keep] = False
        if self._scored_BC is not None:
            needed[:, -logits_to_keep:] &= self._scored_BC
        rows = compact(input_ids, attention_mask, needed)
        logps = input_ids.new_zeros(len(input_ids), logits_to_keep, dtype=torch.float32)
        entropies = torch.zeros_like(logps) if compute_entropy else None
        # Rows of about one length share a chunk; a loss comes as one chunk.
        order = rows.lengths_B.argsort()
        for chunk in order.split(batch_size or len(order)):
            part = rows.take(chunk)
            prefix = common_prefix(part) if self.levers.share else None
            with self.accelerator.autocast(), score_labelled_positions_only(input_ids.device):
                if prefix is None:
                    outputs = model(input_ids=part.ids_BT, labels=part.labels_BT, fused_lm_head=True)
                else:
                    part = prefix.rest
                    outputs = model(
                        input_ids=part.ids_BT, labels=part.labels_BT, fused_lm_head=True, **_after(model, prefix)
                    )  # fmt: skip
            logps = logps.index_copy(0, chunk, part.spread(outputs.log_probs, input_ids.shape[1])[:, -logits_to_keep:])
            if compute_entropy:
                entropies = entropies.index_copy(0, chunk, part.spread(outputs.entropy, input_ids.shape[1])[:, -logits_to_keep:])
        return logps, entropies, None


@dataclass(frozen=True)
class Shares:
    """What one micro-batch, or piece of one, is of its window, times the number of micro-batches: 1 when all of these are alike."""

    rows: float
    """Rows kept here, of all rows."""
    tokens: float
    """Trained tokens here, of those of all rows."""
    kept_tokens: float
    """Trained tokens here, of those of rows kept."""


def _of_micro_batch(name: str, values: list[float]) -> float:
    """A logged figure of a micro-batch from those of its pieces: token and row means are weighted already (`FastUpdate._logged`)."""
    if name.endswith(("_min", "_max")):
        return min(values) if name.endswith("_min") else max(values)
    name = name.removeprefix(TRAINED_ROWS)
    weighted = name in ("entropy", "kl", "cispo_clip_ratio") or name.startswith("clip_ratio/")
    return sum(values) if weighted else sum(values) / len(values)


def trained_positions(batch: dict[str, Any]) -> torch.Tensor:
    """(rows, completion positions), 1 where a token is trained."""
    return batch["completion_mask"] * batch.get("tool_mask", 1)


def has_advantage(advantages: torch.Tensor) -> torch.Tensor:
    """Rows with any advantage; (B,) or, per token, (B, T)."""
    return advantages.view(len(advantages), -1).ne(0).any(1)


def merge(batches: list[dict[str, Any]]) -> dict[str, Any]:
    """One batch of all rows; scalars are the same in each."""
    return {
        name: torch.cat([b[name] for b in batches]) if isinstance(value, torch.Tensor) and value.dim() else value
        for name, value in batches[0].items()
    }


def deal(window: dict[str, Any], live_B: torch.Tensor, count: int, parts: int, share: bool = False) -> list[dict[str, Any]]:
    """`count` rows of a window in `parts` micro-batches, as `arrange` orders them.

    The longest come first: what memory they leave is room for all that follow, and if there is too little of it, that shows at once.
    """
    kept, _ = arrange(window, live_B, count, parts, share)
    return [
        {name: value[rows] if isinstance(value, torch.Tensor) and value.dim() else value for name, value in window.items()}
        for rows in reversed(kept.tensor_split(parts))
    ]


def arrange(
    window: dict[str, Any], live_B: torch.Tensor, count: int, parts: int, share: bool = False
) -> tuple[torch.Tensor, int]:
    """Rows by length: all live ones, and the shortest of the others to make up `count`; and the tokens that they take in `parts`.

    With `share`, rows of one prompt stay together where that leaves fewer tokens to compute.
    """
    prompts_B = window["prompt_mask"].sum(1)
    lengths_B = prompts_B + window["completion_mask"].sum(1)
    by_length = lengths_B.argsort(stable=True)
    kept = by_length[(~live_B[by_length]).to(torch.int8).argsort(stable=True)][:count]
    kept = kept[lengths_B[kept].argsort(stable=True)]
    if not share:
        return kept, sum(len(rows) * int(lengths_B[rows].amax()) for rows in kept.tensor_split(parts))
    _, group_B = window["prompt_ids"].unique(dim=0, return_inverse=True)
    longest_B = lengths_B.new_zeros(len(group_B)).scatter_reduce(0, group_B[kept], lengths_B[kept], "amax")[group_B]
    together = kept[group_B[kept].argsort(stable=True)]
    together = together[longest_B[together].argsort(stable=True)]
    cost = partial(_tokens, parts=parts, lengths_B=lengths_B, prompts_B=prompts_B, group_B=group_B)
    tokens, kept = min(((cost(order), order) for order in (kept, together)), key=lambda found: found[0])
    return kept, tokens


def _tokens(order: torch.Tensor, parts: int, lengths_B: torch.Tensor, prompts_B: torch.Tensor, group_B: torch.Tensor) -> int:
    """Tokens that go through the model, padding included, when rows are dealt in this order and prompts shared where it pays."""
    total = 0
    for rows in order.tensor_split(parts):
        plain = len(rows) * int(lengths_B[rows].amax())
        shared = len(group_B[rows].unique()) * int(prompts_B[rows].amax()) + len(rows) * int((lengths_B - prompts_B)[rows].amax())
        total += shared if shared <= (1 - SHARE_SAVES) * plain else plain
    return total


@dataclass(frozen=True)
class Rows:
    """Rows that begin at position 0 and are padded on the right only: causal attention needs no mask to ignore that padding."""

    ids_BT: torch.Tensor
    labels_BT: torch.Tensor
    """The token's id where its log-probability is needed, else -100."""
    starts_B: torch.Tensor
    """Padding that stood on the left."""
    lengths_B: torch.Tensor

    def take(self, rows: torch.Tensor) -> "Rows":
        """Some of the rows, as wide as the longest of them."""
        width = int(self.lengths_B[rows].max())
        return Rows(self.ids_BT[rows, :width], self.labels_BT[rows, :width], self.starts_B[rows], self.lengths_B[rows])

    def spread(self, values: torch.Tensor, width: int) -> torch.Tensor:
        """Values of positions 1... (B, T - 1) at the places where their tokens stood (B, width); 0 where none was needed."""
        source = torch.arange(width, device=values.device) - self.starts_B[:, None] - 1
        inside = (source >= 0) & (source < values.shape[1])
        return values.gather(1, source.clamp(0, values.shape[1] - 1)).masked_fill(~inside, 0.0)


@dataclass(frozen=True)
class Prefix:
    """What comes before the first needed position of each row, each distinct one once."""

    ids_UP: torch.Tensor
    """Padded on the left with -1."""
    of_row_B: torch.Tensor
    rest: Rows
    """The rows from there on; their first token is scored by none and scores the next."""


def common_prefix(rows: Rows) -> Prefix | None:
    """The prefixes of rows, or None where computing each once would not save `SHARE_SAVES` of the tokens."""
    width, device = rows.ids_BT.shape[1], rows.ids_BT.device
    labelled = rows.labels_BT != -100
    cuts_B = torch.where(labelled.any(1), labelled.to(torch.int8).argmax(1), rows.lengths_B - 1) - 1
    longest, rest = int(cuts_B.max()), int((rows.lengths_B - cuts_B).max())
    if int(cuts_B.min()) < 1:
        return None
    source = torch.arange(longest, device=device) - (longest - cuts_B[:, None])
    ids_BP = rows.ids_BT.gather(1, source.clamp(min=0)).masked_fill(source < 0, -1)
    ids_UP, of_row_B = ids_BP.unique(dim=0, return_inverse=True)
    if len(ids_UP) * longest + len(ids_BP) * rest > (1 - SHARE_SAVES) * len(ids_BP) * width:
        return None
    source = cuts_B[:, None] + torch.arange(rest, device=device)
    labels = rows.labels_BT.gather(1, source.clamp(max=width - 1)).masked_fill(source >= width, -100)
    after = Rows(rows.ids_BT.gather(1, source.clamp(max=width - 1)), labels, rows.starts_B + cuts_B, rows.lengths_B - cuts_B)
    return Prefix(ids_UP, of_row_B, after)


def _after(model: Any, prefix: Prefix) -> dict[str, Any]:
    """Inputs with which a model continues from prefixes: their keys and values, one copy per row, and what is padding in them."""
    model = model.get_base_model() if hasattr(model, "peft_config") else model
    cache, mask_UP = DynamicCache(config=model.config), prefix.ids_UP >= 0
    model.base_model(input_ids=prefix.ids_UP.clamp(min=0), attention_mask=mask_UP.long(), past_key_values=cache, use_cache=True)
    if cache.get_seq_length() != mask_UP.shape[1]:
        raise RunError("the cache of a shared prefix", f"{cache.get_seq_length()} tokens", expected=f"{mask_UP.shape[1]}: this model keeps none in training",
                       then="Set fast to false, and tell us the architecture.")  # fmt: skip
    cache.batch_select_indices(prefix.of_row_B)
    mask_BP = mask_UP[prefix.of_row_B].long()
    mask_BR = mask_BP.new_ones(prefix.rest.ids_BT.shape)
    return {"past_key_values": cache, "attention_mask": torch.cat([mask_BP, mask_BR], 1)}


def compact(input_ids: torch.Tensor, attention_mask: torch.Tensor, needed: torch.Tensor) -> Rows:
    """Rows without padding on the left, cut after the last position that is needed.

    Args:
        input_ids: (B, L), padded on the left and on the right.
        attention_mask: (B, L), ones in one piece.
        needed: (B, L), positions whose token is scored.
    """
    places = torch.arange(input_ids.shape[1], device=input_ids.device)
    starts_B = attention_mask.argmax(1)
    ends_B = torch.where(needed, places + 1, 0).amax(1)
    # Two at least: the fused head scores each token from the one before.
    lengths_B = (ends_B - starts_B).clamp(min=2)
    labels = torch.where(needed, input_ids, -100)
    source = (starts_B[:, None] + torch.arange(int(lengths_B.max()), device=input_ids.device)).clamp(max=input_ids.shape[1] - 1)
    inside = torch.arange(source.shape[1], device=input_ids.device) < lengths_B[:, None]
    return Rows(input_ids.gather(1, source), labels.gather(1, source).masked_fill(~inside, -100), starts_B, lengths_B)
