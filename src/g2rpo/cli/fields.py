"""`g2rpo fields`: everything that can be set, by owner; for a terminal, or as Markdown."""

import dataclasses
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from g2rpo.errors import ConfigError, nearest

TAKES_FIELDS = {"allow_extra_args": True, "ignore_unknown_options": True}
"""Settings of a command behind which fields of a recipe can follow as --field value."""
Section = tuple[str, list[tuple[str, str, str]]]
"""A title, and (field, default, meaning) per row."""


def fields(
    search: Annotated[str, typer.Argument(help="Only fields whose name contains this text.")] = "",
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown tables instead.")] = False,
) -> None:
    """List the fields that a recipe or a flag can set.

    Each with its default and meaning.
    """
    found = [(title, [row for row in rows if search in row[0]]) for title, rows in _sections()]
    if not any(rows for _, rows in found):
        every = [row[0] for _, rows in _sections() for row in rows]
        raise ConfigError("field", search, expected="part of a field's name", then=nearest(search, every))
    for title, rows in found:
        if rows:
            _print_markdown(title, rows) if markdown else _print_table(title, rows)


def _sections() -> Iterator[Section]:
    from trl import GRPOConfig, ModelConfig

    from g2rpo.training.config import GuidedGRPOConfig
    from g2rpo.training.held_out_evaluation import HeldOutConfig
    from g2rpo.training.run.data_config import DataConfig

    trls = {f.name for f in dataclasses.fields(GRPOConfig)}
    datas = {f.name for f in dataclasses.fields(DataConfig)}
    ours = {f.name for f in dataclasses.fields(GuidedGRPOConfig)} - trls - datas
    for title, owner, names in (
        ("Data and rewards", DataConfig, None),
        ("Guidance", GuidedGRPOConfig, ours),
        ("Evaluation while training", HeldOutConfig, None),
        ("Model (TRL)", ModelConfig, None),
        ("Training (TRL, Transformers)", GuidedGRPOConfig, trls),
    ):
        yield (
            title,
            [
                (f.name, _default(f), str(f.metadata.get("help", "")))
                for f in dataclasses.fields(owner)
                if f.init and (names is None or f.name in names)
            ],
        )


def _print_table(title: str, rows: list[tuple[str, str, str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", expand=True)
    table.add_column("field", no_wrap=True)  # names are to be copied and searched for
    table.add_column("default", ratio=1, overflow="fold")
    table.add_column("meaning", ratio=4, overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def _print_markdown(title: str, rows: list[tuple[str, str, str]]) -> None:
    print(f"## {title}\n\n| field | default | meaning |\n|---|---|---|")
    for name, default, meaning in rows:
        text = " ".join(meaning.split()).replace("|", "\\|").replace("<", "&lt;").replace("[", "\\[")
        shown = f"`{default}`" if default else ""
        print(f"| `{name}` | {shown} | {text} |")
    print()


def _default(field: dataclasses.Field[Any]) -> str:
    value = field.default if field.default is not dataclasses.MISSING else None
    if field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
    return str(value)
