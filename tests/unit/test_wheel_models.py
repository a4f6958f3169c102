"""What a wheel holds of the built-in models, and what is said of the one that it does not."""

import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

from g2rpo.errors import ConfigError
from g2rpo.models import BUILTIN, resolve_model

ROOT = Path(__file__).parents[2]
MEGABYTES_COMPRESSED = 5.0


def test_the_models_of_a_wheel_stay_below_its_limit():
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["g2rpo"]
    package = ROOT / "src" / "g2rpo"
    files = [f for f in package.rglob("*") if any(fnmatch(f.relative_to(package).as_posix(), pattern) for pattern in patterns)]
    assert {BUILTIN["builtin"] / "model.safetensors", BUILTIN["builtin-reader"] / "model.safetensors"} <= {
        f.resolve() for f in files
    }
    # Weights in bfloat16 shrink by a fifth in a wheel.
    assert 0.8 * sum(f.stat().st_size for f in files if f.suffix == ".safetensors") < MEGABYTES_COMPRESSED * 1e6 - 500_000


def test_both_distributions_carry_the_licence():
    """Setuptools takes it from beside each pyproject.toml; a link would be broken in the source archive."""
    copy = ROOT / "graders" / "LICENSE"
    assert copy.read_bytes() == (ROOT / "LICENSE").read_bytes()
    assert not copy.is_symlink()


def test_a_model_that_an_installation_does_not_hold_is_told(monkeypatch, tmp_path):
    monkeypatch.setitem(BUILTIN, "builtin-gsm8k", tmp_path / "absent")
    with pytest.raises(ConfigError, match="a wheel leaves this one out"):
        resolve_model("builtin-gsm8k")
    assert resolve_model("somebody/model") == "somebody/model"


def test_a_path_at_which_nothing_is_never_asks_the_hub(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "here").mkdir()
    for path in ("./modles/x", "../x", "/no/such/dir", "~/m", "runs/first/checkpoint-20", "modles\\x"):
        with pytest.raises(ConfigError, match=r"Expected an existing folder; seen from .* there is none"):
            resolve_model(path)
    assert resolve_model("~/here") == str(tmp_path / "here")
    for name in ("./here", "here", "gpt2", "openai/gsm8k", "HuggingFaceTB/SmolLM2-135M.v1"):
        assert resolve_model(name) == name
