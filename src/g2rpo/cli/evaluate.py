"""`g2rpo eval` and `g2rpo compare-evals`: what they print."""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rlvr_graders.cli.files import check_file, check_folder, opened

from g2rpo.cli.quiet import quiet
from g2rpo.errors import ConfigError
from g2rpo.io import json_object

PLAIN_EVERY_S = 5.0


def evaluate(
    model: Annotated[str | None, typer.Argument(help="Model folder, TRL checkpoint, PEFT adapter, hub name or builtin.")] = None,
    suite: Annotated[str, typer.Option(help="Suites, commas between them: gsm8k,chains:9, or YAML files of yours.")] = "",
    data: Annotated[
        Path | None, typer.Option(help="Folder with local copies of the data sets; without it, from the hub.")
    ] = None,
    k: Annotated[str, typer.Option(help="For pass@k and majority@k: 1,4,8.")] = "1",
    samples: Annotated[int | None, typer.Option(help="Samples per problem; default: the largest k.")] = None,
    limit: Annotated[int | None, typer.Option(help="Only the first so many problems.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where samples and results go; default evaluations/NAME.")] = None,
    preset: Annotated[str, typer.Option(help="Decoding: greedy, or paper (0.6, top-p 0.95, top-k 20).")] = "greedy",
    temperature: Annotated[float | None, typer.Option(help="Instead of the preset's.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Instead of the preset's.")] = None,
    top_k: Annotated[int | None, typer.Option(help="Instead of the preset's.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="New tokens per completion, instead of the suite's.")] = None,
    seed: Annotated[int, typer.Option(help="Of the samples.")] = 0,
    completions: Annotated[
        Path | None, typer.Option(help="Grade these instead of a model: lines {key or index, completion}.")
    ] = None,
    system: Annotated[str | None, typer.Option(help="System message instead of the suite's.")] = None,
    instruction: Annotated[
        str | None, typer.Option(help="Line after the problem instead of the suite's; empty for none.")
    ] = None,
    template: Annotated[str, typer.Option(help="auto, chat (the model's template) or plain (the suite's text).")] = "auto",
    chat_template_kwargs: Annotated[str | None, typer.Option(help="For the chat template, as JSON.")] = None,
    tokenizer: Annotated[str | None, typer.Option(help="Where the tokenizer is, if not with the model.")] = None,
    dtype: Annotated[str, typer.Option(help="auto, stored, float32, bfloat16 or float16.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    revision: Annotated[str | None, typer.Option(help="Of a model on the hub.")] = None,
    engine: Annotated[str, typer.Option(help="auto (vllm where it is installed), transformers or vllm.")] = "auto",
    batch_size: Annotated[int | None, typer.Option(help="Samples per batch; default: what fits.")] = None,
    list_suites: Annotated[bool, typer.Option("--list", help="Show the suites.")] = False,
) -> None:
    """Measure a checkpoint on held-out problems.

    Never guided, with an interval on every number; resumes where it was stopped.
    """
    from g2rpo.evaluation.engines import decoding
    from g2rpo.evaluation.evaluate import EvalOptions, grade_completions
    from g2rpo.evaluation.evaluate import evaluate as run

    if list_suites:
        print_suites()
        return
    quiet()
    check_folder("--out", out)
    wanted = [name for name in suite.split(",") if name]
    template_kwargs = json_object("chat-template-kwargs", chat_template_kwargs or "{}", example='{"enable_thinking": false}')
    options = EvalOptions(
        data=data,
        limit=limit,
        ks=_numbers(k),
        samples=samples,
        # Completions from elsewhere are not drawn: the preset does not matter to them.
        decoding=decoding("paper" if completions else preset, temperature=temperature, top_p=top_p, top_k=top_k),
        seed=seed,
        max_tokens=max_tokens,
        system=system,
        instruction=instruction,
        template=template,
        template_kwargs=template_kwargs,
        tokenizer=tokenizer,
        dtype=dtype,
        device=device,
        revision=revision,
        engine=engine,
        batch_size=batch_size,
    )
    if (model is None) == (completions is None):
        raise ConfigError("model", model, expected="a checkpoint, or --completions FILE", then="Name exactly one of them.")
    if completions is not None:
        if len(wanted) != 1:
            raise ConfigError("suite", suite, expected="one suite for --completions", then="Grade one file per suite.")
        place = out or Path("evaluations") / completions.stem
        results = {wanted[0]: grade_completions(wanted[0], completions, place, options)}
    else:
        place = out or Path("evaluations") / _slug(model or "")
        results = run(model or "", wanted, place, options, _Progress())
    print_results(results, place)


def print_results(results: dict[str, dict[str, Any]], place: Path, console: Console | None = None) -> None:
    console = console or Console(highlight=False)
    table = Table(title=None)
    for column in ("suite", "problems", "metric", "value", "95 % interval"):
        table.add_column(column, justify="left" if column in ("suite", "metric") else "right")
    for name, result in results.items():
        for number, (metric, estimate) in enumerate(result["metrics"].items()):
            if metric == "pass@1":
                continue  # the mean, by another name
            low, high = estimate["ci95"]
            first = (name, str(result["problems"])) if number == 0 else ("", "")
            table.add_row(*first, metric, f"{estimate['value']:.1%}", f"{low:.1%} – {high:.1%}")
    console.print(table)
    for name, result in results.items():
        for note in _notes(result):
            console.print(f"{name}: {note}")
        if result["by_difficulty"]:
            parts = "  ".join(f"{p['range']}: {p['accuracy']:.0%} of {p['count']}" for p in result["by_difficulty"])
            console.print(f"{name}, by difficulty: {parts}")
    console.print(f"Samples and numbers: {place}")


def _notes(result: dict[str, Any]) -> list[str]:
    notes = []
    if result.get("template") == "plain":
        notes.append("put as plain text, since the model has no chat template (or --template plain)")
    if result["truncated"]:
        notes.append(f"{result['truncated']:.1%} of the completions were cut at their budget of tokens")
    if result["unscored"]:
        notes.append(f"{result['unscored']} samples could not be scored (the verifier failed) and count as wrong")
    return notes


def compare_evals(
    a: Annotated[Path, typer.Argument(help="An evaluation (its --out), or one suite's folder in it.")],
    b: Annotated[Path, typer.Argument(help="Another one of the same problems.")],
    output: Annotated[Path | None, typer.Option(help="Also write the numbers there, as JSON.")] = None,
) -> None:
    """Compare two evaluations, problem by problem.

    The difference with its interval, McNemar's exact test, and the settings that differ.
    """
    from g2rpo.evaluation.compare_evaluations import compare_evaluations

    check_file("--output", output)
    compared = compare_evaluations(a, b)
    table = Table()
    for column in ("suite", "n", "A", "B", "B − A", "95 % interval", "only A, B", "McNemar p"):
        table.add_column(column, justify="left" if column == "suite" else "right", no_wrap=column in ("suite", "95 % interval"))
    for name, row in compared.items():
        low, high = row["ci95"]
        table.add_row(
            name,
            str(row["problems"]),
            f"{row['a']:.1%}",
            f"{row['b']:.1%}",
            f"{100 * row['difference']:+.1f}",
            f"{100 * low:+.1f} to {100 * high:+.1f}",
            f"{row['only_a']}, {row['only_b']}",
            f"{row['mcnemar_p']:.2g}",
        )
    console = Console(highlight=False)
    console.print(f"A: {a}\nB: {b}")
    console.print(table)
    for name, row in compared.items():
        if row["settings_that_differ"]:
            console.print(f"{name}: not the same settings: {', '.join(row['settings_that_differ'])}")
    if output is not None:
        with opened(output) as file:
            file.write(json.dumps(compared, indent=2) + "\n")


def print_suites() -> None:
    from g2rpo.evaluation.suite import load_suite, names

    table = Table(title="suites (or the path of a YAML file of your own)", title_justify="left")
    for column in ("suite", "grader", "tokens", "what it is"):
        table.add_column(column)
    for name in names():
        suite = load_suite(name)
        table.add_row(name, suite.grader, str(suite.max_tokens), suite.about)
    Console(highlight=False).print(table)


class _Progress:
    """A line that renews itself in a terminal, a line now and then elsewhere; on standard error."""

    def __init__(self) -> None:
        self.last = 0.0

    def __call__(self, suite: str, done: int, total: int, right: int) -> None:
        text = f"{suite}: {done}/{total} samples, {right / max(done, 1):.1%} right"
        if sys.stderr.isatty():
            print(f"\r{text}  ", end="\n" if done == total else "", file=sys.stderr, flush=True)
        elif time.monotonic() - self.last >= PLAIN_EVERY_S or done == total:
            self.last = time.monotonic()
            print(text, file=sys.stderr, flush=True)


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError:
        raise ConfigError("k", text, expected="numbers with commas between them", then="Write --k 1,4,8.") from None


def _slug(model: str) -> str:
    """A folder's name for a model's: the last two parts of a path tell checkpoints of different runs apart."""
    parts: Sequence[str] = [part for part in Path(model).parts if part not in ("/", ".", "..")]
    return "--".join(parts[-2:]) or "model"
