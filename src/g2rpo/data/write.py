"""Problems into a file that `dataset_path` reads."""

import json
from collections.abc import Sequence
from pathlib import Path

from rlvr_graders.cli.files import opened

from g2rpo.data.problem import Problem
from g2rpo.errors import DataError

COLUMNS = ("key", "prompt", "answer", "trace", "difficulty", "source", "tests")


def write_problems(path: Path, problems: Sequence[Problem]) -> None:
    """Problems as rows that need no mapping of columns.

    Raises:
        DataError: problems of GPQA among them, whose authors ask not to copy them.
    """
    if any(p.key.startswith("gpqa:") for p in problems):
        raise DataError(
            "GPQA", expected="no copy of its questions: its authors ask not to make any", then="Load it from its own place."
        )
    rows = [{name: getattr(p, name) for name in COLUMNS} for p in problems]
    with opened(path) as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
