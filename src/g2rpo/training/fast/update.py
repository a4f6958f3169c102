"""The update phase without its waste: the gradient of TRL's `GRPOTrainer` from fewer positions.

    compact   the forward pass sees each row without its padding on the left, cut after its last needed position, and scores only
              positions that are trained or logged: no logits of prompts, padding or masked guidance
    order     rows of one accumulation window are dealt to its micro-batches by length, so that little is padded
    drop      rows whose loss has no gradient (advantage 0, or nothing in them is trained) leave the update
    share     where it pays, what rows have in common before their first needed position (the prompt, and masked guidance) goes
              through the model once, with gradients; the rows continue from copies of its keys and values
    pack      with FlashAttention, which knows bounds between rows, a micro-batch is one line without padding
    split     a large micro-batch goes forward and backward in pieces: activations of one piece are held at a time, and nothing is
              computed twice, where gradient checkpointing pays for the same memory with another forward pass
    accumulate  gradients of embedding and head are added to those of their weights in place (`token_logprobs.py`)

Each is exact (relative difference of gradients below 1e-5 in fp32, a test for every loss type) where `optimizations` has it on,
and off elsewhere. What TRL logs about the loss keeps its name where its meaning stays: see `_logged`.
"""

import contextlib
from typing import Any

import torch
from accelerate.logging import get_logger

from g2rpo.training.fast.compact_rows import Rows, after_prefix, common_prefix, compact, pack
from g2rpo.training.fast.micro_batches import Shares, arrange, deal, has_advantage, merge, trained_positions
from g2rpo.training.fast.optimizations import Optimizations, optimizations
from g2rpo.training.fast.token_logprobs import accumulating, score_labelled_positions_only

MEAN_OVER_ROWS = ("grpo", "sapo", "dr_grpo", "luspo")
"""Losses that divide by the rows of a micro-batch; the others (cispo, dapo, vespo) by the tokens of the generation batch."""
TRAINED_ROWS = "trained_rows/"
PIECE_TOKENS = {"cpu": 112}
PIECE_TOKENS_ELSEWHERE = 1024
PIECE_FLOPS = {"cpu": 1e10}
PIECE_FLOPS_ELSEWHERE = 4e12
"""A piece of a micro-batch has at least so many tokens and forward operations: smaller ones cost more than they should."""
PIECES_COST = 1.1
"""Pieces may take so many times the tokens of the whole, where they compute a shared prefix more than once."""
logger = get_logger(__name__)


class FastUpdate:
    """Mixin in front of `GRPOTrainer`: its update phase with the optimizations that `self.optimizations` has on."""

    optimizations = Optimizations(False, False, False)
    in_loss: dict[str, Any] | None = None
    """The micro-batch whose loss TRL is computing; None outside of it."""

    def choose_optimizations(self) -> None:
        self.optimizations = optimizations(self)
        logger.info(str(self.optimizations))

    # ------------------------------------------------------------------ order, drop

    def _generate_and_score_completions(self, inputs):
        output = super()._generate_and_score_completions(inputs)
        self.forget_masked(output)
        return output

    def forget_masked(self, output: dict[str, Any]) -> None:
        """Log-probabilities of masked positions are not computed again: they read 0 on both sides of each ratio."""
        if self.optimizations.compact and "tool_mask" in output:
            for name in ("old_per_token_logps", "ref_per_token_logps"):
                if name in output:
                    output[name] = output[name].masked_fill(output["tool_mask"] == 0, 0.0)

    def _prepare_inputs(self, generation_batch):
        before = self._buffered_inputs
        inputs = super()._prepare_inputs(generation_batch)
        if not self.model.training or not self.optimizations.order or self._buffered_inputs is before:
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
        live = [(mask > 0).any(1) if self.optimizations.drop else torch.ones(rows, dtype=torch.bool) for mask in masks]
        if self.optimizations.drop and "drop" not in self.optimizations.why_not:
            live = [x & has_advantage(window["advantages"]) for x, window in zip(live, windows, strict=True)]
        # Every process keeps as many rows as the fullest one (at least one for each backward call): collectives stay aligned.
        counts = torch.stack([x.sum() for x in live]).to(self.accelerator.device)
        counts = self.accelerator.gather(counts[None]).amax(0).clamp(min=size).tolist()
        pieces = [
            self._pieces(window, x, n, size) if self.optimizations.split else 1
            for window, x, n in zip(windows, live, counts, strict=True)
        ]
        dealt = [
            deal(window, x, n, size * k, self.optimizations.share)
            for window, x, n, k in zip(windows, live, counts, pieces, strict=True)
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
        whole = arrange(window, live_B, count, size, self.optimizations.share, whole=True)[1]
        pieces = min(count // size, int(whole / size / least))
        while pieces > 1:
            # Rows that share a prefix compute it once, and only where they go through the model together.
            if arrange(window, live_B, count, size * pieces, self.optimizations.share, whole=True)[1] <= PIECES_COST * whole:
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
        self.in_loss = inputs
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
            self.in_loss, self._metrics[mode] = None, metrics
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
        every_row = not self.optimizations.drop or "drop" in self.optimizations.why_not
        return (name if every_row else TRAINED_ROWS + name), factor

    # ------------------------------------------------------------------ compact

    def _get_per_token_logps_and_entropies(
        self,
        model,
        input_ids,
        attention_mask,
        logits_to_keep,
        batch_size=None,
        compute_entropy=False,
        compute_aux_loss=False,
        **inputs,
    ):
        if not self.optimizations.compact or compute_aux_loss or any(value is not None for value in inputs.values()):
            return super()._get_per_token_logps_and_entropies(
                model, input_ids, attention_mask, logits_to_keep, batch_size, compute_entropy, compute_aux_loss, **inputs
            )
        needed_BC = attention_mask[:, -logits_to_keep:].bool()
        if self.in_loss is not None:
            needed_BC = needed_BC & trained_positions(self.in_loss).bool()
        return self.score(model, input_ids, attention_mask, needed_BC, batch_size, compute_entropy)

    def score(self, model, input_ids, attention_mask, needed_BC, batch_size=None, compute_entropy=False):
        """Log-probabilities and entropies of the needed completion positions, nats, shape (B, C); 0 elsewhere."""
        logits_to_keep = needed_BC.shape[1]
        needed = torch.zeros_like(attention_mask, dtype=torch.bool)
        needed[:, -logits_to_keep:] = needed_BC
        rows = compact(input_ids, attention_mask, needed)
        logps = input_ids.new_zeros(len(input_ids), logits_to_keep, dtype=torch.float32)
        entropies = torch.zeros_like(logps) if compute_entropy else None
        # Rows of about one length share a chunk; a loss comes as one chunk.
        order = rows.lengths_B.argsort()
        for chunk in order.split(batch_size or len(order)):
            part = rows.take(chunk)
            with self.accelerator.autocast(), score_labelled_positions_only(input_ids.device), self._accumulating(model):
                part, found = self._scores_of(model, part)
            # A sharded model may give its outputs in the dtype of its parameters (FSDP2's `output_dtype`).
            spread = lambda values, rows=part: rows.spread(values.float(), input_ids.shape[1])[:, -logits_to_keep:]  # noqa: E731
            logps = logps.index_copy(0, chunk, spread(found[0]))
            if compute_entropy:
                entropies = entropies.index_copy(0, chunk, spread(found[1]))
        return logps, entropies, None

    def _accumulating(self, model: Any) -> contextlib.AbstractContextManager:
        embedding = self.accelerator.unwrap_model(model).get_input_embeddings() if self.optimizations.accumulate else None
        return contextlib.nullcontext() if embedding is None else accumulating(embedding)

    def _scores_of(self, model: Any, rows: Rows) -> tuple[Rows, list[torch.Tensor]]:
        """The rows that went through the model, and log-probabilities and entropies of their positions 1..., each (B, T - 1)."""
        if self.optimizations.pack:
            line = pack(rows)
            outputs = model(input_ids=line.ids_1N, labels=line.labels_1N, fused_lm_head=True, **line.bounds())
            return rows, [line.unpack(values) for values in (outputs.log_probs, outputs.entropy)]
        prefix = common_prefix(rows) if self.optimizations.share else None
        more = {}
        if prefix is not None:
            rows, more = prefix.rest, after_prefix(model, prefix)
        outputs = model(input_ids=rows.ids_BT, labels=rows.labels_BT, fused_lm_head=True, **more)
        return rows, [outputs.log_probs, outputs.entropy]


def _of_micro_batch(name: str, values: list[float]) -> float:
    """A logged figure of a micro-batch from those of its pieces: token and row means are weighted already
    (`FastUpdate._logged`)."""
    if name.endswith(("_min", "_max")):
        return min(values) if name.endswith("_min") else max(values)
    name = name.removeprefix(TRAINED_ROWS)
    weighted = name in ("entropy", "kl", "cispo_clip_ratio") or name.startswith("clip_ratio/")
    return sum(values) if weighted else sum(values) / len(values)
