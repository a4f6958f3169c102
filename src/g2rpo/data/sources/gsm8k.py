"""GSM8K (hub name openai/gsm8k): `question`, and `answer` = worked steps with `<<calculator>>` marks, then `#### number`."""

from typing import Any

from g2rpo.data.trace import strip_calculator_marks
from g2rpo.errors import DataError
from g2rpo.types import Problem


def matches(columns: list[str]) -> bool:
    return set(columns) >= {"question", "answer"} and not {"trace", "solution"} & set(columns)


def problem(row: dict[str, Any]) -> Problem:
    for column in ("question", "answer"):
        if not isinstance(row[column], str):
            raise DataError(f"column {column!r}", row[column], expected="text", then="Fill the cell or drop the row.")
    steps, mark, answer = row["answer"].rpartition("####")
    if not mark:
        raise DataError("column 'answer'", row["answer"], expected="worked steps that end in '#### number', as in GSM8K",
                        then="For data of another shape, name the columns in the recipe's `columns`.")  # fmt: skip
    trace = strip_calculator_marks(steps).strip()
    return Problem(key=f"gsm8k:{row['question'].strip()}", prompt=[{"role": "user", "content": row["question"].strip()}],
                   answer=answer.strip().replace(",", ""), trace=trace,
                   difficulty=float(len(trace.splitlines())), source="gsm8k")  # fmt: skip
