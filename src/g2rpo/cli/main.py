"""The command line: parse, call, print. Each command imports what it needs itself, so that `--help` answers at once."""

from pathlib import Path
from typing import Annotated, Any

import typer
import typer.core
from rlvr_graders.cli.files import check_file, check_folder
from rlvr_graders.cli.main import SentenceErrors, grade

import g2rpo
from g2rpo.cli import data_files  # noqa: F401  (commands of `data`)
from g2rpo.cli.data import data
from g2rpo.cli.evaluate import compare_evals, evaluate
from g2rpo.cli.fields import TAKES_FIELDS, fields
from g2rpo.cli.quiet import quiet
from g2rpo.cli.show import show
from g2rpo.cli.simulate import simulate

app = SentenceErrors(
    name="g2rpo",
    help="Guided reinforcement learning with verifiable rewards for small language models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
RecipeFile = Annotated[Path, typer.Argument(help="YAML file of TRL's and our fields; see recipes/.")]


def _version(value: bool) -> None:
    if value:
        print(g2rpo.__version__)
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Guided reinforcement learning with verifiable rewards for small language models."""


class _ResumeWithoutValue(typer.core.TyperCommand):
    """`--resume` alone means `--resume always`: Typer knows no option that may go without its value."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        words = []
        for i, word in enumerate(args):
            alone = word == "--resume" and (
                i + 1 == len(args) or args[i + 1].startswith("-") or args[i + 1].endswith((".yaml", ".yml"))
            )
            words += ["--resume", "always"] if alone else [word]
        return super().parse_args(ctx, words)


Resuming = Annotated[
    str, typer.Option(help="Go on from the last checkpoint of output_dir. --resume auto begins where there is none yet.")
]


def _run_to_its_end(recipe: Any, run: Any, resume: str) -> Any:
    """What `train` and `sft` do with a resolved recipe: the trainer, or None where nothing is left to do."""
    from g2rpo.errors import ConfigError
    from g2rpo.training.engine.start import end
    from g2rpo.training.run.resuming import STOPPED_BY_SIGNAL, RunStopped, StopOnSigterm
    from g2rpo.training.run.train import complete

    if resume not in ("never", "always", "auto"):
        raise ConfigError("--resume", resume, expected="auto, or nothing behind it", then="Other flags follow as --field value.")
    folder, main = recipe.training.output_dir, recipe.training.process_index == 0
    if resume != "never" and (here := complete(recipe)):
        if main:
            print(f"Complete: {folder} has {here}. Nothing is left to do; to train on, raise max_steps or max_sampled_tokens.")
        return None
    try:
        trainer = run(recipe, resume="auto" if resume == "auto" else resume == "always", callbacks=[StopOnSigterm])
    except RunStopped as stop:
        end(stop.trainer)
        if main:
            print(f"Stopped by SIGTERM after step {stop.step}; checkpoint-{stop.step} in {folder} is whole. Go on with --resume.")
        raise typer.Exit(STOPPED_BY_SIGNAL) from None
    end(trainer)
    return trainer


@app.command(context_settings=TAKES_FIELDS, cls=_ResumeWithoutValue)
def train(context: typer.Context, recipe: RecipeFile, resume: Resuming = "never") -> None:
    """Train with guided GRPO.

    Any field of TRL, of the data or of the guidance can follow as --field value (see `fields`). Exit codes: 0 the run is complete
    (also with --resume of a complete one), 2 something is wrong, 75 SIGTERM stopped it at a checkpoint: go on with --resume.
    """
    from g2rpo.training.run.phase_times import in_words
    from g2rpo.training.run.recipe import read_yaml, resolve
    from g2rpo.training.run.train import train as run

    quiet()
    trainer = _run_to_its_end(resolve(read_yaml(recipe), context.args), run, resume)
    if trainer is not None and trainer.args.process_index == 0:
        print(f"Time: {in_words(trainer.phases.read())}")
        print(f"Run directory: {trainer.args.output_dir}   (look into it with: g2rpo show {trainer.args.output_dir})")


@app.command(context_settings=TAKES_FIELDS, cls=_ResumeWithoutValue)
def sft(context: typer.Context, recipe: RecipeFile, resume: Resuming = "never") -> None:
    """Train on the traces, by supervised fine-tuning.

    The opponent that guided RL has to beat. Fields and exit codes as for `train`.
    """
    from g2rpo.training.run.recipe import read_yaml
    from g2rpo.training.sft import resolve_sft, train_sft

    quiet()
    trainer = _run_to_its_end(resolve_sft(read_yaml(recipe), context.args), train_sft, resume)
    if trainer is not None and trainer.args.process_index == 0:
        print(f"Model: {trainer.args.output_dir}")


@app.command()
def demo(
    output: Annotated[
        Path | None, typer.Option(help="Where comparison.json, the page and the runs go; default runs/demo, runs/real-demo.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="Seeds per arm instead of 4, or 2 with --pretrained.")] = None,
    jobs: Annotated[int, typer.Option(help="Runs at a time; 0 is one per core.")] = 0,
    pretrained: Annotated[
        bool, typer.Option("--pretrained", help="SmolLM2-135M on word problems instead of the built-in model; plan an hour.")
    ] = False,
) -> None:
    """Watch a small model learn, in minutes, on a CPU.

    GRPO, guided GRPO and SFT at equal budgets.
    """
    from g2rpo.lab.demo import run_demo
    from g2rpo.lab.report.write import write_report

    output = output or Path("runs/real-demo" if pretrained else "runs/demo")
    check_folder("--output", output)
    run_demo(output, seeds=seeds, jobs=jobs, pretrained=pretrained)
    print(f"The page: {write_report(output)}")


@app.command()
def compare(
    experiment: Annotated[Path, typer.Argument(help="YAML file of arms, seeds, tasks and one budget; see recipes/experiments/.")],
    output: Annotated[Path | None, typer.Option(help="Where the runs and comparison.json go; runs/NAME if not given.")] = None,
    jobs: Annotated[int, typer.Option(help="Runs at a time; 0 is one per core.")] = 0,
    seeds: Annotated[int | None, typer.Option(help="Seeds instead of the file's.")] = None,
    other_code: Annotated[
        str, typer.Option(help="Finished runs of other code than the present: refuse, redo or keep.")
    ] = "refuse",
) -> None:
    """Run methods x seeds x tasks at one budget.

    The results come with intervals. What is done is not done again: start it again after a kill.
    """
    from g2rpo.errors import ConfigError, nearest
    from g2rpo.lab.compare.comparison import compare as run
    from g2rpo.lab.compare.experiment import read_experiment
    from g2rpo.lab.compare.pool import OTHER_CODE

    if other_code not in OTHER_CODE:
        raise ConfigError("--other-code", other_code, expected="refuse, redo or keep", then=nearest(other_code, OTHER_CODE))
    plan = read_experiment(experiment, seeds)
    folder = output or Path("runs") / plan.name
    check_folder("--output", folder)
    run(plan, folder, jobs=jobs, other_code=other_code)
    print(f"Written: {folder / 'comparison.json'}   (a page of it: g2rpo report {folder})")


@app.command()
def report(
    paths: Annotated[list[Path], typer.Argument(help="A run directory, or a comparison; several comparisons with --markdown.")],
    output: Annotated[Path | None, typer.Option(help="Where to write; beside what it reports on if not given.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the tables of comparisons as Markdown instead.")] = False,
) -> None:
    """Make a page of a run or of a comparison.

    One self-contained HTML file, and its figures as SVG and PNG.
    """
    from g2rpo.errors import ConfigError
    from g2rpo.lab.report.write import markdown_of, write_report

    if markdown:
        print(markdown_of(paths), end="")
        return
    if output is not None and len(paths) > 1:
        raise ConfigError(
            "--output",
            str(output),
            expected="one path to report on: pages of several would overwrite one another",
            then="Leave it out, or report on one after the other.",
        )
    check_folder("--output", output)
    for path in paths:
        print(f"Written: {write_report(path, output)}")


app.command()(fields)
app.command()(show)
app.command("eval")(evaluate)
app.command("compare-evals")(compare_evals)
app.command()(simulate)
app.add_typer(data, name="data")
app.add_typer(grade, name="grade")


@app.command(context_settings=TAKES_FIELDS)
def harvest(
    context: typer.Context,
    recipe: RecipeFile,
    out: Annotated[Path, typer.Option(help="The data set to write (JSONL), with its costs beside it.")],
    samples: Annotated[int, typer.Option(help="Per problem, at most.")] = 16,
    reveal: Annotated[float, typer.Option(help="Continue from this share of each trace; 0: from the problem alone.")] = 0.0,
    tokens: Annotated[int | None, typer.Option(help="Stop after so many sampled tokens.")] = None,
) -> None:
    """Make a data set of a model's own right solutions.

    Sampled with the recipe's model, template and rewards; --few_shot 2 shows worked examples. Train on it with the same recipe
    and --dataset_path, say with the preset prefix-rl.
    """
    from g2rpo.training.harvest import run_harvest
    from g2rpo.training.run.recipe import read_yaml, resolve

    quiet()
    check_file("--out", out)
    result = run_harvest(resolve(read_yaml(recipe), context.args), out, samples=samples, reveal=reveal, token_budget=tokens)
    print(
        f"{len(result.problems)} of {result.tried} problems solved; {result.right} of {result.samples} samples right, "
        f"{result.other_form} of them in another form; {result.tokens:,} tokens sampled: {out}"
    )


@app.command(context_settings=TAKES_FIELDS)
def doctor(
    context: typer.Context,
    recipe: Annotated[Path | None, typer.Argument(help="Look at this recipe instead of the machine; fields can follow.")] = None,
    problems: Annotated[int, typer.Option(min=1, help="Problems of the recipe to try.")] = 8,
    samples: Annotated[
        int | None, typer.Option(min=1, help="Per problem and share of the trace; default: the group size.")
    ] = None,
) -> None:
    """Show what this machine offers, or what a recipe would do.

    Of the machine: devices, libraries, sandbox levels. Of a recipe: pass rates by share of the trace, failures of form and of
    substance, mistakes of the set-up, and one recommendation. Exit code 1: something has to be mended.
    """
    from g2rpo.cli.doctor import run_doctor, run_recipe_doctor

    if recipe is None:
        raise typer.Exit(run_doctor())
    from g2rpo.training.run.recipe import read_yaml, resolve

    quiet()
    raise typer.Exit(run_recipe_doctor(resolve(read_yaml(recipe), context.args), problems, samples))


if __name__ == "__main__":
    app()
