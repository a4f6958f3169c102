"""Graders for RL with verifiable rewards: math answers, programs against tests, form and length. No torch, no transformers."""

from rlvr_graders.errors import ConfigError, DataError, RunError, SandboxError, UserError
from rlvr_graders.registry import get_reward

__all__ = ["ConfigError", "DataError", "RunError", "SandboxError", "UserError", "get_reward"]
__version__ = "0.1.0"
