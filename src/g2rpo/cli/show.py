"""`g2rpo show RUN`: rollouts as text, the guidance part set apart from what the model wrote itself."""

from pathlib import Path

import pyarrow.parquet as pq
from rich.console import Console
from rich.text import Text

from g2rpo.errors import ConfigError, RunError
from g2rpo.lab.report.token_text import decoder
from g2rpo.method.rollout import GUIDANCE
from g2rpo.training.run.run_directory import RunDirectory


def show_run(path: Path, generation: int | None, groups: int, console: Console | None = None) -> None:
    if groups < 1:
        raise ConfigError("limit", groups, expected="a positive number", then="Leave it out for the default.")
    console = console or Console(highlight=False)
    run = RunDirectory(path)
    files = sorted(run.rollouts.glob("generation_*.parquet"))
    if not files:
        raise RunError(
            "run directory",
            str(path),
            expected="rollouts/*.parquet",
            then="Check the path, or set rollouts_every above 0.",
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
    keys = list(dict.fromkeys(r["key"] for r in rows))[:groups]
    for key in keys:
        members = [r for r in rows if r["key"] == key]
        console.rule(style="dim")
        console.print(Text(members[0]["prompt"], style="cyan"))
        for row in members:
            console.print(headline(row))
            console.print(body(row, decode))


def headline(row: dict) -> Text:
    success = "not scored" if row["success"] is None else f"success {row['success']:g}"
    start = f"guided, {row['guidance_tokens']} tokens ({row['fraction']:.0%})" if row["guided"] else "unguided"
    return Text(f"  rollout {row['rollout_index']}  {start}  {success}  advantage {row['advantage']:+.2f}", style="dim")


def body(row: dict, decode) -> Text:
    """Guidance in brackets and colour: visible without colours too."""
    completion = [i for i, o in zip(row["token_ids"], row["token_origin"], strict=True) if o]
    given = [i for i, o in zip(row["token_ids"], row["token_origin"], strict=True) if o == GUIDANCE]
    if decode is None:
        return Text(row["completion"])
    text = Text("    ")
    if given:
        text.append("⟦" + decode(given) + "⟧", style="black on yellow")
    text.append(decode(completion[len(given) :]))
    return text
