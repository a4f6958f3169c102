"""From a hub name, a local file or folder, or a procedural task to problems, and from problems to the trainer's rows."""

import dataclasses
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from g2rpo.data.sources import reader
from g2rpo.errors import DataError
from g2rpo.types import Problem

if TYPE_CHECKING:
    from datasets import Dataset

logger = logging.getLogger(__name__)

FORMATS = {".jsonl": "json", ".json": "json", ".parquet": "parquet", ".csv": "csv", ".arrow": "arrow"}


def load_problems(
    *,
    name: str | None = None,
    path: str | None = None,
    config: str | None = None,
    split: str = "train",
    columns: Mapping[str, str] | None = None,
    limit: int | None = None,
    system_prompt: str | None = None,
    instruction: str | None = None,
) -> list[Problem]:
    """Problems of a data set, in its order.

    Args:
        name: Hub name, such as `openai/gsm8k`; with `config` and `split`.
        path: Instead of a name: a JSONL, JSON, CSV or Parquet file, or a folder that holds one per split (`train.jsonl`).
        config: Configuration on the hub, such as `main`.
        split: Split on the hub, or the file's stem in a folder.
        columns: Which column plays which role, where the source is not recognised.
        limit: Keep the first so many problems.
        system_prompt: Put before every conversation.
        instruction: Appended to every last user message, on a line of its own.

    Raises:
        DataError: nothing found, columns that fit no source, or a row that cannot be read, with its number.
    """
    table = _open(name, path, config, split)
    read = reader(table.column_names, columns)
    problems = []
    for number, row in enumerate(table):
        if limit is not None and len(problems) >= limit:
            break
        try:
            problem = read(row)
        except DataError as error:
            raise DataError(
                f"row {number} of {path or name}: {error.what}", error.value, expected=error.expected, then=error.then
            ) from error
        problems.append(_instructed(problem, system_prompt, instruction))
    # Where some rows have an answer, those without (proofs, say) cannot be graded, and nothing can be learned from them.
    graded = [p for p in problems if p.answer is not None or p.tests is not None]
    if graded and len(graded) < len(problems):
        missing, where = len(problems) - len(graded), path or name
        logger.warning("%d of %d rows of %s have no answer and are left out", missing, len(problems), where)
        problems = graded
    return _unique(problems)


def _unique(problems: list[Problem]) -> list[Problem]:
    """A problem that stands there twice is two problems: equal keys would give their groups equal draws."""
    seen: dict[str, int] = {}
    result = []
    for problem in problems:
        number = seen[problem.key] = seen.get(problem.key, 0) + 1
        result.append(problem if number == 1 else dataclasses.replace(problem, key=f"{problem.key}#{number}"))
    return result


def to_rows(problems: Sequence[Problem]) -> "Dataset":
    """The trainer's data set: columns key, prompt, answer, trace, difficulty, source, and tests (as JSON) if there are any."""
    from datasets import Dataset

    rows = []
    tested = any(p.tests is not None for p in problems)
    for problem in problems:
        row: dict[str, Any] = {f.name: getattr(problem, f.name) for f in dataclasses.fields(problem) if f.name != "tests"}
        if tested:
            row["tests"] = None if problem.tests is None else json.dumps(problem.tests)
        rows.append(row)
    for column in ("trace", "answer"):  # a column of nothing but None is no column: its absence is told before training
        if rows and all(row[column] is None for row in rows):
            rows = [{k: v for k, v in row.items() if k != column} for row in rows]
    return Dataset.from_list(rows)


def _instructed(problem: Problem, system_prompt: str | None, instruction: str | None) -> Problem:
    if not (system_prompt or instruction):
        return problem
    if isinstance(problem.prompt, str):
        raise DataError("prompt", problem.prompt, expected="a conversation: system_prompt and instruction need one",
                        then="Map the question's column with columns: {prompt: ...}.")  # fmt: skip
    prompt = [dict(m) for m in problem.prompt]
    if instruction:
        prompt[-1]["content"] += "\n" + instruction
    if system_prompt:
        prompt.insert(0, {"role": "system", "content": system_prompt})
    return dataclasses.replace(problem, prompt=prompt)


def _open(name: str | None, path: str | None, config: str | None, split: str) -> "Dataset":
    import pandas
    from datasets import Dataset, load_dataset

    if (name is None) == (path is None):
        raise DataError("data set", name or path, expected="either dataset_name or dataset_path", then="Set exactly one of them.")
    if name is not None:
        try:
            return load_dataset(name, config, split=split)
        except Exception as error:  # the hub client has many ways to say no; the next move is the same
            raise DataError("dataset_name", name, expected="a data set that can be loaded from the hub",
                            then=f"{type(error).__name__}: {error}. Offline, give a local copy as dataset_path.") from error  # fmt: skip
    file = _file(Path(path), split)
    kind = FORMATS[Path(file.name.removesuffix(".gz")).suffix]
    try:
        if kind == "csv":  # no types there: read as text, 007 stays 007 and 4 does not become 4.0 beside an empty cell
            return Dataset.from_pandas(pandas.read_csv(file, dtype=str), preserve_index=False)
        return load_dataset(kind, data_files=str(file), split="train")
    except Exception as error:
        raise DataError("file", str(file), expected=f"readable {kind}", then=_cause(error)) from error


def _cause(error: BaseException) -> str:
    """The first line of what really went wrong: readers wrap it in errors that only say that something did."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'the file is empty'}"


def _file(path: Path, split: str) -> Path:
    if path.is_file():
        if Path(path.name.removesuffix(".gz")).suffix not in FORMATS:
            raise DataError(
                "dataset_path",
                str(path),
                expected=f"a file ending in {', '.join(FORMATS)}",
                then="Convert it to JSONL.",
            )
        return path
    if path.is_dir():
        for suffix in FORMATS:
            for ending in (suffix, suffix + ".gz"):
                if (path / (split + ending)).is_file():
                    return path / (split + ending)
        raise DataError("dataset_path", str(path), expected=f"a file {split}.jsonl (or .parquet, .csv, .json) in the folder",
                        then=f"The folder holds: {', '.join(sorted(p.name for p in path.iterdir())[:10]) or 'nothing'}. Set dataset_split.")  # fmt: skip
    raise DataError("dataset_path", str(path), expected="an existing file or folder", then="Check the path.")
