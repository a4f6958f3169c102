"""`g2rpo grade math`: gold answers and completions in, verdicts out, one JSON object per line."""

import json
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from g2rpo.errors import DataError
from g2rpo.rewards.math import DEADLINE_S, grade_math


def grade_math_file(input: Path, output: Path, *, deadline_s: float = DEADLINE_S) -> dict[str, int]:
    """Grade the completions of a file and write a verdict for each, in order.

    A line in is `{"id", "gold", "completion"}`, a line out `{"id", "verdict", "score", "reason"}`. The verdict is one
    of equal, different, no_answer, bad_gold and timeout; `reason` says which layer decided or what went wrong. `score`
    is 1, 0, or null where the gold answer cannot be read (bad_gold) or no verdict could be had (worker_failed).

    Args:
        input: Pairs, one JSON object per line; `-` for standard input.
        output: Where verdicts go; `-` for standard output.
        deadline_s: Longest time in seconds for one verdict.

    Returns:
        How many lines got which verdict.

    Raises:
        DataError: A line is not such an object, or a file cannot be read or written; names the line or the file.
    """
    if not deadline_s > 0:
        raise DataError("deadline_s", deadline_s, expected="a positive number of seconds", then="Leave it out for 5.")
    counts: Counter[str] = Counter()
    with _opened(input, "r") as source, _opened(output, "w") as target:
        for name, gold, completion in _pairs(source, input):
            grade = grade_math(gold, completion, deadline_s=deadline_s)
            counts[grade.reason] += 1
            verdict = {"id": name, "verdict": grade.reason, "score": grade.score, "reason": grade.detail}
            target.write(json.dumps(verdict) + "\n")
    return dict(counts)


def _pairs(source: TextIO, path: Path) -> Iterator[tuple[Any, str, str]]:
    for number, line in enumerate(source, start=1):
        if not line.strip():
            continue
        problem = "not an object"
        try:
            row = json.loads(line)
            missing = [key for key in ("id", "gold", "completion") if key not in row]
            problem = f"missing: {', '.join(missing)}"
        except (ValueError, TypeError, RecursionError) as error:
            row, missing, problem = None, ["all"], repr(error)
        if missing or not isinstance(row, dict):
            raise DataError(
                f"Line {number} of {path}",
                line[:200],
                expected=f"an object with id, gold and completion ({problem})",
                then="Mend the line.",
            )
        completion = row["completion"]
        if not isinstance(completion, str):
            raise DataError(f"`completion` in line {number} of {path}", completion, expected="a string", then="Mend the line.")
        yield row["id"], str(row["gold"]), completion


@contextmanager
def _opened(path: Path, mode: str) -> Iterator[TextIO]:
    if str(path) == "-":
        yield sys.stdin if mode == "r" else sys.stdout
        return
    try:
        file = Path(path).open(mode, encoding="utf-8")  # noqa: SIM115  (closed below; only opening may raise here)
    except OSError as error:
        raise DataError("The file", str(path), expected=f"a path that opens ({error})", then="Check the path.") from None
    with file:
        yield file
