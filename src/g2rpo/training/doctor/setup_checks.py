"""What can be wrong with a set-up before a single token is drawn: template, seam, DeepSpeed, a patched trainer."""

import inspect
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from packaging.version import Version

from g2rpo.data.completion import STYLES, full_completion, style
from g2rpo.data.problem import Problem
from g2rpo.method.planner import Planner
from g2rpo.method.prefix import encode_plain
from g2rpo.training.run.preflight import think_block_fault

GRADIENTS_LOST = (Version("0.15.2"), Version("0.19.0"))
"""DeepSpeed from the first to before the second: ZeRO 1 and 2 with the optimizer on the CPU keep the first and the last of the
micro-batches that one step accumulates (pull requests 6550, which brought it, 7967 and 7981, which mended it)."""
TRAINERS_OWNERS = ("trl", "transformers", "accelerate", "peft", "torch", "g2rpo", "functools", "contextlib")


@dataclass(frozen=True)
class Finding:
    """Something about a set-up that stands in the way, or is good to know."""

    name: str
    what: str
    """What is so, with its figure."""
    then: str
    """The next move."""
    fault: bool = True
    """Whether it has to be mended before training."""


def check_think_block(prompt_tail: str, style_name: str) -> Finding | None:
    """A think block that the chat template opens, or closes, has to fit the completion style."""
    error = think_block_fault(prompt_tail, style_name)
    return error and Finding("think block", f"{error.what} is {error.value}; expected {error.expected}", error.then)


def check_seam(
    planner: Planner, problems: Sequence[Problem], rows: Sequence[dict[str, Any]], grade: Callable[..., list[float | None]]
) -> Finding | None:
    """Whether a right completion is paid when it is put together from token ids: part of the trace, then the rest as it would be
    sampled, with the marker of the answer (`####`, `\\boxed`, a tag) across the seam.

    Args:
        planner: Of the run.
        problems: Those with a trace.
        rows: The same as rows of the training set.
        grade: The primary reward, called with texts and their rows.
    """
    tokenizer = planner.tokenizer
    written = style(planner.style_name).opened_by(planner.prompt_tail)
    lost, unpaid, texts, which = [], [], [], []
    for problem, row in zip(problems, rows, strict=True):
        text = full_completion(replace(problem, trace_answer=None), written)
        allowed = len(planner.trace(row).ids)
        ids, places = encode_plain(tokenizer, text[: len(written.before_trace + problem.trace)])
        for length in sorted({allowed // 2, allowed, len(ids)} - {0}):
            rest = tokenizer(text[places[length - 1][1] :], add_special_tokens=False)["input_ids"]
            joined = tokenizer.decode([*ids[:length], *rest, tokenizer.eos_token_id], skip_special_tokens=True)
            if joined.strip() != text.strip():
                lost.append((text, joined))
            texts.append(joined)
            which.append(row)
    scores = grade(texts, which) if texts else []
    unpaid = [text for text, score in zip(texts, scores, strict=True) if score is not None and score < 1]
    if lost:
        return Finding(
            "seam",
            f"{len(lost)} of {len(texts)} demonstrations read otherwise once they are token ids: {lost[0][1][-60:]!r} for "
            f"{lost[0][0][-60:]!r}",
            "The tokenizer holds a part of the style for a control token and drops it: choose another guidance_style, or make it "
            "an ordinary token.",
        )
    if unpaid:
        return Finding(
            "reward",
            f"the primary reward does not pay {len(unpaid)} of {len(texts)} right completions, the first one ending in "
            f"{unpaid[0][-60:]!r}",
            f"Set guidance_style to one whose answers it finds ({', '.join(STYLES)}), or mend the reward or the answers.",
        )
    return None


def check_deepspeed(config: Any, installed: str | None = None) -> Finding | None:
    """Whether the installed DeepSpeed loses gradients with this configuration.

    Args:
        config: `deepspeed` of the training arguments: a mapping, a file, or nothing; then what `accelerate` says in the
            environment counts.
        installed: The version; that of this machine by default.
    """
    if installed is None:
        try:
            installed = version("deepspeed")
        except PackageNotFoundError:
            return None
    if isinstance(config, str | Path):
        config = json.loads(Path(config).read_text())
    if config:
        zero = config.get("zero_optimization", {})
        stage, device = zero.get("stage", 0), (zero.get("offload_optimizer") or {}).get("device", "none")
    elif os.environ.get("ACCELERATE_USE_DEEPSPEED") == "true":
        stage = os.environ.get("ACCELERATE_DEEPSPEED_ZERO_STAGE", "2")
        device = os.environ.get("ACCELERATE_DEEPSPEED_OFFLOAD_OPTIMIZER_DEVICE", "none")
    else:
        return None
    first, mended = GRADIENTS_LOST
    if device == "none" or str(stage) not in ("1", "2") or not first <= Version(installed) < mended:
        return None
    return Finding(
        "DeepSpeed",
        f"version {installed} with ZeRO {stage} and the optimizer on {device} drops the gradients of all micro-batches of a step "
        f"but the first and the last (versions {first} to before {mended}; DeepSpeed pull requests 7967, 7981; arXiv 2604.23747)",
        f"Install deepspeed {mended} or later, or leave the optimizer on the GPU.",
    )


def check_trainer() -> Finding | None:
    """Whether another package has put its own methods into TRL's or Transformers' trainer: our trainer builds on theirs."""
    import transformers
    import trl

    for kind, name in ((trl.GRPOTrainer, "GRPOTrainer"), (transformers.Trainer, "Trainer")):
        found = [
            (attribute, inspect.unwrap(value).__module__) for attribute, value in vars(kind).items() if inspect.isfunction(value)
        ]
        foreign = [(a, m) for a, m in [(name, kind.__module__), *found] if m.partition(".")[0] not in TRAINERS_OWNERS]
        if foreign:
            attribute, module = foreign[0]
            return Finding(
                "patched trainer",
                f"{name}.{attribute} is that of {module} ({len(foreign)} in all)"
                if attribute != name
                else f"{name} is {module}'s",
                f"Do not import {module.partition('.')[0]} in this process: our trainer was checked against TRL's own.",
            )
    return None
