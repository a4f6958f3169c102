"""Files that commands read and write. An output that cannot be written is reported before the work begins."""

import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TextIO

from rlvr_graders.errors import DataError, RunError

STANDARD = "-"


def check_file(option: str, path: Path | None, *, reads: Iterable[Path] = ()) -> None:
    """Checks that a file can be written, without creating or changing it. `-` and None pass.

    Args:
        option: As the user names it, for the message.
        path: The file to be written.
        reads: Files that are read for it, and must not be overwritten.

    Raises:
        RunError: it is one of the files read, a folder, or cannot be written.
    """
    if path is None or str(path) == STANDARD:
        return
    try:
        if any(_same(path, other) for other in reads):
            raise RunError(
                option, str(path), expected="another file than the one that is read", then="That one would be lost: name another."
            )
        if path.is_dir():
            raise RunError(option, str(path), expected="a file, not a folder", then="Name a file in it.")
        if path.is_file():
            path.open("r+b").close()
        elif not path.exists():  # pipes and devices are left alone: to open and close one can end it
            _try_folder(Path(os.path.realpath(path)).parent)
    except OSError as error:
        raise _unwritable(option, path, error) from None


def check_folder(option: str, path: Path | None) -> None:
    """Checks that files can be written in a folder, which need not exist yet. Leaves nothing in it.

    Raises:
        RunError: files cannot be written there.
    """
    try:
        if path is not None:
            _try_folder(path)
    except OSError as error:
        raise _unwritable(option, path, error) from None


@contextmanager
def opened(path: Path) -> Iterator[TextIO]:
    """A file for writing, its folder made where it is missing; standard output for `-`, left open."""
    if str(path) == STANDARD:
        yield sys.stdout
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", errors="backslashreplace") as file:  # half a character, as JSON escapes it
        yield file


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a UTF-8 file that are not empty, with their numbers from 1; of standard input for `-`, as they come.

    Raises:
        DataError: it cannot be read, or is not UTF-8; names the line.
    """
    try:
        file = sys.stdin.buffer if str(path) == STANDARD else path.open("rb")
    except OSError as error:
        raise DataError("input", str(path), expected=f"a readable file ({error.strerror})", then="Check the path.") from None
    with nullcontext(file) if file is sys.stdin.buffer else file:
        for number, line in enumerate(file, start=1):
            try:
                text = line.decode("utf-8")
            except UnicodeDecodeError as error:
                raise DataError(
                    f"Line {number} of {path}", line[:60], expected=f"UTF-8 text ({error.reason})", then="Save the file as UTF-8."
                ) from None
            if text.strip():
                yield number, text


def _same(a: Path, b: Path) -> bool:
    """Also through links and other spellings. Devices are no files that could be lost, but a file may be standard input."""
    b = Path("/dev/stdin") if str(b) == STANDARD else b
    return a.is_file() and b.is_file() and os.path.samefile(a, b)


def _try_folder(folder: Path) -> None:
    """Writes into the nearest folder that is there: permissions alone do not tell, for root or on a read-only disk."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    with tempfile.TemporaryFile(dir=folder):
        pass


def _unwritable(option: str, path: Path | None, error: OSError) -> RunError:
    return RunError(option, str(path), expected=f"a place that can be written ({error.strerror})", then="Name another place.")
