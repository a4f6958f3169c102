"""Majority voting (self-consistency, Wang et al. 2022, arXiv 2203.11171): the answer that most samples give."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import fsum


@dataclass
class _Group:
    answer: str
    score: float
    size: int = 1
    spellings: set[str] = field(default_factory=set)


def majority_score(answers: Sequence[str | None], scores: Sequence[float], k: int, equal: Callable[[str, str], bool]) -> float:
    """maj@k of one problem: the chance that the answer which most of k samples give is right.

    The n samples are cut into floor(n / k) blocks of k in their order, and the blocks averaged: unbiased, since samples
    are drawn independently. A tie is broken by a fair draw, of which the expectation is taken. Samples that state no
    answer do not vote; without any vote the block counts 0.

    Args:
        answers: What each sample states, or None.
        scores: 1 or 0 for each.
        equal: Whether two answers are the same; asked only of answers with the same score, since right is never wrong.
    """
    blocks = [range(start, start + k) for start in range(0, len(answers) - k + 1, k)]
    return fsum(_vote([answers[i] for i in block], [scores[i] for i in block], equal) for block in blocks) / len(blocks)


def _vote(answers: Sequence[str | None], scores: Sequence[float], equal: Callable[[str, str], bool]) -> float:
    groups: list[_Group] = []
    for answer, score in zip(answers, scores, strict=True):
        if answer is None:
            continue
        for group in groups:
            if group.score == score and (answer in group.spellings or equal(group.answer, answer)):
                group.size += 1
                group.spellings.add(answer)
                break
        else:
            groups.append(_Group(answer, score, spellings={answer}))
    if not groups:
        return 0.0
    most = max(group.size for group in groups)
    winners = [group.score for group in groups if group.size == most]
    return fsum(winners) / len(winners)
