"""The order in which problems are trained on, decided once, before training: a property of the data set, not of a sampler.

The rows are put in order and TRL takes them one after the other (`shuffle_dataset: false`). So the order is the same for any
number of processes and after a resume, and can be read off the data. Problems of equal rank come in an order drawn from the seed
and their keys, whatever order they were loaded in.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from g2rpo.data.problem import Problem
from g2rpo.data.sources.openr1 import TIERS
from g2rpo.errors import ConfigError, DataError, one_of
from g2rpo.seeds import seed_of

MODES = ("easy_to_hard", "mixed", "sequential")
"""By rank; in an order drawn anew every epoch (TRL's own shuffling); as the rows stand."""
MEASURES = ("difficulty", "tiers", "pass_rate")
"""What makes a problem hard: its difficulty; where it comes from; how rarely a model solved it."""


def in_order(
    problems: Sequence[Problem],
    mode: str,
    by: str = "difficulty",
    *,
    seed: int = 0,
    tiers: Sequence[str] = TIERS,
    pass_rates: Mapping[str, float] | None = None,
) -> list[Problem]:
    """The problems in the order of a curriculum.

    Args:
        problems: The training set.
        mode: `easy_to_hard`; `mixed` and `sequential` leave the rows as they are.
        by: `difficulty` (the lower the easier), `tiers` (the place of `Problem.source` among them; the paper's five by
            default, arXiv 2508.13023), or `pass_rate` (the higher the easier).
        seed: Decides among problems of equal rank.
        tiers: Sources from easy to hard.
        pass_rates: Share of a model's samples that were right, by key.

    Raises:
        ConfigError: an unknown mode or measure.
        DataError: a problem that cannot be ranked; says how many.
    """
    check_curriculum(mode, by)
    if mode != "easy_to_hard":
        return list(problems)
    ranks: dict[str, Callable[[Problem], float | None]] = {
        "difficulty": lambda p: p.difficulty,
        "tiers": lambda p: tiers.index(p.source) if p.source in tiers else None,
        "pass_rate": lambda p: None if (rate := (pass_rates or {}).get(p.key)) is None else -rate,
    }
    rank = [ranks[by](problem) for problem in problems]
    unknown = [problem for problem, place in zip(problems, rank, strict=True) if place is None]
    if unknown:
        then = {
            "difficulty": "Map a column with columns: {difficulty: ...}, or set curriculum_by to tiers or pass_rate.",
            "tiers": f"Name all sources, easy to hard, in curriculum_tiers; known now: {', '.join(tiers)}.",
            "pass_rate": "Measure the missing ones with g2rpo data difficulty: it goes on where it stopped.",
        }[by]
        shown = unknown[0].source if by == "tiers" else unknown[0].key
        raise DataError(
            f"{'source' if by == 'tiers' else by} of {len(unknown)} of {len(problems)} problems, the first of them",
            shown,
            expected="a rank for every problem of an easy_to_hard curriculum",
            then=then,
        )
    order = sorted(range(len(problems)), key=lambda i: (rank[i], seed_of("curriculum", seed, problems[i].key)))
    return [problems[i] for i in order]


def check_curriculum(mode: str, by: str) -> None:
    """Raises `ConfigError` for a word that is none of `MODES` and `MEASURES`."""
    one_of("curriculum", mode, MODES)
    one_of("curriculum_by", by, MEASURES)


def read_pass_rates(path: str | Path) -> dict[str, float]:
    """Pass rates by key from what `g2rpo data difficulty` writes: lines `{"key", "pass_rate", ...}`.

    Raises:
        DataError: no such file, or a line that is none of these.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(
            "curriculum_file", str(path), expected="the file that g2rpo data difficulty wrote", then="Check the path."
        )
    rates = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            row = json.loads(line)
            key, rate = str(row["key"]), float(row["pass_rate"])
            if not 0 <= rate <= 1:
                raise ValueError(f"{rate} is no share")
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(
                f"line {number} of {path}",
                line[:200],
                expected='{"key": ..., "pass_rate": between 0 and 1}',
                then=f"{type(error).__name__}: {error}. Measure again with g2rpo data difficulty.",
            ) from error
        rates[key] = rate
    return rates


def of_difficulty(problems: Sequence[Problem], bounds: Sequence[float]) -> list[Problem]:
    """The problems whose difficulty is within the bounds, in their order; those whose difficulty is not known are left out.

    Raises:
        ConfigError: bounds that are not one or two rising numbers, or no problem within them.
    """
    measured = [p.difficulty for p in problems]
    return _within("dataset_difficulty", "[1, 3]", problems, bounds, measured, "columns: {difficulty: ...} names their column")


def of_pass_rate(problems: Sequence[Problem], bounds: Sequence[float], rates: Mapping[str, float]) -> list[Problem]:
    """The problems whose measured pass rate is within the bounds, in their order; those that were not measured are left out.

    Raises:
        ConfigError: bounds that are not one or two rising numbers, or no problem within them.
    """
    measured = [rates.get(p.key) for p in problems]
    return _within("dataset_pass_rate", "[0, 0.1]", problems, bounds, measured, "g2rpo data difficulty measures them")


def _within(
    name: str,
    example: str,
    problems: Sequence[Problem],
    bounds: Sequence[float],
    measured: Sequence[float | None],
    where_none: str,
) -> list[Problem]:
    """The problems whose measure is within the bounds. `name` is the field that gives the bounds."""
    if not 1 <= len(bounds) <= 2 or bounds[0] > bounds[-1]:
        raise ConfigError(name, list(bounds), expected="one number, or lowest and highest", then=f"Write {name}: {example}.")
    kept = [p for p, value in zip(problems, measured, strict=True) if value is not None and bounds[0] <= value <= bounds[-1]]
    if not kept:
        known = sorted({value for value in measured if value is not None})
        there = f"values from {known[0]:g} to {known[-1]:g}" if known else f"no such values; {where_none}"
        raise ConfigError(name, list(bounds), expected=f"some of the problems: the data have {there}", then="Change the bounds.")
    return kept
