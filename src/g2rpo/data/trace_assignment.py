"""Which problem has which trace: how many keep theirs, how often those come up, and the control in which all are exchanged."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from g2rpo.data.problem import Problem
from g2rpo.errors import ConfigError, DataError
from g2rpo.seeds import rng, seed_of

if TYPE_CHECKING:
    from datasets import Dataset


def keep_traces(problems: Sequence[Problem], count: int) -> list[Problem]:
    """The same problems in the same order; all but `count` have lost their trace and keep their answer.

    Which ones is decided by their keys alone: the 16 that keep theirs are among the 128 that do.

    Raises:
        ConfigError: `count` is not positive, or there are fewer traces than that.
    """
    having = sorted((p.key for p in problems if p.trace), key=lambda key: seed_of("keeps its trace", key))
    if not 1 <= count <= len(having):
        raise ConfigError(
            "trace_limit",
            count,
            expected=f"1 to {len(having)}, the problems that have a trace",
            then="Leave it unset to keep all, or set guidance_controller to none to use none.",
        )
    kept = set(having[:count])
    return [p if p.key in kept else dataclasses.replace(p, trace=None, traces=(), trace_answer=None) for p in problems]


def come_round(problems: Sequence[Problem], share: float) -> list[Problem]:
    """The problems, at least `share` of them with a trace: where fewer have one, as many places as before, evenly `share` of them
    for problems with a trace. Each kind keeps its order and begins again when it is through. Else guidance would hardly ever
    happen.

    Raises:
        ConfigError: `share` is not in (0, 1], or no problem has a trace.
    """
    if not 0 < share <= 1:
        raise ConfigError(
            "trace_share",
            share,
            expected="above 0, at most 1",
            then="It is the least share of the problems trained on that have a trace.",
        )
    having, lacking = [p for p in problems if p.trace], [p for p in problems if not p.trace]
    if not having:
        raise ConfigError("trace_share", share, expected="problems with a trace", then="None has one. Leave it unset.")
    if len(having) >= share * len(problems):
        return list(problems)
    places, traced = [], 0
    for place in range(len(problems)):
        if (traced + 1) <= share * (place + 1) + 1e-9:
            places.append(having[traced % len(having)])
            traced += 1
        else:
            places.append(lacking[(place - traced) % len(lacking)])
    return places


def with_other_traces(rows: "Dataset", column: str, seed: int) -> "Dataset":
    """The same rows with the traces dealt anew: a random cycle, so that none keeps its own. Rows without a trace stay without.

    Raises:
        DataError: fewer than two traces, or rows that come as a stream.
    """
    if not hasattr(rows, "add_column") or not hasattr(rows, "__len__"):
        raise DataError(
            "training set",
            type(rows).__name__,
            expected="rows that are all there, to deal traces among them",
            then="Load the data without streaming, or set guidance_trace_source to own.",
        )
    traces = list(rows[column])
    cycle = [i for i, trace in enumerate(traces) if trace]
    if len(cycle) < 2:
        raise DataError(
            f"column {column!r}",
            f"{len(cycle)} traces",
            expected="at least two, to give each problem another's",
            then="Set guidance_trace_source to own.",
        )
    rng(seed, "other trace").shuffle(cycle)
    dealt = list(traces)
    for taker, giver in zip(cycle, cycle[1:] + cycle[:1], strict=True):
        dealt[taker] = traces[giver]
    return rows.remove_columns(column).add_column(column, dealt)
