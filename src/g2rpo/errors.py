"""The errors of this package are those of the graders: one root and one shape for all."""

from collections.abc import Iterable

from rlvr_graders.errors import ConfigError, DataError, RunError, SandboxError, UserError, nearest

G2RPOError = UserError
"""The root of them all: `except G2RPOError` catches every mistake that a person can mend."""

__all__ = ["ConfigError", "DataError", "G2RPOError", "RunError", "SandboxError", "UserError", "nearest", "one_of"]


def one_of(name: str, value: object, known: Iterable[str]) -> None:
    """Raises `ConfigError` where a setting has none of its known values; names the nearest."""
    known = tuple(known)
    if value not in known:
        raise ConfigError(name, value, expected=f"one of {', '.join(known)}", then=nearest(str(value), known))
