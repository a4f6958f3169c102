r"""MBPP (google-research-datasets/mbpp, config full, 974 problems): `task_id`, `text`, `code`, `test_list` (assertions),
`test_setup_code`; the sanitized one (config sanitized): `prompt` for the text and `test_imports`. Seen in the data itself (the
copy in DeepSeek-Coder) and in evaluation scripts.

The question is put as in the paper (Austin et al. 2021): the text, then the tests, which name the function. By task id, 1 to 10
are the prompt split, 11 to 510 test, 511 to 600 validation, 601 to 974 train.
"""

from typing import Any

from g2rpo.data.problem import Problem
from g2rpo.data.sources.cells import question, text
from g2rpo.errors import DataError

SPLITS = {"prompt": range(1, 11), "test": range(11, 511), "validation": range(511, 601), "train": range(601, 975)}


def matches(columns: list[str]) -> bool:
    return {"task_id", "test_list", "code"} <= set(columns) and "test" not in columns


def in_split(row: dict[str, Any], split: str) -> bool:
    """Whether a row of the whole file belongs to a split."""
    return split not in SPLITS or int(row["task_id"]) in SPLITS[split]


def problem(row: dict[str, Any]) -> Problem:
    asserts = row["test_list"]
    if not isinstance(asserts, list) or not asserts:
        raise DataError(
            "column 'test_list'",
            asserts,
            expected="at least one assertion: without one, nothing can be right",
            then="Drop the row.",
        )
    setup = "\n".join([*(row.get("test_imports") or []), row.get("test_setup_code") or ""]).strip("\n")
    asked = f"{text(row, 'text', 'prompt').strip()}\nYour code should pass these tests:\n\n" + "\n".join(
        line.strip() for line in asserts
    )
    return Problem(
        key=f"Mbpp/{row['task_id']}",
        prompt=question(asked),
        source="mbpp",
        tests={"kind": "assert", "asserts": list(asserts), "setup": setup, "solution": text(row, "code")},
    )
