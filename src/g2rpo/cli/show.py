"""`g2rpo show RUN`: rollouts as text, the guidance part set apart from what the model wrote itself."""

from pathlib import Path

import pyarrow.parquet as pq
from rich.console import Console
from rich.text import Text

from g2rpo.errors import ConfigError, RunError
from g2rpo.lab.report.rollout_text import RolloutText, decoder, groups, headline, rollout_text
from g2rpo.training.run.run_directory import RunDirectory


def show_run(path: Path, generation: int | None, limit: int, console: Console | None = None) -> None:
    if limit < 1:
        raise ConfigError("limit", limit, expected="a positive number", then="Leave it out for the default.")
    console = console or Console(highlight=False)
    run = RunDirectory(path)
    files = run.rollout_files()
    if not files:
        raise RunError(
            "run directory", str(path), expected="rollouts/*.parquet", then="Check the path, or set rollouts_every above 0."
        )
    wanted = run.rollouts / f"generation_{generation:06d}.parquet" if generation is not None else files[-1]
    if wanted not in files:
        known = f"{int(files[0].stem[-6:])} to {int(files[-1].stem[-6:])}"
        raise RunError(
            "step", generation, expected=f"a recorded generation batch, {known}", then="Leave it out for the last one."
        )
    rows = pq.read_table(wanted).to_pylist()
    decode = decoder(run)
    console.print(Text(f"{path}, generation batch {rows[0]['generation']}: {len(rows)} rollouts", style="bold"))
    for group in groups(rows, limit):
        console.rule(style="dim")
        console.print(Text(group[0]["prompt"], style="cyan"))
        for row in group:
            console.print(Text("  " + "  ".join(headline(row)), style="dim"))
            console.print(body(rollout_text(row, decode)))


def body(rollout: RolloutText) -> Text:
    """Guidance in brackets and colour: visible without colours too."""
    text = Text("    ")
    if rollout.given:
        text.append(f"⟦{rollout.given}⟧", style="black on yellow")
    text.append(rollout.sampled)
    if rollout.graded is not None:
        text.append(f"\n    graded: {rollout.graded}", style="dim")
    return text
