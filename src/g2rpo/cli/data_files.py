"""`g2rpo data` commands that write files: without contaminated problems, with chosen traces, with pass rates."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rlvr_graders.cli.files import check_file

from g2rpo.cli.data import Out, data, write_lines
from g2rpo.cli.data_set import DataSet, on_data_set
from g2rpo.cli.fields import TAKES_FIELDS
from g2rpo.cli.quiet import quiet
from g2rpo.errors import DataError, one_of

if TYPE_CHECKING:
    from g2rpo.data.problem import Problem


@data.command()
@on_data_set(split="train")
def decontaminate(
    asked: DataSet,
    test: Annotated[list[str], typer.Argument(metavar="TEST...", help="Sets to keep out of it; NAME or NAME:SPLIT.")],
    ngram: Annotated[int, typer.Option(help="Words in a row that count as an overlap.")] = 13,
    out: Out = None,
    shown: Annotated[int, typer.Option(min=0, help="Overlaps to print.")] = 10,
) -> None:
    """Find training problems that overlap with test sets.

    A run of words in common is an overlap; --out writes the problems without. Exit code 1 if there are any and no --out.
    """
    from g2rpo.data.decontaminate import overlaps, without

    held_out = []
    for text in test:
        name, _, its_split = text.partition(":") if not Path(text).exists() else (text, "", "")
        held_out.append(DataSet(name, its_split or None, asked.folder))
    check_file("--out", out, reads=[file for one in (asked, *held_out) for file in one.reads()])
    problems, found = asked.problems(duplicates="drop"), []
    for one in held_out:
        found += overlaps(problems, one.problems(), ngram)
    kept = without(problems, found)
    print(f"{len(problems) - len(kept)} of {len(problems)} problems share {ngram} words in a row with a test problem")
    for overlap in found[:shown]:
        print(f"  {' '.join(overlap.train_key.split())[:60]} | {' '.join(overlap.test_key.split())[:60]}\n    {overlap.words}")
    if out is not None:
        write_problems(out, kept)
        print(f"{len(kept)} problems: {out}")
    raise typer.Exit(1 if found and out is None else 0)


@data.command(context_settings=TAKES_FIELDS)
@on_data_set()
def traces(
    asked: DataSet,
    out: Annotated[Path, typer.Option(help="File to write (JSONL): what training reads as dataset_path.")],
    pick: Annotated[str, typer.Option(help="Of several right ones: shortest or first.")] = "shortest",
    verify: Annotated[bool, typer.Option(help="Drop traces that state another answer than the gold one.")] = True,
) -> None:
    """Choose a trace per problem, and drop wrong ones.

    Writes the problems as training reads them.
    """
    import dataclasses

    from g2rpo.curation.check import other_answer
    from g2rpo.data.trace_choice import PICKS, pick_traces, traces_of

    quiet()
    one_of("--pick", pick, PICKS)
    wrong = 0
    check_file("--out", out, reads=asked.reads())
    problems = asked.problems(duplicates="drop")
    if verify:
        checked = []
        for problem in problems:
            right = tuple(trace for trace in traces_of(problem) if other_answer(problem, trace) is None)
            wrong += len(traces_of(problem)) - len(right)
            trace = problem.trace if problem.trace in right else min(right, key=len, default=None)
            checked.append(dataclasses.replace(problem, trace=trace, traces=right))
        problems = checked
    problems = pick_traces(problems, pick)
    write_problems(out, problems)
    print(f"{len(problems)} problems, {sum(bool(p.trace) for p in problems)} with a trace, {wrong} wrong traces dropped: {out}")


@data.command(context_settings=TAKES_FIELDS)
@on_data_set()
def difficulty(
    asked: DataSet,
    out: Annotated[Path, typer.Option(help="File of pass rates (JSONL); goes on where it stopped.")],
    model: Annotated[str | None, typer.Option(help="Folder or hub name, or builtin. Default: the recipe's, or builtin.")] = None,
    k: Annotated[int, typer.Option(help="Samples per problem.")] = 8,
    max_tokens: Annotated[int | None, typer.Option(help="New tokens per sample. Default: the recipe's, or 1024.")] = None,
    temperature: Annotated[float | None, typer.Option(help="Default: the recipe's, or 1.")] = None,
    seed: Annotated[int, typer.Option(help="Of the samples.")] = 0,
    rows: Annotated[int | None, typer.Option(help="Samples drawn together. Default: the engine's choice.")] = None,
    engine: Annotated[str, typer.Option(help="auto, transformers or vllm.")] = "auto",
    reward: Annotated[
        str | None, typer.Option(help="Default: the recipe's first that is no format reward; code for tests, accuracy else.")
    ] = None,
) -> None:
    """Measure how often a model solves each problem.

    For a curriculum by pass rate. Resumable: problems that are done are not sampled again.
    """
    from rlvr_graders.registry import get_reward

    from g2rpo.curation.difficulty import measure
    from g2rpo.evaluation.checkpoint import load_checkpoint
    from g2rpo.evaluation.engines import Decoding

    quiet()
    check_file("--out", out, reads=asked.reads())
    recipe = asked.recipe
    problems = asked.problems(duplicates="drop")
    if recipe is not None:
        model = model or recipe.model.model_name_or_path
        max_tokens = max_tokens or recipe.training.max_completion_length
        temperature = recipe.training.temperature if temperature is None else temperature
        reward = reward or next((r for r in recipe.data.rewards if r in ("accuracy", "code", "exact") or ":" in r), None)
    reward = reward or ("code" if problems and problems[0].tests is not None else "accuracy")
    decoding = Decoding(temperature=1.0 if temperature is None else temperature)
    kwargs = getattr(recipe.training, "chat_template_kwargs", None) if recipe else None
    student = load_checkpoint(model or "builtin")
    grader = get_reward(reward, **({"scoring": "all"} if reward == "code" else {}))
    try:
        rates = measure(
            student,
            problems,
            grader,
            out,
            k=k,
            max_tokens=max_tokens or 1024,
            decoding=decoding,
            seed=seed,
            rows=rows,
            engine=engine,
            template_kwargs=kwargs,
            progress=_progress,
        )
    finally:
        if close := getattr(grader, "close", None):
            close()
    values = [rates[p.key] for p in problems if p.key in rates]
    never, always = sum(v == 0 for v in values), sum(v == 1 for v in values)
    print(
        f"{len(values)} problems, {sum(values) / max(1, len(values)):.1%} of samples right; never {never}, always {always}: {out}"
    )


def write_problems(path: Path, problems: "Sequence[Problem]") -> None:
    """Problems as rows that `dataset_path` reads without any mapping.

    Raises:
        DataError: problems of GPQA among them, whose authors ask not to copy them.
    """
    if any(p.key.startswith("gpqa:") for p in problems):
        raise DataError(
            "GPQA", expected="no copy of its questions: its authors ask not to make any", then="Load it from its own place."
        )
    rows = [
        {
            "key": p.key,
            "prompt": p.prompt,
            "answer": p.answer,
            "trace": p.trace,
            "difficulty": p.difficulty,
            "source": p.source,
            "tests": p.tests,
        }
        for p in problems
    ]
    write_lines(path, rows)


def _progress(done: int, of: int) -> None:
    print(f"\r{done}/{of}", end="\n" if done == of else "", file=sys.stderr, flush=True)
