"""Imports point one way: from what a person runs towards the nouns. An arrow the other way is an error, wherever it hides."""

import ast
from pathlib import Path

import pytest

import g2rpo

ROOT = Path(g2rpo.__file__).parent
ORDER = (
    {"types"},
    {"errors", "seeds"},
    {"statistics"},
    {"data", "tasks"},
    {"guidance"},
    {"rewards"},
    {"algo"},
    {"simulation"},
    {"generation"},
    {"evaluation"},
    {"curation"},
    {"training"},
    {"comparison"},
    {"report"},
    {"cli"},
)
RANK = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms}
BASE_MODEL = {"types", "errors", "seeds", "data", "tasks"}
"""All that the base model's recipe may know: nothing of any training method."""


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
    if room == imported:
        return False
    if room == "base_model":
        return imported not in BASE_MODEL
    if imported == "base_model":
        return RANK[room] < RANK["evaluation"]
    return RANK[imported] >= RANK[room]


def test_every_room_has_its_place():
    rooms = {p.relative_to(ROOT).parts[0].removesuffix(".py") for p in ROOT.rglob("*.py")}
    assert rooms <= set(RANK) | {"base_model", "__init__", "__main__"}


def test_there_are_imports_to_look_at():
    assert len(list(arrows())) > 50


def violations():
    return {(file, imported): f"{file}:{line}" for file, line, room, imported in arrows() if wrong(room, imported)}


def test_no_import_points_the_other_way():
    bad = [f"{place} imports {arrow[1]}" for arrow, place in violations().items()]
    assert not bad, "\n".join(bad)


@pytest.mark.parametrize(
    ("room", "imported", "is_wrong"),
    [
        ("types", "errors", True), ("errors", "types", False), ("errors", "seeds", True), ("data", "tasks", True),
        ("guidance", "data", False), ("guidance", "training", True), ("algo", "guidance", False), ("rewards", "algo", True),
        ("training", "evaluation", False), ("evaluation", "training", True), ("base_model", "tasks", False),
        ("base_model", "training", True), ("guidance", "base_model", True), ("cli", "base_model", False),
    ],
)  # fmt: skip
def test_the_rule_itself(room, imported, is_wrong):
    assert wrong(room, imported) == is_wrong
