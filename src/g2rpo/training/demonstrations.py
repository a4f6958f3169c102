"""Demonstrations: completions that are given whole (trace, answer, end of turn) and learned from without sampling.

    warm start      whole steps of imitation without sampling, one demonstration per group, while hardly any group has a success
                    (`method/warm_start.py` says when)
    member          inside a step of RL, rollouts that are shown the whole trace are whole demonstrations (LUFFY, arXiv
                    2504.14945; TRAPO, 2512.17636)
    failed groups   inside a step of RL, one row of a group without a success gives way to the demonstration of its problem

Their tokens count in the budget as imitated tokens.
"""

import json
import math
from dataclasses import replace
from typing import Any

import torch
from accelerate.logging import get_logger

from g2rpo.data.completion import full_completion, style
from g2rpo.data.problem import Problem
from g2rpo.method.leak_guard import states_answer
from g2rpo.method.planner import row_key
from g2rpo.method.prefix import encode_plain
from g2rpo.method.rollout import GuidedPrompt, Outcome
from g2rpo.method.warm_start import WarmStart, WarmStartState

logger = get_logger(__name__)


class Demonstrates:
    """Mixin in front of `GuidedGRPOTrainer`'s other bases."""

    warm_start = WarmStart()
    warm_start_state = WarmStartState()

    def demonstration(self, row: dict[str, Any]) -> list[int]:
        """Ids of the whole completion of a row, end of turn included; none where it has no trace or does not fit the budget."""
        args = self.args
        trace, answer = row.get(args.guidance_trace_column), row.get(args.guidance_answer_column)
        tests = row.get("tests")
        tests = json.loads(tests) if isinstance(tests, str) else tests
        if not trace or (answer is None and not (tests or {}).get("solution")):
            return []
        problem = Problem(row_key(row), row["prompt"], answer=None if answer is None else str(answer), trace=trace, tests=tests)
        text = full_completion(problem, style(args.guidance_style).opened_by(self.planner.prompt_tail))
        ids = [*encode_plain(self._tokenizer, text)[0], self._tokenizer.eos_token_id]
        return ids if len(ids) <= self.max_completion_length else []

    def demonstrated(self, start: GuidedPrompt, row: dict[str, Any]) -> GuidedPrompt:
        """The guided prompt with its problem's whole demonstration as guidance; as it is where it does not show the whole trace,
        or there is none."""
        ids = self.demonstration(row) if start.fraction == 1 else []
        if not ids:
            return start
        return replace(start, guidance_ids=tuple(ids), trace_length=len(ids), whole=True)

    @property
    def imitates(self) -> bool:
        """Whether the present step imitates instead of sampling."""
        return self.args.guidance_warm_start and self.args.guided and self.warm_start.imitates(self.warm_start_state)

    def _demonstrations(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Rows for the model, of this process: the first rollout of each group is its demonstration, the others are masked."""
        device, pad_id = self.accelerator.device, self._tokenizer.pad_token_id
        prompts = self._tokenize_prompts([row["prompt"] for row in rows])[0]
        completions = [self.demonstration(row) for row in rows]
        first_B = torch.tensor([self._rollout_index(i) == 0 for i in range(len(rows))], device=device)
        prompt_ids, prompt_mask = _padded(prompts, pad_id, device, left=True)
        completion_ids, completion_mask = _padded([ids or [pad_id] for ids in completions], pad_id, device, left=False)
        demonstrated_B = first_B & torch.tensor([bool(ids) for ids in completions], device=device)
        return {
            "prompt_ids": prompt_ids,
            "prompt_mask": prompt_mask,
            "completion_ids": completion_ids,
            "completion_mask": completion_mask,
            "tool_mask": completion_mask * demonstrated_B[:, None],
            "advantages": demonstrated_B.float(),
        }

    @torch.no_grad()
    def demonstrations_are_worthwhile(self, rows: list[dict[str, Any]]) -> bool:
        """Whether imitating demonstrations like those of these rows can help (`method/warm_start.py`). All processes go forward
        together, and all get the same answer."""
        args, batch = self.args, self._demonstrations(rows)
        ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
        mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
        logps_BC, *_ = self._get_per_token_logps_and_entropies(
            self.model, ids, mask, batch["completion_ids"].shape[1], args.per_device_train_batch_size
        )
        traces = [(row.get(args.guidance_trace_column), row.get(args.guidance_answer_column)) for row in rows]
        stated = [states_answer(trace, None if answer is None else str(answer)) for trace, answer in traces if trace]
        counts = [(logps_BC * batch["tool_mask"]).sum(), batch["tool_mask"].sum(), sum(stated), len(stated)]
        mine = torch.stack([torch.as_tensor(float(x), device=self.accelerator.device) for x in counts])
        logp, tokens, stating, traced = self.accelerator.reduce(mine, reduction="sum").tolist()
        perplexity = math.exp(min(-logp / max(1.0, tokens), 50.0))
        logger.info("Demonstrations: perplexity %.3g; %d of %d traces state their answer.", perplexity, stating, traced)
        return tokens > 0 and perplexity < self.warm_start.foreign and 2 * stating >= traced

    def imitation_batch(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """A batch for the loss, of this process: one demonstration per group."""
        output, device = self._demonstrations(rows), self.accelerator.device
        if self.use_vllm and self.vllm_importance_sampling_correction:
            output["importance_sampling_ratio"] = torch.ones(len(rows), 1, device=device)
        output["num_items_in_batch"] = tokens = self.tokens_in_loss(output)
        self._totals["tokens/imitated_total"] += float(tokens)
        self._totals["tokens/trained_total"] += float(tokens)
        self._metrics["train"]["guidance/tokens/imitated"].append(float(tokens))
        self._metrics["train"]["guidance/tokens/imitated_total"] = [self._totals["tokens/imitated_total"]]
        self._metrics["train"]["guidance/warm_start"].append(1.0)
        self.warm_start_state = self.warm_start.after_imitation(self.warm_start_state)
        return output

    def demonstrate_failed_groups(self, output: dict[str, Any], outcomes: list[Outcome]) -> None:
        """Puts a demonstration into the last row of each group of this process without a success.

        The row gets advantage 1, and its tokens are weighed as the guidance loss weighs given tokens that are verified. Groups
        that extend into another process stay as they are.
        """
        size, rows = self.num_generations, self.step_batch.rows
        own = self._of_this_process(outcomes, len(rows))
        added = {}
        for last in range(size - 1, len(rows)):
            scores = [o.success for o in own[last + 1 - size : last + 1] if o.success is not None]
            whole = self._rollout_index(last) == size - 1
            if whole and scores and not any(s > 0 for s in scores) and (ids := self.demonstration(rows[last])):
                added[last] = ids
        _widen(output, max(map(len, added.values()), default=0), self._tokenizer.pad_token_id)
        for i, ids in added.items():
            end = len(ids)
            output["completion_ids"][i, :end] = torch.tensor(ids, device=output["completion_ids"].device)
            output["completion_ids"][i, end:] = self._tokenizer.pad_token_id
            output["completion_mask"][i, :end], output["completion_mask"][i, end:] = 1, 0
            output["advantages"][i] = 1.0
            for name, value in (("tool_mask", 1), ("importance_sampling_ratio", 1), ("guidance_tokens", end), ("verified", 1)):
                if name in output:
                    output[name][i] = value
        if self.count_imitated(sum(map(len, added.values()))):
            self._score_demonstrations(output, list(added))
            output["num_items_in_batch"] = self.tokens_in_loss(output)

    def count_imitated(self, tokens: int) -> float:
        """Adds the demonstration tokens of this process, and of all others, to the budget; returns their sum."""
        everyones = torch.tensor(float(tokens), device=self.accelerator.device)
        total = self.accelerator.reduce(everyones, reduction="sum").item()
        self._totals["tokens/imitated_total"] += total
        self._metrics["train"]["guidance/tokens/imitated"].append(total)
        return total

    def _score_demonstrations(self, output: dict[str, Any], added: list[int]) -> None:
        """Log-probabilities under the old policy, where the loss compares with it. All processes go forward together."""
        if "old_per_token_logps" not in output:
            return
        ids = torch.cat([output["prompt_ids"], output["completion_ids"]], dim=1)
        mask = torch.cat([output["prompt_mask"], output["completion_mask"]], dim=1)
        with torch.no_grad():
            scored, *_ = self._get_per_token_logps_and_entropies(
                self.model, ids, mask, output["completion_ids"].shape[1], self.args.per_device_train_batch_size
            )
        for name in ("old_per_token_logps", "sampling_per_token_logps"):
            if name in output:
                output[name][added] = scored[added]


def _widen(output: dict[str, Any], width: int, pad_id: int) -> None:
    """Makes room for `width` completion tokens in every tensor that has a column per completion token."""
    present = output["completion_ids"].shape[1]
    for name, value in output.items():
        per_token = isinstance(value, torch.Tensor) and value.dim() == 2 and value.shape[1] == present
        if width > present and per_token and not name.startswith("prompt_"):
            filler = pad_id if name == "completion_ids" else 1 if name in ("tool_mask", "importance_sampling_ratio") else 0
            output[name] = torch.nn.functional.pad(value, (0, width - present), value=filler)


def _padded(rows: list[list[int]], pad_id: int, device: Any, *, left: bool) -> tuple[torch.Tensor, torch.Tensor]:
    width = max(map(len, rows))
    ids, mask = torch.full((len(rows), width), pad_id), torch.zeros(len(rows), width, dtype=torch.long)
    for i, row in enumerate(rows):
        place = slice(width - len(row), width) if left else slice(0, len(row))
        ids[i, place], mask[i, place] = torch.tensor(row), 1
    return ids.to(device), mask.to(device)
