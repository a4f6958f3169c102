"""How often a model solves each problem: k samples per problem, unguided, one line per problem on disk, resumable after a kill.

A line is `{"key", "pass_rate", "passes", "k", "difficulty", "tokens"}`: the share of scored samples that were right, how many of how many, one less the
share, and the mean number of sampled tokens. A curriculum reads it (`curriculum_by: pass_rate`).
"""

import dataclasses
import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from g2rpo.errors import RunError
from g2rpo.seeds import seed_of
from g2rpo.types import Problem

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sampling:
    """How the samples are drawn. `seed` with a problem's key and the sample's number is its randomness, whoever shares the batch."""

    k: int = 8
    max_tokens: int = 1024
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int = 0
    rows: int = 64
    """Samples drawn together."""


class PassRates:
    """The file of a measurement: lines by key, and beside it, in `<file>.settings.json`, what they were measured with.

    Raises:
        RunError: the file was measured with other settings.
    """

    def __init__(self, path: str | Path, settings: Mapping[str, Any]) -> None:
        self.path = Path(path)
        self.done: dict[str, dict[str, Any]] = {}
        beside = self.path.with_name(self.path.name + ".settings.json")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if beside.exists() and (before := json.loads(beside.read_text())) != dict(settings):
            differs = [name for name in {**before, **settings} if before.get(name) != settings.get(name)]
            raise RunError(f"{', '.join(sorted(differs))} of {self.path}", {name: before.get(name) for name in differs},
                           expected=f"what is asked for now: { {name: settings.get(name) for name in differs} }",
                           then="Choose another file, or remove this one with its settings.")  # fmt: skip
        beside.write_text(json.dumps(dict(settings), indent=1, sort_keys=True) + "\n")
        if self.path.exists():
            whole = [line for line in self.path.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]
            self.path.write_text("".join(whole), encoding="utf-8")  # the last line of a killed run may be half a line
            self.done = {row["key"]: row for row in map(json.loads, whole)}

    def add(self, row: dict[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
        self.done[row["key"]] = row


def measure(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    problems: Sequence[Problem],
    reward: Callable[..., list[float | None]],
    sampling: Sampling,
    path: str | Path,
    *,
    name: str = "",
    template_kwargs: Mapping[str, Any] | None = None,
    progress: Callable[[int, int], None] = lambda done, all: None,
) -> dict[str, float]:
    """Pass rates by key, measured or read from the file.

    Args:
        model: Any causal language model; never guided here.
        tokenizer: Its tokenizer.
        problems: In any order; those that the file has are not sampled again.
        reward: In TRL's signature; a sample counts as right at a score of 1.
        sampling: How many samples, and how.
        path: The file; lines are added as problems are finished.
        name: The model's name, kept in the settings.
        template_kwargs: For the chat template.
        progress: Called with how many problems are done, of how many.

    Raises:
        RunError: the file belongs to other settings.
    """
    settings = {"model": name, "weights": _digest(model), **dataclasses.asdict(sampling), "template": dict(template_kwargs or {})}
    settings.pop("rows")
    file = PassRates(path, settings)
    left = [problem for problem in problems if problem.key not in file.done]
    prompts = {p.key: _prompt(p, tokenizer, template_kwargs) for p in left}
    left.sort(key=lambda p: -len(prompts[p.key]))  # like lengths together; what does not fit in memory fails at once
    together = max(1, sampling.rows // sampling.k)
    unscored = 0
    for start in range(0, len(left), together):
        batch = left[start : start + together]
        for row in _measured(model, tokenizer, batch, prompts, reward, sampling):
            if row["k"]:
                file.add(row)
            else:
                unscored += 1
        progress(len(problems) - len(left) + start + len(batch), len(problems))
    if unscored:
        logger.warning("%d problems could not be graded and are not in %s; run again to try once more", unscored, path)
    return {key: row["pass_rate"] for key, row in file.done.items()}


def _measured(
    model: Any, tokenizer: Any, batch: Sequence[Problem], prompts: Mapping[str, list[int]], reward: Any, how: Sampling
) -> list[dict[str, Any]]:
    from transformers import GenerationConfig

    from g2rpo.training.sampling import sample_rows

    greedy = how.temperature == 0
    config = (
        GenerationConfig(do_sample=False)
        if greedy
        else GenerationConfig(do_sample=True, temperature=how.temperature, top_p=how.top_p, top_k=how.top_k)
    )
    each = [problem for problem in batch for _ in range(how.k)]
    model.eval()
    drawn = sample_rows(
        model, [prompts[p.key] for p in each], [how.max_tokens] * len(each), config, eos_ids=_eos(model, tokenizer),
        pad_id=tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id,
        seeds=None if greedy else [seed_of(how.seed, "difficulty", p.key, at % how.k) for at, p in enumerate(each)],
    )  # fmt: skip
    texts = tokenizer.batch_decode([row.ids for row in drawn], skip_special_tokens=True)
    columns = {name: [getattr(p, name) for p in each] for name in ("answer", "tests")}
    scores = reward(completions=[[{"role": "assistant", "content": text}] for text in texts], **columns)
    rows = []
    for number, problem in enumerate(batch):
        own = slice(number * how.k, (number + 1) * how.k)
        scored = [score for score in scores[own] if score is not None]
        passes = sum(score >= 1 for score in scored)
        rate = passes / len(scored) if scored else 0.0
        tokens = sum(len(row.ids) for row in drawn[own]) / how.k
        rows.append(
            {"key": problem.key, "pass_rate": rate, "passes": passes, "k": len(scored), "difficulty": 1 - rate, "tokens": tokens}
        )
    return rows


def _eos(model: Any, tokenizer: Any) -> list[int]:
    more = getattr(model.generation_config, "eos_token_id", None)
    return list(dict.fromkeys([tokenizer.eos_token_id, *(more if isinstance(more, list) else [] if more is None else [more])]))


def _prompt(problem: Problem, tokenizer: Any, kwargs: Mapping[str, Any] | None) -> list[int]:
    if isinstance(problem.prompt, str):
        return tokenizer(problem.prompt)["input_ids"]
    return tokenizer.apply_chat_template(problem.prompt, add_generation_prompt=True, return_dict=False, **(kwargs or {}))


def _digest(model: Any) -> str:
    """Of some values of every tensor: two checkpoints of one name are not one model."""
    import torch

    digest = hashlib.blake2b(digest_size=8)
    for name, tensor in sorted(model.state_dict().items()):
        values = tensor.detach().flatten()
        few = values[:: max(1, values.numel() // 1024)].to("cpu", torch.float32)
        digest.update(name.encode() + few.numpy().tobytes())
    return digest.hexdigest()
