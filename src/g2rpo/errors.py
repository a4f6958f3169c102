"""The errors of this package are those of the graders: one root and one shape for all."""

from rlvr_graders.errors import ConfigError, DataError, RunError, SandboxError, UserError, nearest

G2RPOError = UserError
"""The root of them all: `except G2RPOError` catches every mistake that a person can mend."""

__all__ = ["ConfigError", "DataError", "G2RPOError", "RunError", "SandboxError", "UserError", "nearest"]
