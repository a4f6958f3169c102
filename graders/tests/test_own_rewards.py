"""Rewards of one's own, named as a recipe names them: modules in given folders, and files by their path."""

import os
import pickle
import sys

import pytest
from rlvr_graders.errors import ConfigError
from rlvr_graders.registry import get_reward, importable_from

SHORT = "def short(completions, **columns):\n    return [float(len(c) < 3) for c in completions]\n"


@pytest.fixture(autouse=True)
def undone(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))
    yield
    for name in [name for name in sys.modules if name.startswith(("own_", "_reward_"))]:
        del sys.modules[name]


def test_a_module_beside_the_recipe(tmp_path):
    (tmp_path / "own_beside.py").write_text(SHORT)
    with pytest.raises(ConfigError, match="No module named 'own_beside'"):
        get_reward("own_beside:short")
    importable_from(tmp_path)
    reward = get_reward("own_beside:short")
    assert reward(["a", "abcd"]) == [1.0, 0.0]
    assert reward.recipe_name == "own_beside:short"
    assert str(tmp_path) in os.environ["PYTHONPATH"].split(os.pathsep)


def test_a_module_in_the_working_folder(tmp_path, monkeypatch):
    (tmp_path / "own_here.py").write_text(SHORT)
    monkeypatch.chdir(tmp_path)
    importable_from("elsewhere")
    assert get_reward("own_here:short")(["a"]) == [1.0]


@pytest.mark.parametrize("spelling", ["./{}.py", "{}.py", "../{folder}/{}.py", "{absolute}"])
def test_a_file_by_its_path(tmp_path, monkeypatch, spelling):
    file = tmp_path / "own-file 1.py"
    file.write_text(
        SHORT
        + "class Scaled:\n    def __init__(self, by):\n        self.by = by\n    def __call__(self, completions, **columns):\n        return [self.by] * len(completions)\n"
    )
    monkeypatch.chdir(tmp_path)
    name = spelling.format("own-file 1", folder=tmp_path.name, absolute=file)
    reward = get_reward(f"{name}:short")
    assert reward(["a"]) == [1.0]
    assert pickle.loads(pickle.dumps(reward)) is reward
    assert get_reward(f"{name}:Scaled", by=2.0)(["a", "b"]) == [2.0, 2.0]


def test_a_relative_path_is_looked_for_beside_the_recipe_too(tmp_path):
    (tmp_path / "own_rel.py").write_text(SHORT)
    importable_from(tmp_path)
    assert get_reward("./own_rel.py:short")(["a"]) == [1.0]


def test_an_installed_module_is_not_hidden_by_a_file_of_its_name(tmp_path):
    (tmp_path / "json.py").write_text("raise ValueError('shadowed')")
    importable_from(tmp_path)
    assert get_reward("json:dumps") is not None


@pytest.mark.parametrize(
    ("source", "name", "told"),
    [
        ("def short(:", "own_bad.py:short", "SyntaxError"),
        ("1 / 0", "own_bad.py:short", "ZeroDivisionError"),
        ("import own_missing", "own_bad.py:short", "own_missing"),
        (SHORT, "own_bad.py:shrot", "shrot"),
        (SHORT, "own_absent.py:short", "there is no file own_absent.py"),
        ("short = 3", "own_bad.py:short", "a callable"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_in_a_sentence(tmp_path, monkeypatch, source, name, told):
    (tmp_path / "own_bad.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=told):
        get_reward(name)
