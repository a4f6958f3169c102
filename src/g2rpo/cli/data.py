"""Look at data, check it, write what training reads.

SET is a known name (`gsm8k`), a recipe (`recipes/mine.yaml`: its data, as it would be trained on; fields can follow as --field
value), a local file or folder, or a name on the hub."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rlvr_graders.cli.files import check_file, opened

from g2rpo.cli.data_set import DataSet, on_data_set
from g2rpo.cli.fields import TAKES_FIELDS

if TYPE_CHECKING:
    from g2rpo.data.problem import Problem

data = typer.Typer(help=__doc__, no_args_is_help=True, rich_markup_mode=None)

Out = Annotated[Path | None, typer.Option(help="File to write (JSONL).")]
Style = Annotated[
    str | None,
    typer.Option(help="Completion style around a trace: think_answer (default), think_boxed, boxed, gsm8k; else the recipe's."),
]
Guard = Annotated[str | None, typer.Option(help="Leak guard: strict, conclusion or off. Default: the recipe's, or strict.")]


@data.command(name="list")
def known_sets() -> None:
    """List the known sets, and where they are on the hub."""
    from g2rpo.data.catalog import CATALOG

    for name, entry in CATALOG.items():
        hub = f"{entry.hub} ({entry.config})" if entry.config else entry.hub
        print(f"{name:18} {hub:46} {', '.join(entry.splits)}")


@data.command(context_settings=TAKES_FIELDS)
@on_data_set(limit=2)
def show(asked: DataSet, guard: Guard = None) -> None:
    """Print problems: prompt, answer, steps of the trace.

    With the place where the leak guard stops.
    """
    from g2rpo.data.steps import step_ends
    from g2rpo.method.leak_guard import leak_start

    guard = _guard(asked, guard)
    for problem in asked.problems():
        told = f"difficulty {problem.difficulty:g}, " if problem.difficulty is not None else ""
        print(
            f"=== {problem.key}   ({told}{problem.source or 'no source'}, {len(problem.traces) or int(bool(problem.trace))} "
            "traces)"
        )
        messages = [{"role": "prompt", "content": problem.prompt}] if isinstance(problem.prompt, str) else problem.prompt
        for message in messages:
            print(f"[{message['role']}] {message['content']}")
        if problem.tests is not None:
            print(f"[tests] {json.dumps(problem.tests)[:400]}")
        if problem.answer is not None:
            print(f"[answer] {problem.answer}")
        if problem.trace:
            stop, start = leak_start(problem.trace, problem.answer, guard), 0
            for number, end in enumerate(step_ends(problem.trace), start=1):
                part = problem.trace[start:end].rstrip("\n")
                if start <= stop < end and stop < len(problem.trace):
                    part = f"{problem.trace[start:stop]}⟨guard⟩{problem.trace[stop:end]}".rstrip("\n")
                print(f"[step {number}] {part}")
                start = end
        print()


@data.command(context_settings=TAKES_FIELDS)
@on_data_set()
def check(
    asked: DataSet,
    guard: Guard = None,
    out: Out = None,
    level: Annotated[str, typer.Option(help="Sandbox level for reference programs.")] = "auto",
    shown: Annotated[int, typer.Option(min=0, help="Faults to print.")] = 20,
    model: Annotated[
        str | None, typer.Option(help="Its tokens count, to find traces that are too long. Default: the recipe's.")
    ] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Tokens that a completion may have. Default: the recipe's.")] = None,
) -> None:
    """Run golds, references and traces through the graders.

    And through the leak guard; lists what fails. Exit code 1 if anything does. A recipe is checked as it would be trained on:
    with its columns, style, guard and limits.
    """
    from rlvr_graders.sandbox import open_sandbox

    from g2rpo.curation.check import check as run_check
    from g2rpo.curation.check import doubtful_traces, shared
    from g2rpo.data.disappointments import disappointments

    found, sets, box = [], {}, None
    tokens, budget = _completion_tokens(asked, model, max_tokens)
    styles = [recipe.data.guidance_style] if (recipe := asked.recipe) else None
    check_file("--out", out, reads=asked.reads())
    try:
        for one in asked.splits():
            problems = sets[one] = asked.problems(split=one)
            if box is None and any(p.tests is not None for p in problems):
                box = open_sandbox(level)
            result = run_check(problems, guard=_guard(asked, guard), sandbox=box, styles=styles)
            print(
                f"{one or 'problems'}: {result.problems} problems, {result.references} reference solutions graded, "
                f"{result.traces} traces" + (f" in {result.steps} steps" if result.traces else "")
            )
            if result.concluding or result.hidden:
                print(
                    f"  {result.concluding} of the traces contain their answer; guidance stops before it. In {result.hidden} "
                    "it comes so early that guidance has nothing to show."
                )
            found += [(one, fault) for fault in result.faults]
            for disappointing in (*doubtful_traces(problems), *disappointments(problems, tokens=tokens, budget=budget)):
                print(f"  {disappointing}")
    finally:
        if box is not None:
            box.close()
    if {"train", "test"} <= sets.keys():
        found += [("train", fault) for fault in shared(sets["train"], sets["test"])]
    _list_faults(found, out, shown)
    raise typer.Exit(1 if found else 0)


def _guard(asked: DataSet, guard: str | None) -> str:
    """The leak guard that was asked for, else the recipe's."""
    return guard or (asked.recipe.training.guidance_leak_guard if asked.recipe else "strict")


def _completion_tokens(
    asked: DataSet, model: str | None, budget: int | None
) -> "tuple[Callable[[Problem], int] | None, int | None]":
    """How long a problem's completion is, and may be: by the options, else by the recipe; None where neither says."""
    from g2rpo.data.completion import full_completion, style
    from g2rpo.evaluation.checkpoint import load_tokenizer

    recipe = asked.recipe
    if recipe is not None:
        model, budget = (
            model or recipe.model.model_name_or_path,
            budget or getattr(recipe.training, "max_completion_length", None),
        )
    if budget is None:
        return None, None
    tokenizer = load_tokenizer(model or "builtin")
    written = style(recipe.data.guidance_style if recipe else "think_answer")

    def tokens(problem: "Problem") -> int:
        return (
            len(tokenizer(full_completion(problem, written), add_special_tokens=False)["input_ids"])
            if problem.answer is not None
            else 0
        )

    return tokens, budget


def _list_faults(found: "Sequence[tuple[str | None, Any]]", out: Path | None, shown: int) -> None:
    from g2rpo.curation.check import KINDS

    print("faults: " + "  ".join(f"{kind} {sum(fault.kind == kind for _, fault in found)}" for kind in KINDS))
    for one, fault in found[:shown]:
        print(f"  {f'{one} ' if one else ''}{fault.kind}: {' '.join(fault.key.split())[:60]}: {fault.why}")
    if len(found) > shown:
        print(f"  and {len(found) - shown} more; all of them with --out FILE")
    if out is not None:
        write_lines(out, [{"split": one, "key": fault.key, "kind": fault.kind, "why": fault.why} for one, fault in found])


@data.command(context_settings=TAKES_FIELDS)
@on_data_set()
def stats(
    asked: DataSet,
    model: Annotated[
        str | None, typer.Option(help="Folder or hub name of a model, or builtin. Default: the recipe's, or builtin.")
    ] = None,
    style: Style = None,
    guard: Guard = None,
) -> None:
    """Show the lengths of prompts, traces and steps.

    In a model's tokens; and what the leak guard lets guidance reveal.
    """
    from collections import Counter

    from g2rpo.curation.lengths import QUANTILES, lengths
    from g2rpo.evaluation.checkpoint import load_tokenizer

    problems, recipe = asked.problems(), asked.recipe
    model = model or (str(recipe.model.model_name_or_path) if recipe else "builtin")
    style = style or (recipe.data.guidance_style if recipe else "think_answer")
    tokenizer = load_tokenizer(model)
    print(f"{len(problems)} problems, {sum(bool(p.trace) for p in problems)} with a trace; tokens of {model}")
    for what, count in (("source", Counter(p.source for p in problems)), ("difficulty", Counter(p.difficulty for p in problems))):
        if len(count) > 1:
            shown = sorted(count.items(), key=lambda item: (item[0] is None, item[0]))
            print(f"{what}: " + ", ".join(f"{value}: {n}" for value, n in shown[:12]) + (", …" if len(shown) > 12 else ""))
    print(f"{'':16}" + "".join(f"{head:>10}" for head in ("mean", *QUANTILES)))
    for measure in lengths(problems, tokenizer, style_name=style, guard=_guard(asked, guard)):
        print(
            f"{measure.what:16}"
            + "".join(f"{value:10.2f}" if value % 1 else f"{value:10.0f}" for value in measure.summary.values())
        )


def write_lines(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    with opened(path) as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
