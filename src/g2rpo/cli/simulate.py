"""`g2rpo simulate`: one controller in one scenario, printed, and written as JSON and a figure."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rlvr_graders.cli.files import check_file

from g2rpo.errors import ConfigError
from g2rpo.io import json_object

if TYPE_CHECKING:
    from g2rpo.lab.simulate.simulation import Simulation

FIGURES = (".svg", ".png")


def simulate(
    controller: Annotated[str, typer.Argument(help="Rule for the guidance: a built-in name or an installed entry point.")],
    scenario: Annotated[
        str, typer.Option(help="Situation, see research/results/simulated-controllers.md; all runs each of them.")
    ] = "chain",
    kwargs: Annotated[str, typer.Option(help='Hyperparameters of the rule as JSON, {"initial_length": 1536} say.')] = "{}",
    steps: Annotated[int, typer.Option(help="Generation batches, of 4 problems x 8 rollouts.")] = 1000,
    seeds: Annotated[int, typer.Option(help="Repetitions.")] = 3,
    ratio: Annotated[float, typer.Option(help="Share of a group that may be guided.")] = 0.5,
    output: Annotated[Path | None, typer.Option(help="Write a figure (.svg, .png) or all numbers (.json).")] = None,
) -> None:
    """Run a guidance rule on a simulated learner.

    Shows in seconds what it does to zero reward, noise, jumps and curricula.
    """
    from g2rpo.lab.simulate.simulation import SCENARIOS, Simulation
    from g2rpo.lab.simulate.simulation import scenario as scenario_of
    from g2rpo.lab.simulate.simulation import simulate as run
    from g2rpo.method.controllers import get_controller

    if output is not None and output.suffix not in (*FIGURES, ".json"):
        raise ConfigError(
            "output",
            str(output),
            expected="a name that ends in .svg, .png or .json",
            then="Name the file by what it should hold.",
        )
    check_file("--output", output)
    if output is not None and output.suffix in FIGURES and scenario == "all":
        raise ConfigError("scenario", "all", expected="one scenario per figure", then="Name one scenario, or write .json.")
    if steps < 1 or seeds < 1:
        raise ConfigError("steps, seeds", (steps, seeds), expected="at least 1 of each", then="Leave them out for 1000 and 3.")
    rule = get_controller(controller, **json_object("kwargs", kwargs or "{}", example='{"initial_length": 1536}'))
    console = Console(highlight=False, width=120)
    names = list(SCENARIOS) if scenario == "all" else [scenario]
    everything: list[Simulation] = []
    table = Table(title=f"{controller}, {steps} steps", title_justify="left")
    for column in ("scenario", "unguided success", "worst seed", "ℓ at the end", "α at the end", "signal", "solutions sampled"):
        table.add_column(column, justify="left" if column == "scenario" else "right")
    for name in names:
        results = [run(rule, scenario_of(name), steps=steps, seed=seed, ratio=ratio) for seed in range(seeds)]
        everything += results
        late = -max(1, steps // 5)
        table.add_row(
            name,
            f"{_mean([r.final for r in results]):.1%}",
            f"{min(r.final for r in results):.1%}",
            f"{_mean([v for r in results for v in r.length[late:]]):.2f}",
            f"{_mean([v for r in results for v in r.guided_share[late:]]):.2f}",
            f"{_mean([v for r in results for v in r.signal]):.3f}",
            f"{_mean([r.tokens[-1] for r in results]):,.0f}",
        )
    console.print(table)
    for name in names if len(names) > 1 else ():
        console.print(f"  {name:<12} {SCENARIOS[name].about}")
    if output is not None:
        write(everything, output)
        console.print(f"Written: {output}")


def write(results: "list[Simulation]", output: Path) -> None:
    if output.suffix in FIGURES:
        from g2rpo.lab.simulate.plot import figure

        content = figure(results, output.suffix[1:])
    else:
        content = json.dumps([r.to_json() for r in results]).encode()
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_bytes(content)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
