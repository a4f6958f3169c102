"""`g2rpo show RUN`: rollouts as text, the guidance part set apart from what the model wrote itself."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from g2rpo.errors import ConfigError, RunError

if TYPE_CHECKING:
    from g2rpo.lab.report.rollout_text import RolloutText


def show(
    run: Annotated[Path, typer.Argument(help="Run directory.")],
    step: Annotated[int | None, typer.Option(help="Generation batch; the last one if not given.")] = None,
    limit: Annotated[int, typer.Option(help="Groups to show.")] = 2,
) -> None:
    """Print rollouts of a run, the guidance part marked."""
    import pyarrow.parquet as pq

    from g2rpo.lab.report.rollout_text import decoder, groups, headline, rollout_text
    from g2rpo.training.run.run_directory import RunDirectory

    if limit < 1:
        raise ConfigError("limit", limit, expected="a positive number", then="Leave it out for the default.")
    console, directory = Console(highlight=False), RunDirectory(run)
    files = directory.rollout_files()
    if not files:
        raise RunError(
            "run directory", str(run), expected="rollouts/*.parquet", then="Check the path, or set rollouts_every above 0."
        )
    wanted = directory.rollouts / f"generation_{step:06d}.parquet" if step is not None else files[-1]
    if wanted not in files:
        known = f"{int(files[0].stem[-6:])} to {int(files[-1].stem[-6:])}"
        raise RunError("step", step, expected=f"a recorded generation batch, {known}", then="Leave it out for the last one.")
    rows = pq.read_table(wanted).to_pylist()
    decode = decoder(directory)
    console.print(Text(f"{run}, generation batch {rows[0]['generation']}: {len(rows)} rollouts", style="bold"))
    for group in groups(rows, limit):
        console.rule(style="dim")
        console.print(Text(group[0]["prompt"], style="cyan"))
        if (answer := group[0].get("answer")) is not None:  # not in the files of earlier versions, nor for programs with tests
            console.print(Text(f"expected: {answer}", style="green"))
        for row in group:
            console.print(Text("  " + "  ".join(headline(row)), style="dim"))
            console.print(body(rollout_text(row, decode)))


def body(rollout: "RolloutText") -> Text:
    """Guidance in brackets and colour: visible without colours too."""
    text = Text("    ")
    if rollout.given:
        text.append(f"⟦{rollout.given}⟧", style="black on yellow")
    text.append(rollout.sampled)
    if rollout.graded is not None:
        text.append(f"\n    graded: {rollout.graded}", style="dim")
    return text
