"""From the samples of a suite to its numbers, each with an interval."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

from g2rpo.data.problem import Problem
from g2rpo.evaluation.grading import Grader
from g2rpo.evaluation.statistics import bootstrap_interval, majority_score, mean_interval, pass_at_k, wilson_interval

FEW = 10
"""Up to so many different difficulties are shown one by one; more are cut into quartiles."""


@dataclass(frozen=True)
class Sample:
    """One line of `samples.jsonl`. `tokens` and `ended` are None where something else produced the completion."""

    key: str
    sample: int
    score: float | None
    verdict: str
    answer: str | None
    completion: str
    tokens: int | None = None
    ended: bool | None = None
    """Whether the completion ended by itself (or at a stop text) and not at its budget."""


def summarise(
    problems: Sequence[Problem],
    samples: Sequence[Sequence[Sample]],
    ks: Sequence[int],
    grader: Grader,
    prompt_tokens: Sequence[int] | None = None,
) -> dict[str, Any]:
    """The numbers of one suite: a pure function of its samples, so that it can be made again from them.

    A sample that could not be scored counts as wrong, and is counted in `unscored`.

    Args:
        problems: In the suite's order.
        samples: n per problem, in order.
        ks: For pass@k and, from 2 on, majority@k; each at most n.
        grader: Says which answers are the same.
        prompt_tokens: Tokens of each prompt; characters of the problem where there are none.
    """
    n = len(samples[0])
    scores = [[s.score or 0.0 for s in own] for own in samples]
    metrics: dict[str, Any] = {f"mean@{n}": _estimate([fmean(own) for own in scores])}
    for k in ks:
        metrics[f"pass@{k}"] = _estimate([pass_at_k(round(math.fsum(own)), n, k) for own in scores])
        if k > 1 and grader.votes:
            votes = [
                majority_score([s.answer for s in own], own_scores, k, grader.equal)
                for own, own_scores in zip(samples, scores, strict=True)
            ]
            metrics[f"majority@{k}"] = _estimate(votes)
    every = [s for own in samples for s in own]
    means = [fmean(own) for own in scores]
    counted = prompt_tokens is not None
    lengths = [s.tokens if s.tokens is not None else len(s.completion) for s in every]
    prompts = prompt_tokens if prompt_tokens is not None else [len(str(p.prompt)) for p in problems]
    return {
        "accuracy": metrics[f"mean@{n}"]["value"],
        "ci95": metrics[f"mean@{n}"]["ci95"],
        "problems": len(problems),
        "samples_per_problem": n,
        "metrics": metrics,
        "verdicts": dict(sorted(Counter(s.verdict for s in every).items())),
        "unscored": sum(s.score is None for s in every),
        "truncated": fmean(not s.ended for s in every) if every[0].ended is not None else None,
        "length_unit": "tokens" if counted else "characters",
        "completion_length": {"mean": fmean(lengths), "median": median(lengths), "max": max(lengths)},
        "by_difficulty": _breakdown([p.difficulty for p in problems], means),
        "by_prompt_length": _quartiles(prompts, means, _whole),
        "by_completion_length": _quartiles(lengths, [s.score or 0.0 for s in every], _whole, interval=False),
    }


def _estimate(values: Sequence[float]) -> dict[str, Any]:
    """A mean over problems; `ci95` is the interval to report (see `mean_interval`), the other two are told beside it."""
    return {
        "value": fmean(values),
        "ci95": list(mean_interval(values)),
        "wilson95": list(wilson_interval(math.fsum(values), len(values))),
        "bootstrap95": list(bootstrap_interval(values)),
    }


def _breakdown(levels: Sequence[float | None], means: Sequence[float]) -> list[dict[str, Any]]:
    known = [(level, mean) for level, mean in zip(levels, means, strict=True) if level is not None]
    if not known:
        return []
    if len({level for level, _ in known}) > FEW:
        return _quartiles([level for level, _ in known], [mean for _, mean in known], lambda level: f"{level:g}")
    return [_part(f"{level:g}", [mean for own, mean in known if own == level]) for level in sorted({level for level, _ in known})]


def _quartiles(
    sizes: Sequence[float], means: Sequence[float], show: Callable[[float], str], *, interval: bool = True
) -> list[dict[str, Any]]:
    """Four parts of nearly equal count, equal sizes together."""
    ordered = sorted(sizes)
    edges = sorted({ordered[len(ordered) * q // 4] for q in range(1, 4)})
    parts: dict[int, list[tuple[float, float]]] = {}
    for size, mean in zip(sizes, means, strict=True):
        parts.setdefault(sum(size >= edge for edge in edges), []).append((size, mean))
    rows = []
    for _, part in sorted(parts.items()):
        low, high = min(size for size, _ in part), max(size for size, _ in part)
        label = show(low) if low == high else f"{show(low)}-{show(high)}"
        rows.append(_part(label, [mean for _, mean in part], interval=interval))
    return rows


def _part(label: str, means: Sequence[float], *, interval: bool = True) -> dict[str, Any]:
    part: dict[str, Any] = {"range": label, "count": len(means), "accuracy": fmean(means)}
    if interval:  # samples of one problem are no independent evidence: no interval over samples
        part["ci95"] = list(mean_interval(means))
    return part


def _whole(value: float) -> str:
    return f"{value:.0f}"
