"""`rlvr-graders math`: gold answers and completions in, verdicts out, one JSON object per line."""

import json
from collections import Counter
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

from rlvr_graders.cli.files import check_file, numbered_lines, opened
from rlvr_graders.errors import DataError
from rlvr_graders.math import DEADLINE_S, grade_math


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
        DataError: A line is not such an object, or the file cannot be read; names the line or the file.
        RunError: The output cannot be written, or is the input.
    """
    if not deadline_s > 0:
        raise DataError("deadline_s", deadline_s, expected="a positive number of seconds", then="Leave it out for 5.")
    check_file("--output", output, reads=[input])
    counts: Counter[str] = Counter()
    pairs = _pairs(input)
    first = list(islice(pairs, 1))  # an input that cannot be read is told before an output that is there is emptied
    with opened(output) as target:
        for name, gold, completion in chain(first, pairs):
            grade = grade_math(gold, completion, deadline_s=deadline_s)
            counts[grade.reason] += 1
            verdict = {"id": name, "verdict": grade.reason, "score": grade.score, "reason": grade.detail}
            target.write(json.dumps(verdict) + "\n")
    return dict(counts)


def _pairs(path: Path) -> Iterator[tuple[Any, str, str]]:
    for number, line in numbered_lines(path):
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
                then="Correct the line.",
            )
        completion = row["completion"]
        if not isinstance(completion, str):
            raise DataError(f"`completion` in line {number} of {path}", completion, expected="a string", then="Correct the line.")
        yield row["id"], str(row["gold"]), completion
