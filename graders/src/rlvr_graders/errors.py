"""Every error that a user meets has one root and one shape: what, the value, what was expected, what to do."""

from typing import Any


class UserError(Exception):
    """A mistake that a person can correct, stated as: the thing, its value, what was expected, the next move.

    Args:
        what: The thing that is wrong, named as the user names it (a field, a column, a file).
        value: What was found there; shown through `repr`, cut at 200 characters. Leave out when absence is the problem.
        expected: What would have been right.
        then: The next move: a command, a field to set, a file to look at.
    """

    _NOT_GIVEN = object()

    def __init__(self, what: str, value: object = _NOT_GIVEN, *, expected: str, then: str) -> None:
        self.what, self.expected, self.then = what, expected, then
        self.value = None if value is self._NOT_GIVEN else value
        shown = "" if value is self._NOT_GIVEN else f" is {_short(value)}"
        super().__init__(f"{what}{shown}. Expected {expected.rstrip('.')}. {then}")

    def __reduce__(self) -> tuple[Any, ...]:  # the keyword-only arguments do not survive Exception's own pickling
        return _rebuild, (type(self), self.args, self.__dict__)


class ConfigError(UserError):
    """A setting that is wrong by itself or cannot be combined with another one."""


class DataError(UserError):
    """A row, a column or a data set that cannot be used."""


class RunError(UserError):
    """A run or an output that is missing something, belongs to other settings, or could not be written."""


class SandboxError(UserError):
    """No safe way to run untrusted programs on this machine."""


def _short(value: object, limit: int = 200) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _rebuild(cls: type[UserError], args: tuple[Any, ...], state: dict[str, Any]) -> UserError:
    error = cls.__new__(cls)
    Exception.__init__(error, *args)
    error.__dict__.update(state)
    return error


def nearest(name: str, known: list[str] | tuple[str, ...]) -> str:
    """A sentence that offers the known names nearest to a mistyped one."""
    import difflib

    close = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    return f"Did you mean {' or '.join(repr(c) for c in close)}?" if close else f"Known: {', '.join(sorted(known))}."
