"""g2rpo: guided reinforcement learning with verifiable rewards for small language models."""

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from g2rpo.training.config import GuidedGRPOConfig
    from g2rpo.training.trainer import GuidedGRPOTrainer

__all__ = ["GuidedGRPOConfig", "GuidedGRPOTrainer", "__version__"]

_HOMES = {"GuidedGRPOConfig": "g2rpo.training.config", "GuidedGRPOTrainer": "g2rpo.training.trainer"}


def __getattr__(name: str):
    # Imported on first use: `g2rpo --help` must not wait for torch.
    if name in _HOMES:
        import importlib

        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'g2rpo' has no attribute {name!r}")
