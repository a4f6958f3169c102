"""Built-in models: what a wheel holds of them; names and paths of models."""

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


@pytest.mark.parametrize("name", ["./modles/x", "/no/such/folder", "~/no-such-model", "runs/one/checkpoint-2", "src/g2rpo-0.5b"])
def test_a_path_without_a_model_is_not_looked_up_on_the_hub(name, monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[2])
    with pytest.raises(ConfigError, match="Expected an existing folder"):
        resolve_model(name)


def test_names_on_the_hub_and_folders_are_left_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine").mkdir()
    for name in ("gpt2", "Qwen/Qwen3-0.6B", "HuggingFaceTB/SmolLM2-135M-Instruct", "mine", str(tmp_path / "mine")):
        assert resolve_model(name) == name
    assert resolve_model("~/mine") == str(tmp_path / "mine")
