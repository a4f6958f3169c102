"""From a short name, a hub name, a local file or folder to problems, and from problems to the trainer's rows.

load_named("gsm8k", split="test")                        openai/gsm8k on the hub
load_named("gsm8k", split="test", data="path/to/data")   path/to/data/gsm8k/test.jsonl
load_problems(path="mine.jsonl", columns={"prompt": "question", "answer": "final"})
"""

import dataclasses
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from g2rpo.data import files
from g2rpo.data.catalog import known, source_of
from g2rpo.data.disappointments import conflicting_rows
from g2rpo.data.problem import Problem
from g2rpo.data.sources import SOURCES, reader
from g2rpo.errors import ConfigError, DataError, one_of, rows_from_1

if TYPE_CHECKING:
    from datasets import Dataset

logger = logging.getLogger(__name__)

DUPLICATES = ("error", "drop", "keep")
"""What to do with a problem that stands there twice: refuse the set, keep the first, or keep both under different keys."""
_TESTS_IN = {"function": "cases", "stdio": "cases", "assert": "asserts"}


def load_problems(
    *,
    name: str | None = None,
    path: str | None = None,
    config: str | None = None,
    split: str = "train",
    columns: Mapping[str, str] | None = None,
    source: str | None = None,
    limit: int | None = None,
    system_prompt: str | None = None,
    instruction: str | None = None,
    duplicates: str = "error",
    keep: Callable[[Mapping[str, Any]], bool] | None = None,
) -> list[Problem]:
    """Problems of a data set, in its order.

    Args:
        name: Hub name, such as `openai/gsm8k`; with `config` and `split`.
        path: Instead of a name: a JSONL, JSON, CSV or Parquet file, a folder that holds one per split (`train.jsonl`), or a
            folder written by `save_to_disk`.
        config: Configuration on the hub, such as `main`.
        split: Split on the hub, or the file's stem in a folder.
        columns: Which column plays which role, where the source is not recognised.
        source: How rows are read, by name (`g2rpo.data.sources.SOURCES`); recognised by hub name or columns if not given.
        limit: Keep the first so many problems.
        system_prompt: Put before every conversation.
        instruction: Appended to every last user message, on a line of its own.
        duplicates: `error`, `drop` or `keep`: what to do with a problem that stands there twice.
        keep: Rows for which this is false are passed over.

    Raises:
        ConfigError: an unknown source or word for duplicates.
        DataError: nothing found, columns that fit no source, a row that cannot be read, with its number, or a duplicate.
    """
    one_of("dataset_duplicates", duplicates, DUPLICATES)
    rows, names = files.open_rows(name, path, config, split)
    read = reader(names, columns, source or (source_of(name) if name else None))
    problems: list[Problem] = []
    places: list[int] = []
    number = -1
    for number, row in enumerate(rows):
        if limit is not None and len(problems) >= limit:
            break
        if keep is not None and not keep(row):
            continue
        try:
            problem = read(row)
            _check_tests(problem)
        except DataError as error:
            raise DataError(
                f"{rows_from_1([number])} of {path or name}: {error.what}", error.value, expected=error.expected, then=error.then
            ) from error
        problems.append(instructed(problem, system_prompt, instruction))
        places.append(number)
    if number < 0:
        raise DataError(f"number of rows in {path or name}", 0, expected="at least one", then="Fill it, or check dataset_split.")
    # Where some rows have an answer, those without (proofs, say) cannot be graded, and nothing can be learned from them.
    graded = [i for i, p in enumerate(problems) if p.answer is not None or p.tests is not None]
    if graded and len(graded) < len(problems):
        missing, where = len(problems) - len(graded), path or name
        logger.warning("%d of %d rows of %s have no answer and are left out", missing, len(problems), where)
        problems, places = [problems[i] for i in graded], [places[i] for i in graded]
    return _unique(problems, places, duplicates, path or name)


def load_named(name: str, *, split: str | None = None, data: str | Path | None = None, **options: Any) -> list[Problem]:
    """The problems of a known data set.

    Args:
        name: A key of `CATALOG`.
        split: `train`, `test` or another that the set has, or `all` for every split; `test` (or the only one) by default.
        data: Folder that holds a local copy as `<name>/…`; the hub without it.
        options: As `load_problems` takes them (`limit`, `instruction`, `trace`, …).

    Raises:
        ConfigError: an unknown name or split.
        DataError: no such file, or rows that cannot be read.
    """
    entry = known(name)
    split = split or entry.default_split
    if split == "all":
        return [problem for one in entry.splits for problem in load_named(name, split=one, data=data, **options)]
    if split not in entry.splits:
        raise ConfigError("split", split, expected=f"a split of {name}: {', '.join(entry.splits)}, or all", then="Choose one.")
    options = {"source": entry.source, "split": entry.splits[split], **options}
    if data is None:
        return load_problems(name=entry.hub, config=entry.config, **options)
    folder = Path(data) / name
    if not folder.is_dir():
        raise DataError(
            "data",
            str(data),
            expected=f"a folder with the data sets by name, {name}/ among them",
            then=f"Put a copy of {entry.hub} there, or leave data out to load it from the hub.",
        )
    whole = next((folder / file for file in entry.files if (folder / file).is_file()), None)
    if whole is None:
        return load_problems(path=str(folder), **{**options, "split": split})
    in_split = getattr(SOURCES[entry.source], "in_split", None)
    keep = (lambda row: in_split(row, split)) if in_split else None
    return load_problems(path=str(whole), keep=keep, **options)


def question_text(problem: Problem) -> str:
    """What is asked, as text: the prompt, or the last user message of the conversation."""
    if isinstance(problem.prompt, str):
        return problem.prompt
    return next((str(m["content"]) for m in reversed(problem.prompt) if m.get("role") == "user"), "")


def _check_tests(problem: Problem) -> None:
    """Tests without a single case would pass every program."""
    tests = problem.tests if isinstance(problem.tests, dict) else {}
    where = _TESTS_IN.get(tests.get("kind", ""))
    if where is not None and (not isinstance(tests[where], list) if where in tests else False):
        raise DataError(f"{where} of the tests", tests[where], expected="a list of tests", then="Mend or drop the row.")
    if where is not None and not tests.get(where):
        raise DataError(
            f"{where} of the tests",
            tests.get(where),
            expected="at least one test: without one, nothing can be right",
            then="Drop the row, or give it tests.",
        )


def _unique(problems: list[Problem], places: list[int], duplicates: str, where: str | None) -> list[Problem]:
    """A problem that stands there twice: its two groups would be compared as two problems, and weigh twice.

    Two problems under one key are never one: statistics and resumed runs would confuse them. `places` are their rows.
    """
    first: dict[str, int] = {}
    result, repeated = [], []
    number: dict[str, int] = {}
    for index, problem in enumerate(problems):
        # The whole prompt, not only the question: tests stand in the prompts of programs.
        before = first.setdefault(problem.key, index)
        twin = first.setdefault("\x1f" + json.dumps(problem.prompt, sort_keys=True), index)
        if before == twin == index:
            result.append(problem)
            continue
        repeated.append((places[min(before, twin)], places[index], problem.key))
        if duplicates == "keep":
            number[problem.key] = number.get(problem.key, 1) + 1
            result.append(
                dataclasses.replace(problem, key=f"{problem.key}#{number[problem.key]}") if before != index else problem
            )
        elif before != index and problems[before].prompt != problem.prompt:
            raise DataError(
                f"key of two different problems of {where}, {rows_from_1([places[before], places[index]])},",
                problem.key,
                expected="a key of its own for every problem",
                then="Mend the key column, or leave it out of the columns: the prompt is the key then.",
            )
    conflicting = [places[i] for i in conflicting_rows(problems)] if repeated else []
    told = (
        f"same question, different answers: {len(conflicting)} of {len(problems)} problems, {rows_from_1(conflicting)}."
        if conflicting
        else ""
    )
    if repeated and duplicates == "error":
        one, other, key = repeated[0]
        raise DataError(
            f"{len(repeated)} of {len(problems)} problems of {where} stand there twice, the first of them, in "
            f"{rows_from_1([one, other])},",
            key,
            expected="every problem once",
            then=f"{told} Set dataset_duplicates to drop (keeps the first of each) or to keep.".strip(),
        )
    if told and duplicates == "drop":  # whoever keeps them is told of them by what looks at the whole set
        logger.warning("%s The first of each is kept, which may be the wrong one.", told)
    return result


def to_rows(problems: Sequence[Problem]) -> "Dataset":
    """The trainer's data set: columns key, prompt, answer, trace, difficulty, source, and tests (as JSON) if there are any."""
    from datasets import Dataset

    rows = []
    tested = any(p.tests is not None for p in problems)
    for problem in problems:
        row: dict[str, Any] = {
            f.name: getattr(problem, f.name)
            for f in dataclasses.fields(problem)
            if f.name not in ("tests", "traces", "trace_answer")
        }
        if tested:
            row["tests"] = None if problem.tests is None else json.dumps(problem.tests)
        rows.append(row)
    for column in ("trace", "answer"):  # a column of nothing but None is no column: its absence is told before training
        if rows and all(row[column] is None for row in rows):
            rows = [{k: v for k, v in row.items() if k != column} for row in rows]
    return Dataset.from_list(rows)


def instructed(problem: Problem, system_prompt: str | None, instruction: str | None) -> Problem:
    """The problem with a system message in front and a line appended to its last message, where these are given."""
    if not (system_prompt or instruction):
        return problem
    if isinstance(problem.prompt, str):
        raise DataError(
            "prompt",
            problem.prompt,
            expected="a conversation: system_prompt and instruction need one",
            then="Map the question's column with columns: {prompt: ...}.",
        )
    prompt = [dict(m) for m in problem.prompt]
    if instruction:
        prompt[-1]["content"] += "\n" + instruction
    if system_prompt:
        prompt.insert(0, {"role": "system", "content": system_prompt})
    return dataclasses.replace(problem, prompt=prompt)
