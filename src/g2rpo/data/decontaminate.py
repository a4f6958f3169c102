"""Training problems that share a run of words with a test problem (Brown et al. 2020, arXiv 2005.14165, appendix C: n = 13)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from g2rpo.data.load import question_text
from g2rpo.data.problem import Problem
from g2rpo.errors import ConfigError

NGRAM = 13
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True)
class Overlap:
    """A training problem, a test problem, and the first words that both have."""

    train_key: str
    test_key: str
    words: str


def normalised_words(text: str) -> list[str]:
    """Words and numbers in lower case; punctuation, LaTeX marks and white space only separate."""
    return _WORD.findall(text.lower())


def overlaps(train: Sequence[Problem], test: Sequence[Problem], n: int = NGRAM) -> list[Overlap]:
    """The training problems whose question has `n` words in a row in common with a test question; one overlap each, in order.

    A question of fewer than `n` words overlaps with another only as a whole.

    Raises:
        ConfigError: `n` below 1.
    """
    if n < 1:
        raise ConfigError("ngram", n, expected="at least 1 word", then=f"{NGRAM} is usual.")
    seen: dict[tuple[str, ...], str] = {}
    for problem in test:
        for gram in _grams(problem, n):
            seen.setdefault(gram, problem.key)
    first = ((problem, next((gram for gram in _grams(problem, n) if gram in seen), ())) for problem in train)
    return [Overlap(problem.key, seen[gram], " ".join(gram)) for problem, gram in first if gram]


def without(train: Sequence[Problem], found: Sequence[Overlap]) -> list[Problem]:
    """The training set less the problems that overlap."""
    dropped = {one.train_key for one in found}
    return [problem for problem in train if problem.key not in dropped]


def _grams(problem: Problem, n: int) -> list[tuple[str, ...]]:
    words = normalised_words(question_text(problem))
    return [tuple(words[at : at + n]) for at in range(max(1, len(words) - n + 1))] if words else []
