"""A control: every problem gets the trace of another problem, so that what guidance gives can be told from what any prefix gives."""

from typing import TYPE_CHECKING

from g2rpo.errors import DataError
from g2rpo.seeds import rng

if TYPE_CHECKING:
    from datasets import Dataset


def with_other_traces(rows: "Dataset", column: str, seed: int) -> "Dataset":
    """The same rows with the traces dealt anew: a random cycle, so that none keeps its own. Rows without a trace stay without.

    Raises:
        DataError: fewer than two traces, or rows that come as a stream.
    """
    if not hasattr(rows, "add_column") or not hasattr(rows, "__len__"):
        raise DataError("training set", type(rows).__name__, expected="rows that are all there, to deal traces among them",
                        then="Load the data without streaming, or set guidance_trace_source to own.")  # fmt: skip
    traces = list(rows[column])
    cycle = [i for i, trace in enumerate(traces) if trace]
    if len(cycle) < 2:
        raise DataError(f"column {column!r}", f"{len(cycle)} traces", expected="at least two, to give each problem another's",
                        then="Set guidance_trace_source to own.")  # fmt: skip
    rng(seed, "other trace").shuffle(cycle)
    dealt = list(traces)
    for taker, giver in zip(cycle, cycle[1:] + cycle[:1], strict=True):
        dealt[taker] = traces[giver]
    return rows.remove_columns(column).add_column(column, dealt)
