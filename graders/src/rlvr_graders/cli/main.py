"""The command line of the graders: parse, call, print. Each command imports what it needs itself, so that `--help` answers at
once."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from rlvr_graders.errors import UserError


class SentenceErrors(typer.Typer):
    """Errors that a person can correct are printed as the sentence they are, without a traceback; exit code 2."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().__call__(*args, **kwargs)
        except UserError as error:
            rank = os.environ.get("RANK", "0")  # of several processes, the first one says it all
            print(f"error: {error}" if rank == "0" else f"error on rank {rank}: {error.what}", file=sys.stderr)
            raise SystemExit(2) from None


HELP = "Grade answers and programs from a file, as training does."
app = SentenceErrors(
    name="rlvr-graders",
    help=HELP,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
grade = typer.Typer(help=HELP, no_args_is_help=True)
"""The grading commands alone, for a command line that has others besides."""
JobsIn = Annotated[Path, typer.Option(help="One JSON object per line; - for standard input.")]
VerdictsOut = Annotated[Path, typer.Option(help="Verdicts, one JSON object per line; - for standard output.")]


@app.command()
@grade.command()
def math(
    input: JobsIn,
    output: VerdictsOut = Path("-"),
    deadline_s: Annotated[float, typer.Option(help="Longest time for one verdict, seconds.")] = 5.0,
) -> None:
    """Compare answers with their gold answers.

    Lines {"id", "gold", "completion"} in, {"id", "verdict", "score", "reason"} out.
    """
    from rlvr_graders.cli.grade_math import grade_math_file

    _counts(grade_math_file(input, output, deadline_s=deadline_s))


@app.command()
@grade.command()
def code(
    input: JobsIn,
    output: VerdictsOut = Path("-"),
    level: Annotated[str, typer.Option(help="Sandbox level: auto, landlock or bwrap+.")] = "auto",
    timeout_s: Annotated[float, typer.Option(help="Longest time for one program, seconds.")] = 5.0,
    allow_unsafe: Annotated[bool, typer.Option("--allow-unsafe", help="Run where only resource limits protect. Don't.")] = False,
) -> None:
    """Run programs against their tests.

    Lines {"id", "code", "tests"} in, {"id", "verdict", "score", "reason", "wall_s"} out.
    """
    from rlvr_graders.cli.grade_code import grade_code

    _counts(grade_code(input, output, level=level, timeout_s=timeout_s, allow_unsafe=allow_unsafe))


@app.command("self-test")
def self_test() -> None:
    """Start and test each sandbox level of this machine."""
    from rich.console import Console

    from rlvr_graders.cli.self_test import sandbox_table

    Console().print(sandbox_table())


def _counts(counts: dict[str, int]) -> None:
    print("  ".join(f"{verdict} {n}" for verdict, n in sorted(counts.items())), file=sys.stderr)


if __name__ == "__main__":
    app()
