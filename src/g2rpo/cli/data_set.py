"""A SET on the command line: the options that say which problems of it, and the problems."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from g2rpo.errors import ConfigError

if TYPE_CHECKING:
    from g2rpo.data.problem import Problem
    from g2rpo.training.run.recipe import Recipe


@dataclass(frozen=True)
class DataSet:
    """A SET and the options that say which problems of it."""

    name: Annotated[str, typer.Argument(metavar="SET", help="Known name, recipe, local file or folder, or hub name.")]
    split: Annotated[str | None, typer.Option(help="Split; of a known set also `all`. Default: test where there is one.")] = None
    folder: Annotated[
        Path | None, typer.Option("--data", help="Folder with local copies of known sets: DIR/gsm8k/test.jsonl.")
    ] = None
    config: Annotated[str | None, typer.Option(help="Configuration on the hub.")] = None
    source: Annotated[str | None, typer.Option(help="How rows are read, by name (docs/data.md).")] = None
    columns: Annotated[str | None, typer.Option(help="Roles of columns: prompt=question,answer=final,trace=solution.")] = None
    limit: Annotated[int | None, typer.Option(help="Only the first so many problems.")] = None
    overrides: tuple[str, ...] = ()
    """Fields of the recipe that SET is, as flags."""

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise ConfigError("limit", self.limit, expected="a positive number", then="Leave it out for the default.")

        if self.overrides and not self.is_recipe:
            raise ConfigError(
                "option",
                self.overrides[0],
                expected="an option of this command: fields of a recipe can follow a recipe only",
                then="See --help, or name a recipe (a file ending in .yaml).",
            )

    @property
    def is_recipe(self) -> bool:
        return self.name.endswith((".yaml", ".yml"))

    @property
    def recipe(self) -> "Recipe | None":
        """The recipe that SET is, with what the options and the fields behind them change."""
        if not self.is_recipe:
            return None
        from g2rpo.training.run.recipe import read_yaml, resolve

        options: dict[str, Any] = {"dataset_source": self.source, "dataset_config": self.config, "columns": self._columns()}
        options |= {"dataset_limit": self.limit}
        return resolve({**read_yaml(self.name), **{k: v for k, v in options.items() if v is not None}}, self.overrides)

    def problems(self, *, split: str | None = None, duplicates: str = "keep") -> "list[Problem]":
        """The problems of a split, by default the one that was asked for."""
        import logging

        from g2rpo.data.catalog import CATALOG
        from g2rpo.data.load import load_named, load_problems

        logging.basicConfig(format="%(message)s")
        split = split or self.split
        if recipe := self.recipe:
            recipe.data.dataset_duplicates = duplicates
            problems = recipe.data.problems(split)
            return problems[: self.limit] if self.limit is not None else problems
        options: dict[str, Any] = {"limit": self.limit, "duplicates": duplicates}
        if self.name in CATALOG and not Path(self.name).exists():
            return load_named(self.name, split=split, data=self.folder, **options)
        options |= {"split": split or "train", "source": self.source, "columns": self._columns()}
        if Path(self.name).exists():
            return load_problems(path=self.name, **options)
        if "/" not in self.name:
            from g2rpo.errors import nearest

            raise ConfigError(
                "data set",
                self.name,
                expected="a known name, a recipe, an existing path or a hub name",
                then=nearest(self.name, list(CATALOG)),
            )
        return load_problems(name=self.name, config=self.config, **options)

    def reads(self) -> list[Path]:
        """Local files that hold the set: what is written must not overwrite them."""
        from g2rpo.data.catalog import CATALOG

        place, splits = Path(self.name), [self.split or "train"]
        whole: tuple[str, ...] = ()
        if self.is_recipe:
            from g2rpo.training.run.recipe import merged_with, read_yaml

            recipe = merged_with(read_yaml(self.name), self.overrides)
            place, splits = Path(recipe.get("dataset_path") or self.name), [self.split or recipe.get("dataset_split", "train")]
        elif self.name in CATALOG and not place.exists():
            known = CATALOG[self.name]
            place, splits, whole = (self.folder or Path()) / self.name, list(known.splits), known.files
        if not place.is_dir():
            return [place]
        return [file for file in place.iterdir() if file.name in whole or file.name.partition(".")[0] in splits]

    def splits(self) -> list[str | None]:
        """All splits of a known set, or the one that is there."""
        from g2rpo.data.catalog import CATALOG

        known = CATALOG.get(self.name)
        return list(known.splits) if known and self.split is None else [self.split]

    def _columns(self) -> dict[str, str] | None:
        if self.columns is None:
            return None
        pairs = [pair.partition("=") for pair in self.columns.split(",")]
        if any(not equals or not column for _, equals, column in pairs):
            raise ConfigError(
                "--columns", self.columns, expected="role=column,role=column", then="For example prompt=question,answer=final."
            )
        return {role.strip(): column.strip() for role, _, column in pairs}


def on_data_set(**defaults: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Declares the fields of `DataSet` as arguments of a command; the command gets the data set as its first argument.

    Args:
        defaults: Instead of those of the fields.
    """

    def declare(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def with_options(context: typer.Context, **given: Any) -> None:
            asked = {name: given.pop(name) for name in places}
            command(DataSet(**asked, overrides=tuple(context.args)), **given)

        kind = inspect.Parameter.KEYWORD_ONLY
        own = [p.replace(kind=kind) for p in list(inspect.signature(command).parameters.values())[1:]]
        name, *options = [
            p.replace(kind=kind, default=defaults.get(p.name, p.default))
            for p in inspect.signature(DataSet).parameters.values()
            if p.name != "overrides"
        ]
        places = [p.name for p in (name, *options)]
        context = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
        parameters = [context, name, *own, *options]
        with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        with_options.__annotations__ = {p.name: p.annotation for p in parameters}
        del with_options.__wrapped__
        return with_options

    return declare
