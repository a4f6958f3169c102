"""Rows from the hub or from a file, with their column names. Nothing here knows what a column means."""

import csv
import gzip
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from g2rpo.errors import DataError, rows_from_1

FORMATS = {".jsonl": "json", ".json": "json", ".parquet": "parquet", ".csv": "csv", ".arrow": "arrow"}
_NOTHING = "#N/A #NA -1.#IND -1.#QNAN -NaN -nan 1.#IND 1.#QNAN <NA> N/A NA NULL NaN None n/a nan null"
MISSING = frozenset((*_NOTHING.split(), "", "#N/A N/A"))
"""CSV cells that hold nothing: the words that pandas writes and reads so."""
Rows = Iterable[dict[str, Any]]


_NEXT = {
    "csv": "Save it as UTF-8, with commas between the cells, quotes around cells with commas or line ends, and a line of column "
    "names at the top.",
    "json": "Save it as UTF-8; in JSONL, one object per line.",
}
"""What to do about a file of a kind that cannot be read."""


def open_rows(name: str | None, path: str | None, config: str | None, split: str) -> tuple[Rows, list[str]]:
    """Rows and column names of a hub name or a local path.

    Raises:
        DataError: nothing there, a format that is not known, or a file that cannot be read, with the line.
    """
    if (name is None) == (path is None):
        raise DataError("data set", name or path, expected="either dataset_name or dataset_path", then="Set exactly one of them.")
    if name is not None:
        from datasets import load_dataset

        try:
            table = load_dataset(name, config, split=split)
        except Exception as error:  # the hub client has many ways to say no; the next move is the same
            raise DataError(
                "dataset_name",
                name,
                expected="a data set that can be loaded from the hub",
                then=f"{type(error).__name__}: {error}. Offline, give a local copy as dataset_path.",
            ) from error
        return table, table.column_names
    folder = Path(str(path))
    if (folder / "state.json").is_file() or (folder / "dataset_dict.json").is_file():
        from datasets import load_from_disk

        table = load_from_disk(path)
        if (folder / "dataset_dict.json").is_file():
            if split not in table:
                raise DataError(
                    "dataset_split",
                    split,
                    expected=f"one of the splits saved in {path}: {', '.join(table)}",
                    then="Set dataset_split to one of them.",
                )
            table = table[split]
        return table, table.column_names
    found = find(folder, split)
    kind = FORMATS[_suffix(found[0])]
    try:
        if kind == "json":
            rows = list(_json_rows(found[0]))
            if not rows:
                raise ValueError("the file is empty")
            return rows, _columns(rows, found[0])
        if kind == "csv":
            return _csv_rows(found[0])
        from datasets import load_dataset

        table = load_dataset(kind, data_files=[str(f) for f in found], split="train")
    except DataError:
        raise
    except Exception as error:
        raise DataError(
            "file", str(found[0]), expected=f"readable {kind}", then=f"{_cause(error)}. {_NEXT.get(kind, '')}".strip()
        ) from error
    return table, table.column_names


def _open(file: Path, **options: Any) -> Any:
    return gzip.open(file, "rt", **options) if file.suffix == ".gz" else file.open(**options)


def _csv_rows(file: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """Rows and columns. CSV has no types: cells stay text, so 007 stays 007 and 4 does not become 4.0 beside an empty cell."""
    csv.field_size_limit(sys.maxsize)  # the default, 128 KiB, is less than a long trace
    rows: list[dict[str, Any]] = []
    names: list[str] = []
    with _open(file, encoding="utf-8-sig", newline="") as lines:
        reader = csv.reader(lines, strict=True)
        try:
            for cells in reader:
                if not cells or (len(cells) == 1 and cells[0].isspace()):
                    continue
                if not names:
                    names = _distinct(cells)
                    continue
                if len(cells) > len(names):
                    raise ValueError(f"{len(cells)} cells, but {len(names)} columns")
                values = [None if cell in MISSING else cell for cell in cells]
                rows.append(dict(zip(names, values + [None] * (len(names) - len(values)), strict=True)))
        except (csv.Error, ValueError) as error:
            raise ValueError(f"line {reader.line_num}: {error}") from error
    if not names:
        raise ValueError("the file is empty")
    return rows, names


def _distinct(header: list[str]) -> list[str]:
    """Column names: the first of several equal ones keeps the name, the others get a number; one without a name gets its
    place."""
    named = [name or f"Unnamed: {place}" for place, name in enumerate(header)]
    return [f"{name}.{before}" if (before := named[:place].count(name)) else name for place, name in enumerate(named)]


def _json_rows(file: Path) -> Iterator[dict[str, Any]]:
    """Objects of a JSON list or of JSON lines. Read with Python's own reader: a cell may hold any JSON, lists of mixed values
    too."""
    with _open(file, encoding="utf-8-sig") as opened:
        lines: Iterable[str] = opened
        if _suffix(file) == ".json":
            text = opened.read()
            if text.lstrip()[:1] == "[":
                yield from json.loads(text)
                return
            lines = text.splitlines()
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from error
            if not isinstance(row, dict):
                raise ValueError(f"line {number} is not an object")
            yield row


def _columns(rows: list[dict[str, Any]], file: Path) -> list[str]:
    """Columns in order of appearance.

    Raises:
        DataError: one holds text here and a number or a list there: half of it would be read wrongly, or not at all.
    """
    kinds: dict[str, tuple[str, int]] = {}
    for number, row in enumerate(rows):
        for column, value in row.items():
            kind = _kind(value)
            before, where = kinds.setdefault(column, (kind, number))
            if before == "nothing":
                kinds[column] = (kind, number)
            elif kind not in (before, "nothing"):
                raise DataError(
                    f"column {column!r} of {file}",
                    f"{before} in {rows_from_1([where])}, {kind} in {rows_from_1([number])}",
                    expected="one type in all of its rows",
                    then="Write the whole column as text, or mend those rows.",
                )
    return list(kinds)


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true or false"
    names = {str: "text", int: "a number", float: "a number", list: "a list or an object", dict: "a list or an object"}
    return names[type(value)]


def _cause(error: BaseException) -> str:
    """The first line of what really went wrong: readers wrap it in errors that only say that something did."""
    while error.__cause__ is not None and not isinstance(error, ValueError):
        error = error.__cause__
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'the file is empty'}"


def _suffix(file: Path) -> str:
    return Path(file.name.removesuffix(".gz")).suffix


def find(path: Path, split: str) -> list[Path]:
    """The file of a split, or the shards of it, as copies of hub repositories have them.

    Raises:
        DataError: none there, or one of an unknown kind.
    """
    if path.is_file():
        if _suffix(path) not in FORMATS:
            raise DataError(
                "dataset_path", str(path), expected=f"a file ending in {', '.join(FORMATS)}", then="Convert it to JSONL."
            )
        return [path]
    if path.is_dir():
        for suffix in FORMATS:
            for ending in (suffix, suffix + ".gz"):
                if (path / (split + ending)).is_file():
                    return [path / (split + ending)]
        if shards := sorted(path.glob(f"{split}-*.parquet")) or sorted(path.glob(f"data/{split}-*.parquet")):
            return shards
        raise DataError(
            "dataset_path",
            str(path),
            expected=f"a file {split}.jsonl (or .parquet, .csv, .json) in the folder",
            then=f"The folder holds: {', '.join(sorted(p.name for p in path.iterdir())[:10]) or 'nothing'}. Set dataset_split.",
        )
    raise DataError("dataset_path", str(path), expected="an existing file or folder", then="Check the path.")
