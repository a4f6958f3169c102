"""Runs model-written programs where they can do no harm, and hands back plain data that nobody has to believe.

Expected values never enter: a program gets its calls or its input, and what comes back is compared outside. Start with
`open_sandbox()`; `docs/sandbox.md` tells what each level protects against and what it does not.
"""

from .interface import AssertResult, Call, CallResult, Capabilities, ExecRequest, ExecResult, Sandbox, SelfTest, Status
from .levels import LevelReport, describe_levels, open_sandbox

__all__ = [
    "AssertResult",
    "Call",
    "CallResult",
    "Capabilities",
    "ExecRequest",
    "ExecResult",
    "LevelReport",
    "Sandbox",
    "SelfTest",
    "Status",
    "describe_levels",
    "open_sandbox",
]
