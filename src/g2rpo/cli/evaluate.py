"""`g2rpo eval` and `g2rpo compare-evals`: what they print."""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rlvr_graders.cli.files import check_file, check_folder, opened

from g2rpo.cli.quiet import quiet
from g2rpo.errors import ConfigError
from g2rpo.evaluation.engines import decoding
from g2rpo.evaluation.evaluate import EvalOptions, evaluate, grade_completions
from g2rpo.evaluation.suite import load_suite, names
from g2rpo.io import json_object

PLAIN_EVERY_S = 5.0


def run_eval(
    model: str | None,
    suites: str,
    out: Path | None,
    *,
    completions: Path | None,
    k: str,
    preset: str,
    temperature: float | None,
    top_p: float | None,
    top_k: int | None,
    template_kwargs: str | None,
    **options: Any,
) -> None:
    quiet()
    check_folder("--out", out)
    wanted = [name for name in suites.split(",") if name]
    settings = EvalOptions(
        ks=_numbers(k),
        template_kwargs={}
        if template_kwargs is None
        else json_object("chat-template-kwargs", template_kwargs, example='{"enable_thinking": false}'),
        # Completions from elsewhere are not drawn: the preset does not matter to them.
        decoding=decoding("paper" if completions else preset, temperature=temperature, top_p=top_p, top_k=top_k),
        **options,
    )
    if (model is None) == (completions is None):
        raise ConfigError("model", model, expected="a checkpoint, or --completions FILE", then="Name exactly one of them.")
    if completions is not None:
        if len(wanted) != 1:
            raise ConfigError("suite", suites, expected="one suite for --completions", then="Grade one file per suite.")
        place = out or Path("evaluations") / completions.stem
        results = {wanted[0]: grade_completions(wanted[0], completions, place, settings)}
    else:
        place = out or Path("evaluations") / _slug(model or "")
        results = evaluate(model or "", wanted, place, settings, _Progress())
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


def print_comparison(a: Path, b: Path, output: Path | None) -> None:
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
