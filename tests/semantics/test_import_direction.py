"""Imports point one way: from what a person runs towards the nouns. An arrow the other way is an error, wherever it hides."""

import ast
from pathlib import Path

import pytest
import rlvr_graders

import g2rpo

ROOT = Path(g2rpo.__file__).parent
ORDER = (
    "errors",
    "io",
    "seeds",
    "processor",
    "data",
    "models",
    "sampling",
    "method",
    "evaluation",
    "curation",
    "training",
    "lab",
    "cli",
)
"""A room may import those before it."""
RANK = {room: rank for rank, room in enumerate(ORDER)}
GRADERS = Path(rlvr_graders.__file__).parent


def arrows():
    """(file, line, room, imported room) of every import of ours, at module level, in functions and for type checkers."""
    for path in sorted(ROOT.rglob("*.py")):
        relative = path.relative_to(ROOT)
        room = relative.parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                if node.level:  # relative: make it absolute
                    package = ["g2rpo", *relative.parent.parts][: 1 + len(relative.parent.parts) - (node.level - 1)]
                    base = ".".join([*package, *([node.module] if node.module else [])])
                else:
                    base = node.module or ""
                names = [base] if base.count(".") else [f"{base}.{alias.name}" for alias in node.names]
            else:
                continue
            for name in names:
                parts = name.split(".")
                if parts[0] == "g2rpo" and len(parts) > 1 and parts[1] != "__version__":
                    yield str(relative), node.lineno, room, parts[1]


def wrong(room, imported):
    if room in ("__init__", "__main__"):  # the front door may open any room
        return False
    return room != imported and RANK[imported] >= RANK[room]


def test_every_room_has_its_place():
    rooms = {p.relative_to(ROOT).parts[0].removesuffix(".py") for p in ROOT.rglob("*.py")}
    assert rooms <= set(RANK) | {"__init__", "__main__"}


def test_there_are_imports_to_look_at():
    assert len(list(arrows())) > 50


def violations():
    return {(file, imported): f"{file}:{line}" for file, line, room, imported in arrows() if wrong(room, imported)}


def test_no_import_points_the_other_way():
    bad = [f"{place} imports {arrow[1]}" for arrow, place in violations().items()]
    assert not bad, "\n".join(bad)


@pytest.mark.parametrize("path", sorted(GRADERS.rglob("*.py")), ids=lambda path: str(path.relative_to(GRADERS)))
def test_the_graders_know_nothing_of_training(path):
    text = path.read_text()
    imported = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""])
    }
    assert not imported & {"g2rpo", "torch", "transformers", "datasets", "numpy"}


@pytest.mark.parametrize(
    ("room", "imported", "is_wrong"),
    [
        ("errors", "seeds", True),
        ("data", "seeds", False),
        ("data", "method", True),
        ("method", "data", False),
        ("method", "training", True),
        ("training", "evaluation", False),
        ("evaluation", "training", True),
        ("models", "data", False),
        ("models", "training", True),
        ("cli", "lab", False),
        ("training", "lab", True),
    ],
)
def test_the_rule_itself(room, imported, is_wrong):
    assert wrong(room, imported) == is_wrong
