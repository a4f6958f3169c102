"""Two evaluations of the same problems, paired by key: is one checkpoint better, and by how much?"""

from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from g2rpo.errors import RunError
from g2rpo.evaluation.statistics import mcnemar_exact, paired_interval
from g2rpo.evaluation.suite_directory import SuiteDirectory

MAY_DIFFER = ("checkpoint", "completions", "limit")
"""What is compared, and how many problems were asked for: those are compared themselves. All other settings should be equal."""


def compare_evaluations(a: Path, b: Path) -> dict[str, dict[str, Any]]:
    """Every suite that both evaluations have.

    Per suite: the accuracies; their difference b - a with its interval over problems; the problems that only one
    of them solved with McNemar's exact p; and the settings that differ. With several samples per problem, a problem counts as
    solved for McNemar's test where at least half of its samples are right; the difference uses the shares themselves.

    Raises:
        RunError: not evaluations, not finished, no suite in common, or other problems in a suite of the same name.
    """
    ours, theirs = _suites(a), _suites(b)
    common = [name for name in ours if name in theirs]
    if not common:
        raise RunError(
            "evaluations", [sorted(ours), sorted(theirs)], expected="a suite in common", then="Evaluate both on the same suite."
        )
    return {name: _compare(ours[name], theirs[name]) for name in common}


def _compare(a: SuiteDirectory, b: SuiteDirectory) -> dict[str, Any]:
    settings = a.settings(), b.settings()
    scores_a, scores_b = _scores(a), _scores(b)
    if scores_a.keys() != scores_b.keys() or settings[0].get("problems") != settings[1].get("problems"):
        only = sorted(scores_a.keys() ^ scores_b.keys())
        raise RunError(
            f"problems of {a.path} and {b.path}",
            f"{len(scores_a)} and {len(scores_b)}",
            expected="the same problems in both",
            then=f"For example, only one of them has {only[0][:80]!r}." if only else "Their texts or gold answers differ.",
        )
    pairs = [(scores_a[key], scores_b[key]) for key in sorted(scores_a)]
    left, right = [x for x, _ in pairs], [y for _, y in pairs]
    only_a = sum(x >= 0.5 > y for x, y in pairs)
    only_b = sum(y >= 0.5 > x for x, y in pairs)
    return {
        "problems": len(pairs),
        "a": fmean(left),
        "b": fmean(right),
        "difference": fmean(right) - fmean(left),
        "ci95": list(paired_interval(left, right)),
        "only_a": only_a,
        "only_b": only_b,
        "mcnemar_p": mcnemar_exact(only_a, only_b),
        "settings_that_differ": [name for name in _differences(*settings) if name not in MAY_DIFFER],
    }


def _differences(a: Mapping[str, Any], b: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Names of the settings that are not the same in both, parts of one as `suite.chat`."""
    found: list[str] = []
    for name in dict.fromkeys([*a, *b]):
        was, now = a.get(name), b.get(name)
        if isinstance(was, dict) and isinstance(now, dict):
            found += _differences(was, now, f"{prefix}{name}.")
        elif was != now:
            found.append(prefix + name)
    return found


def _scores(folder: SuiteDirectory) -> dict[str, float]:
    """The share of right samples of each problem."""
    if folder.results() is None:
        raise RunError(
            "evaluation",
            str(folder.path),
            expected="a finished one; this has no results.json",
            then="Run the same g2rpo eval again: it goes on.",
        )
    by_key: dict[str, list[float]] = {}
    for sample in folder.samples():
        by_key.setdefault(sample.key, []).append(sample.score or 0.0)
    return {key: fmean(scores) for key, scores in by_key.items()}


def _suites(path: Path) -> dict[str, SuiteDirectory]:
    folders = [path] if (path / "settings.json").is_file() else sorted(p.parent for p in path.glob("*/settings.json"))
    if not folders:
        raise RunError(
            "evaluation",
            str(path),
            expected="a folder written by g2rpo eval, or one suite's folder in it",
            then="Check the path.",
        )
    return {SuiteDirectory(folder).settings()["suite"]["name"]: SuiteDirectory(folder) for folder in folders}
