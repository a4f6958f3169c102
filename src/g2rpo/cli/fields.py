"""`g2rpo fields`: everything that can be set, by owner."""

import dataclasses

from rich.console import Console
from rich.table import Table


def print_fields(search: str = "") -> None:
    from trl import GRPOConfig, ModelConfig

    from g2rpo.training.config import GuidedGRPOConfig
    from g2rpo.training.recipe import DataConfig

    ours = {f.name for f in dataclasses.fields(GuidedGRPOConfig)} - {f.name for f in dataclasses.fields(GRPOConfig)}
    console = Console()
    for title, owner, names in (
        ("Data and rewards", DataConfig, None),
        ("Guidance", GuidedGRPOConfig, ours),
        ("Model (TRL)", ModelConfig, None),
        (
            "Training (TRL, Transformers)",
            GuidedGRPOConfig,
            {f.name for f in dataclasses.fields(GuidedGRPOConfig)} - ours,
        ),
    ):
        table = Table(title=title, title_justify="left", expand=True)
        for column, ratio in (("field", 2), ("default", 1), ("meaning", 5)):
            table.add_column(column, ratio=ratio, overflow="fold")
        for field in dataclasses.fields(owner):
            if field.init and (names is None or field.name in names) and search in field.name:
                table.add_row(field.name, _default(field), str(field.metadata.get("help", "")))
        if table.row_count:
            console.print(table)


def _default(field: dataclasses.Field) -> str:
    value = field.default if field.default is not dataclasses.MISSING else None
    if field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
    return str(value)
