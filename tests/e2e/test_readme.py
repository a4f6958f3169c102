"""What README and documents promise is there: files, commands, presets, rules, settings, and the figures of what was run."""

import dataclasses
import importlib
import json
import re
from itertools import pairwise
from pathlib import Path

import pytest
from typer.main import get_command

from g2rpo import GuidedGRPOConfig
from g2rpo.cli.main import app
from g2rpo.lab.report.write import markdown_of
from g2rpo.method.advantages import GROUPINGS
from g2rpo.method.controllers import CONTROLLERS
from g2rpo.method.guidance_loss import GUIDANCE_LOSSES
from g2rpo.training.presets import PRESETS
from g2rpo.training.run.data_config import DataConfig

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
METHOD = (ROOT / "docs" / "method.md").read_text()
RESULTS = sorted((ROOT / "research" / "results").glob("*.json"))
PAGES = [
    ROOT / "README.md",
    ROOT / "graders" / "README.md",
    ROOT / "recipes" / "README.md",
    *(p for part in ("docs", "examples", "graders/docs", "research") for p in sorted((ROOT / part).rglob("*.md"))),
]
GENERATED = {"settings.md", "commands.md"}
"""Pages of docs/reference that `make docs` writes."""


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def test_the_readme_links_to_what_one_needs():
    named = set(re.findall(r"\]\(((?!http)[^)#]+)\)", README)) | set(re.findall(r"recipes/[\w.-]+\.yaml", README))
    assert len(named) > 8
    assert [file for file in named if not (ROOT / file).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_file_it_names_is_there(page):
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    named = [page.parent / file for file in re.findall(r"\]\(((?!http)[^)#]+)(?:#[\w-]+)?\)", text)]
    named += [ROOT / file for file in re.findall(r"`((?:tests|recipes|graders|src|docs|research)/[\w./-]+)`", text)]
    assert [file for file in named if not file.exists() and file.name not in GENERATED] == []


@pytest.mark.parametrize("page", [p for p in PAGES if "log" not in p.parts], ids=name)
def test_every_command_it_shows_exists(page):
    shown = set(re.findall(r"(?:^|`|-m )g2rpo ([a-z]+(?:-[a-z]+)*)", page.read_text(), re.MULTILINE))
    assert shown <= set(get_command(app).commands)


def test_the_readme_shows_every_command():
    known = set(get_command(app).commands)
    assert {"train", "show", "eval"} <= set(re.findall(r"^g2rpo ([a-z]+)", README, re.MULTILINE))
    assert known - {"grade"} <= set(re.findall(r"`g2rpo ([a-z-]+)`", README))


@pytest.mark.parametrize("page", [p for p in PAGES if "log" not in p.parts], ids=name)
def test_every_setting_it_names_exists(page):
    fields = {f.name for owner in (GuidedGRPOConfig, DataConfig) for f in dataclasses.fields(owner)}
    assert set(re.findall(r"\b((?:guidance|dataset|trace|curriculum)_[a-z_]+)(?:[=:]|` |`,)", page.read_text())) <= fields | {
        "guidance_"
    }


def section(title: str) -> str:
    """The part of the method page under a heading of the second level."""
    return METHOD.split(f"\n## {title}\n")[1].split("\n## ")[0]


def test_the_method_page_lists_every_preset_rule_loss_and_grouping():
    assert set(re.findall(r"^\| `([\w-]+)`", section("Presets"), re.MULTILINE)) == set(PRESETS)
    rules = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", section("The controller"), re.MULTILINE)
    assert {rule for cell in rules for rule in re.findall(r"`(\w+)`", cell)} == set(CONTROLLERS)
    losses, _, groupings = section("One step").partition("| `guidance_advantages`")[2].partition("| `guidance_loss`")[::-1]
    assert set(re.findall(r"^\| `(\w+)`", losses, re.MULTILINE)) == set(GUIDANCE_LOSSES)
    assert set(re.findall(r"^\| `(\w+)`", groupings, re.MULTILINE)) == set(GROUPINGS)


def test_the_figures_of_the_readme_are_those_of_the_recorded_demo():
    arms = json.loads((ROOT / "research" / "results" / "demo.json").read_text())["arms"]
    rows = dict(re.findall(r"^\| ([\w-]+) \| ([\d.]+) % \|", README, re.MULTILINE))
    assert rows == {arm: f"{100 * values['accuracy']:.1f}" for arm, values in arms.items()}


@pytest.mark.parametrize("file", [f for f in RESULTS if f.stem != "demo"], ids=name)
def test_the_tables_of_a_comparison_are_those_of_its_figures(file):
    """A table's head may be worded anew; its figures may not."""
    written = file.with_suffix(".md").read_text().splitlines()
    lines = markdown_of([file]).splitlines()
    rows = [line for line, after in pairwise(lines) if line.startswith("| ") and not after.startswith("|---")]
    assert len(rows) > 3
    assert [row for row in rows if row not in written] == []


def test_the_results_page_is_short_and_its_means_are_those_of_the_tables():
    text = (ROOT / "docs" / "results.md").read_text()
    assert text.count("\n") <= 80
    table = re.findall(r"^\| \[.*\]\(\.\./research/results/([\w-]+)\.md(?:#([\w-]+))?\) \(\d+\) \| (.*) \|$", text, re.MULTILINE)
    assert len(table) == 10
    for file, task, cells in table:
        tasks = json.loads((ROOT / "research" / "results" / f"{file}.json").read_text())["tasks"]
        arms = (tasks[task] if task else next(iter(tasks.values())))["arms"]
        for arm, cell in zip(("base", "grpo", "g2rpo-a-paper", "g2rpo", "sft", "sft-then-grpo"), cells.split(" | "), strict=True):
            assert cell == "–" or float(re.search(r"[\d.]+", cell)[0]) == round(100 * arms[arm]["accuracy"], 1), (file, task, arm)
            if count := re.search(r"\((\d+) of (\d+)\)", cell):
                assert [int(n) for n in count.groups()] == [sum(arms[arm]["took_off"]), len(arms[arm]["took_off"])]


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "reference").glob("*.md")), ids=name)
def test_the_reference_names_what_exists(page):
    for path in re.findall(r"^::: ([\w.]+)$", page.read_text(), re.MULTILINE):
        module, _, attribute = path.rpartition(".")
        try:
            importlib.import_module(path)
        except ModuleNotFoundError:
            assert hasattr(importlib.import_module(module), attribute), path
