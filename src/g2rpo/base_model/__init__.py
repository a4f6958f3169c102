"""The models that come with the package: 0.8 M parameters, Qwen3-shaped, so that everything can be tried without a download.

builtin         knows single steps of the procedural tasks and loses patience (`build.py`; `make base`)
builtin-gsm8k   the same model after SFT on GSM8K's training set: knows the form of its solutions, not the arithmetic
                (`recipes/sft-gsm8k-base.yaml`)
"""

from pathlib import Path

_HERE = Path(__file__).parent
BUILTIN = {"builtin": _HERE / "weights", "builtin-gsm8k": _HERE / "weights_gsm8k"}


def resolve_model(name: str) -> str:
    """The folder of a built-in model for its name; any other name or path as it is."""
    return str(BUILTIN[name]) if name in BUILTIN else name
