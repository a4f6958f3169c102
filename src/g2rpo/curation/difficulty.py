"""How often a model solves each problem: k samples per problem, unguided, one line per problem on disk, resumable after a kill.

A line is `{"key", "pass_rate", "passes", "k", "difficulty", "tokens"}`: the share of scored samples that were right, how many of
how many, one less the share, and the mean number of sampled tokens. A curriculum reads it (`curriculum_by: pass_rate`).
"""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

from g2rpo.data.problem import Problem
from g2rpo.errors import ConfigError, RunError
from g2rpo.evaluation.checkpoint import Checkpoint
from g2rpo.evaluation.engines import Decoding, engine_name, open_engine
from g2rpo.evaluation.grading import by_reward
from g2rpo.evaluation.metrics import Sample
from g2rpo.evaluation.sample_and_grade import Questions, sample_and_grade
from g2rpo.io import write_json, write_text

logger = logging.getLogger(__name__)


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
            raise RunError(
                f"{', '.join(sorted(differs))} of {self.path}",
                {name: before.get(name) for name in differs},
                expected=f"what is asked for now: { {name: settings.get(name) for name in differs} }",
                then="Choose another file, or remove this one with its settings.",
            )
        write_json(beside, dict(settings), sort_keys=True)
        if self.path.exists():
            whole = [line for line in self.path.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]
            write_text(self.path, "".join(whole))  # the last line of a killed run may be half a line
            self.done = {row["key"]: row for row in map(json.loads, whole)}

    def add(self, row: dict[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
        self.done[row["key"]] = row


PLAIN = Decoding(temperature=1.0)


def measure(
    checkpoint: Checkpoint,
    problems: Sequence[Problem],
    reward: Callable[..., list[float | None]],
    path: str | Path,
    *,
    k: int = 8,
    max_tokens: int = 1024,
    decoding: Decoding = PLAIN,
    seed: int = 0,
    rows: int | None = None,
    engine: str = "auto",
    template_kwargs: Mapping[str, Any] | None = None,
    progress: Callable[[int, int], None] = lambda done, all: None,
) -> dict[str, float]:
    """Pass rates by key, measured or read from the file.

    Args:
        checkpoint: Any model; never guided here.
        problems: In any order; those that the file has are not measured again.
        reward: In TRL's signature; a sample counts as right at a score of 1.
        path: The file; lines are added as problems are finished.
        k: Samples per problem.
        max_tokens: New tokens per sample.
        decoding: How they are drawn; unlike an evaluation's, as in training: temperature 1.
        seed: With a problem's key and the sample's number, the sample's randomness, whoever shares the batch.
        rows: Samples drawn together; what the engine thinks right if not given.
        engine: `auto`, `transformers` or `vllm`.
        template_kwargs: For the chat template.
        progress: Called with how many problems are done, of how many.

    Raises:
        ConfigError: fewer than one sample, or a prompt that leaves no room for one.
        RunError: the file belongs to other settings.
    """
    if k < 1:
        raise ConfigError("k", k, expected="at least 1 sample per problem", then="8 tells eighths apart.")
    settings = {
        "model": checkpoint.name,
        "weights": checkpoint.digest,
        "k": k,
        "max_tokens": max_tokens,
        **asdict(decoding),
        "seed": seed,
        "template": dict(template_kwargs or {}),
    }
    file = PassRates(path, settings)
    if not problems:
        return {}
    unique = sorted({p.key: p for p in problems}.values(), key=lambda p: p.key)
    questions = Questions.of_problems("difficulty", unique, checkpoint.tokenizer, by_reward(reward), template_kwargs)
    plan = questions.requests(k, budget=max_tokens, room=checkpoint.room, seed=seed)
    longest = max(map(len, questions.prompts)) + max_tokens
    drawer = open_engine(engine_name(engine), checkpoint, decoding, max_length=longest)
    together = max(1, (rows or drawer.rows(longest)) // k)  # problems per batch, each with all its samples
    done = {(key, sample) for key in file.done for sample in range(k)}
    try:
        for number, samples in enumerate(sample_and_grade(questions, plan, drawer, together * k, done=done), start=1):
            for key, own in groupby(samples, key=lambda s: s.key):
                if (row := _rated(key, list(own)))["k"]:
                    file.add(row)
            progress(min(number * together, len(unique)), len(unique))
    finally:
        drawer.close()
    unscored = sum(p.key not in file.done for p in problems)
    if unscored:
        logger.warning("%d problems could not be graded and are not in %s; run again to try once more", unscored, path)
    return {p.key: file.done[p.key]["pass_rate"] for p in problems if p.key in file.done}


def _rated(key: str, samples: Sequence[Sample]) -> dict[str, Any]:
    scored = [s.score for s in samples if s.score is not None]
    passes = sum(score >= 1 for score in scored)
    rate = passes / len(scored) if scored else 0.0
    tokens = sum(s.tokens or 0 for s in samples) / len(samples)
    return {"key": key, "pass_rate": rate, "passes": passes, "k": len(scored), "difficulty": 1 - rate, "tokens": tokens}
