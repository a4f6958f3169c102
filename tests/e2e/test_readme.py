"""What the README promises is there: files, commands, presets, settings, and the demo's figures."""

import dataclasses
import json
import re
from pathlib import Path

from typer.main import get_command

from g2rpo import GuidedGRPOConfig
from g2rpo.cli.main import app
from g2rpo.training.presets import PRESETS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_every_file_it_names_is_there():
    named = set(re.findall(r"\]\(((?!http)[^)#]+)\)", README)) | set(re.findall(r"recipes/[\w.-]+\.yaml", README))
    assert len(named) > 8
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_command_it_shows_exists():
    known = set(get_command(app).commands)
    shown = set(re.findall(r"(?:^|`|-m )g2rpo ([a-z]+)", README, re.MULTILINE))
    assert shown
    assert shown <= known


def test_every_preset_and_setting_it_names_exists():
    presets = set(re.findall(r"^\| `([\w-]+)`", README, re.MULTILINE))
    assert presets == set(PRESETS)
    fields = {f.name for f in dataclasses.fields(GuidedGRPOConfig)}
    assert set(re.findall(r"(guidance_[a-z_]+)[=` ]", README)) <= fields | {"guidance_"}


def test_its_figures_are_those_of_the_recorded_demo():
    arms = json.loads((ROOT / "docs" / "demo.json").read_text())["arms"]
    rows = dict(re.findall(r"^\| ([\w-]+) \| ([\d.]+) % \|", README, re.MULTILINE))
    assert rows == {name: f"{100 * arm['accuracy']:.1f}" for name, arm in arms.items()}
