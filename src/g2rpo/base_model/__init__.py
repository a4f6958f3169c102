"""The built-in base model: about 0.8 M parameters, Qwen3-shaped, shipped with the package. See `build.py` for how it was made."""

from pathlib import Path

NAME = "builtin"
WEIGHTS = Path(__file__).parent / "weights"


def resolve_model(name: str) -> str:
    """The folder of the built-in model for the name `builtin`; any other name or path as it is."""
    return str(WEIGHTS) if name == NAME else name
