"""`g2rpo fields`: everything that can be set, by owner."""

import dataclasses

from rich.console import Console
from rich.table import Table

from g2rpo.errors import ConfigError, nearest


def print_fields(search: str = "") -> None:
    from trl import GRPOConfig, ModelConfig

    from g2rpo.training.config import GuidedGRPOConfig
    from g2rpo.training.held_out_evaluation import HeldOutConfig
    from g2rpo.training.run.recipe import DataConfig

    ours = {f.name for f in dataclasses.fields(GuidedGRPOConfig)} - {f.name for f in dataclasses.fields(GRPOConfig)}
    console, shown = Console(), False
    for title, owner, names in (
        ("Data and rewards", DataConfig, None),
        ("Guidance", GuidedGRPOConfig, ours),
        ("Evaluation while training", HeldOutConfig, None),
        ("Model (TRL)", ModelConfig, None),
        (
            "Training (TRL, Transformers)",
            GuidedGRPOConfig,
            {f.name for f in dataclasses.fields(GuidedGRPOConfig)} - ours,
        ),
    ):
        table = Table(title=title, title_justify="left", expand=True)
        table.add_column("field", no_wrap=True)  # names are to be copied and searched for
        table.add_column("default", ratio=1, overflow="fold")
        table.add_column("meaning", ratio=4, overflow="fold")
        for field in dataclasses.fields(owner):
            if field.init and (names is None or field.name in names) and search in field.name:
                table.add_row(field.name, _default(field), str(field.metadata.get("help", "")))
        if table.row_count:
            shown = True
            console.print(table)
    if not shown:
        every = [
            f.name for owner in (DataConfig, GuidedGRPOConfig, HeldOutConfig, ModelConfig) for f in dataclasses.fields(owner)
        ]
        raise ConfigError("field", search, expected="part of a field's name", then=nearest(search, every))


def _default(field: dataclasses.Field) -> str:
    value = field.default if field.default is not dataclasses.MISSING else None
    if field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
    return str(value)
