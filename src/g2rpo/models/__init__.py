"""The models that come with the package, Qwen3-shaped and small, so that everything can be tried without a download.

builtin           0.8 M parameters; knows single steps of the procedural tasks and loses patience
builtin-reader    the same after it has learned to read, not to write, two other notations
builtin-programs  the same after more programs: knows their steps as well as those of chains
builtin-gsm8k     0.9 M parameters; knows the form and many of the single steps of GSM8K's solutions; in a clone only: a wheel
                  with it would pass 5 MB

`lab/base_models/` made them (`make base`, `base-reader`, `base-programs`, `base-gsm8k`).
Pretrained: `smollm2-135m`, and any GGUF file by its path (`gguf.py`).
"""

from pathlib import Path

from g2rpo.errors import ConfigError

_HERE = Path(__file__).parent
BUILTIN = {
    "builtin": _HERE / "weights",
    "builtin-reader": _HERE / "weights_reader",
    "builtin-programs": _HERE / "weights_programs",
    "builtin-gsm8k": _HERE / "weights_gsm8k",
}


def resolve_model(name: str) -> str:
    """The folder of a built-in model for its name, of the converted checkpoint for a GGUF file; any other name or path as it is,
    `~` expanded.

    Raises:
        ConfigError: a path at which nothing is, a GGUF file that cannot be read, `smollm2-135m` where it is not to be had
            (`gguf.py`), or a built-in model that this installation does not hold.
    """
    if name == "smollm2-135m" or name.endswith(".gguf"):
        from g2rpo.models.gguf import converted, smollm2

        return smollm2() if name == "smollm2-135m" else str(converted(name))
    if name in BUILTIN and not BUILTIN[name].is_dir():
        raise ConfigError(
            "model",
            name,
            expected="one of the built-in models of this installation; a wheel leaves this one out, for its size",
            then="Install from a clone of the repository (pip install -e .), or take builtin.",
        )
    if is_missing(name):
        raise ConfigError(
            "model", name, expected=f"an existing folder; seen from {Path.cwd()} there is none", then="Check the path."
        )
    return str(BUILTIN[name]) if name in BUILTIN else str(Path(name).expanduser()) if name.startswith("~") else name


def is_missing(name: str) -> bool:
    """Whether a name can only be a path, and nothing is there: the hub's names are NAME or OWNER/NAME."""
    can_only_be_path = Path(name).is_absolute() or name.startswith((".", "~")) or name.count("/") > 1 or "\\" in name
    return can_only_be_path and not Path(name).expanduser().exists()
