"""Files that are whole or not there, and JSON that a person wrote."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from g2rpo.errors import ConfigError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; it takes the place of `path` at the end, in one step.

    A process that is killed or finds the disk full inside leaves `path` as it was.
    """
    part = path.with_name(path.name + ".part")
    yield part
    os.replace(part, path)


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8, whole or not at all. A lone surrogate, which UTF-8 cannot hold, becomes a question mark."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8", errors="replace")


def write_json(path: Path, value: Any, **options: Any) -> None:
    """Writes indented JSON, whole or not at all; `options` are those of `json.dumps`."""
    write_text(path, json.dumps(value, indent=2, **options) + "\n")


def json_object(name: str, text: str, example: str) -> dict[str, Any]:
    """The object that `text` holds as JSON.

    Args:
        name: The setting whose value `text` is, for the error.
        text: What a person wrote.
        example: A right value, for the error.

    Raises:
        ConfigError: `text` does not parse, or holds something else than an object.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(name, text, expected="a JSON object", then=f"It does not parse: {error}.") from error
    if not isinstance(value, dict):
        raise ConfigError(name, text, expected="a JSON object", then=f"Write it like {example}.")
    return value
