"""Look at data, check it, write what training reads.

SET is a known name (`gsm8k`), a recipe (`recipes/mine.yaml`: its data, as it would be trained on), a local file or folder, or a
name on the hub.
"""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rlvr_graders.cli.files import check_file, opened

from g2rpo.cli.quiet import quiet
from g2rpo.data.write import write_problems
from g2rpo.errors import ConfigError

if TYPE_CHECKING:
    from g2rpo.data.problem import Problem
    from g2rpo.training.run.recipe import Recipe

data = typer.Typer(help=__doc__, no_args_is_help=True, rich_markup_mode=None)

Set = Annotated[str, typer.Argument(metavar="SET", help="Known name, recipe, local file or folder, or hub name.")]
Split = Annotated[str | None, typer.Option(help="Split; of a known set also `all`. Default: test where there is one.")]
Folder = Annotated[Path | None, typer.Option("--data", help="Folder with local copies of known sets: DIR/gsm8k/test.jsonl.")]
Config = Annotated[str | None, typer.Option(help="Configuration on the hub.")]
Source = Annotated[str | None, typer.Option(help="How rows are read, by name (docs/data.md).")]
Columns = Annotated[str | None, typer.Option(help="Roles of columns: prompt=question,answer=final,trace=solution.")]
Limit = Annotated[int | None, typer.Option(help="Only the first so many problems.")]
Model = Annotated[str, typer.Option(help="Folder or hub name of a model, or builtin.")]
Out = Annotated[Path | None, typer.Option(help="File to write (JSONL).")]
Style = Annotated[str, typer.Option(help="Completion style around a trace: think_answer, think_boxed, boxed, gsm8k.")]
Guard = Annotated[str, typer.Option(help="Leak guard: strict, conclusion or off.")]


@dataclass(frozen=True)
class Asked:
    """A SET and the options that say which problems of it."""

    name: str
    split: str | None = None
    folder: Path | None = None
    config: str | None = None
    source: str | None = None
    columns: str | None = None
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise ConfigError("limit", self.limit, expected="a positive number", then="Leave it out for the default.")

    @property
    def recipe(self) -> "Recipe | None":
        if not self.name.endswith((".yaml", ".yml")):
            return None
        from g2rpo.training.run.recipe import read_yaml, resolve

        return resolve(read_yaml(self.name))

    def problems(self, *, split: str | None = None, duplicates: str = "keep") -> "list[Problem]":
        """The problems of a split, by default the one that was asked for."""
        import logging

        from g2rpo.data.catalog import CATALOG
        from g2rpo.data.load import load_named, load_problems

        logging.basicConfig(format="%(message)s")
        split = split or self.split
        if recipe := self.recipe:
            recipe.data.dataset_duplicates, recipe.data.dataset_limit = duplicates, self.limit
            problems = recipe.data.problems(split)
            return problems[: self.limit] if self.limit is not None else problems
        options: dict[str, Any] = {"limit": self.limit, "duplicates": duplicates}
        if self.name in CATALOG and not Path(self.name).exists():
            return load_named(self.name, split=split, data=self.folder, **options)
        options |= {"split": split or "train", "source": self.source, "columns": self._columns()}
        if Path(self.name).exists():
            return load_problems(path=self.name, **options)
        if "/" not in self.name:
            from g2rpo.errors import nearest

            raise ConfigError(
                "data set",
                self.name,
                expected="a known name, a recipe, an existing path or a hub name",
                then=nearest(self.name, list(CATALOG)),
            )
        return load_problems(name=self.name, config=self.config, **options)

    def reads(self) -> list[Path]:
        """Local files that hold the set: what is written must not overwrite them."""
        from g2rpo.data.catalog import CATALOG

        place, splits, whole = Path(self.name), [self.split or "train"], ()
        if self.name.endswith((".yaml", ".yml")):
            from g2rpo.training.run.recipe import read_yaml

            recipe = read_yaml(self.name)
            place, splits = Path(recipe.get("dataset_path") or self.name), [self.split or recipe.get("dataset_split", "train")]
        elif self.name in CATALOG and not place.exists():
            known = CATALOG[self.name]
            place, splits, whole = (self.folder or Path()) / self.name, list(known.splits), known.files
        if not place.is_dir():
            return [place]
        return [file for file in place.iterdir() if file.name in whole or file.name.partition(".")[0] in splits]

    def splits(self) -> list[str | None]:
        """All splits of a known set, or the one that is there."""
        from g2rpo.data.catalog import CATALOG

        known = CATALOG.get(self.name)
        return list(known.splits) if known and self.split is None else [self.split]

    def _columns(self) -> dict[str, str] | None:
        if self.columns is None:
            return None
        pairs = [pair.partition("=") for pair in self.columns.split(",")]
        if any(not equals or not column for _, equals, column in pairs):
            raise ConfigError(
                "--columns", self.columns, expected="role=column,role=column", then="For example prompt=question,answer=final."
            )
        return {role.strip(): column.strip() for role, _, column in pairs}


@data.command(name="list")
def known_sets() -> None:
    """List the known sets, and where they are on the hub."""
    from g2rpo.data.catalog import CATALOG

    for name, entry in CATALOG.items():
        hub = f"{entry.hub} ({entry.config})" if entry.config else entry.hub
        print(f"{name:18} {hub:46} {', '.join(entry.splits)}")


@data.command()
def show(
    name: Set,
    split: Split = None,
    folder: Folder = None,
    config: Config = None,
    source: Source = None,
    columns: Columns = None,
    limit: Limit = 2,
    guard: Guard = "strict",
) -> None:
    """Print problems: prompt, answer, steps of the trace.

    With the place where the leak guard stops.
    """
    from g2rpo.data.steps import step_ends
    from g2rpo.method.leak_guard import leak_start

    for problem in Asked(name, split, folder, config, source, columns, limit).problems():
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


@data.command()
def check(
    name: Set,
    split: Split = None,
    folder: Folder = None,
    config: Config = None,
    source: Source = None,
    columns: Columns = None,
    limit: Limit = None,
    guard: Guard = "strict",
    out: Out = None,
    level: Annotated[str, typer.Option(help="Sandbox level for reference programs.")] = "auto",
    shown: Annotated[int, typer.Option(min=0, help="Faults to print.")] = 20,
    model: Annotated[
        str | None, typer.Option(help="Its tokens count, to find traces that are too long. Default: the recipe's.")
    ] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Tokens that a completion may have. Default: the recipe's.")] = None,
) -> None:
    """Run golds, references and traces through the graders.

    And through the leak guard; lists what fails. Exit code 1 if anything does.
    """
    from rlvr_graders.sandbox import open_sandbox

    from g2rpo.curation.check import check as run_check
    from g2rpo.curation.check import shared
    from g2rpo.data.disappointments import disappointments

    asked, found, sets, box = Asked(name, split, folder, config, source, columns, limit), [], {}, None
    tokens, budget = _completion_tokens(asked, model, max_tokens)
    check_file("--out", out, reads=asked.reads())
    try:
        for one in asked.splits():
            problems = sets[one] = asked.problems(split=one)
            if box is None and any(p.tests is not None for p in problems):
                box = open_sandbox(level)
            result = run_check(problems, guard=guard, sandbox=box)
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
            for disappointing in disappointments(problems, tokens=tokens, budget=budget):
                print(f"  {disappointing}")
    finally:
        if box is not None:
            box.close()
    if {"train", "test"} <= sets.keys():
        found += [("train", fault) for fault in shared(sets["train"], sets["test"])]
    _list_faults(found, out, shown)
    raise typer.Exit(1 if found else 0)


def _completion_tokens(
    asked: Asked, model: str | None, budget: int | None
) -> "tuple[Callable[[Problem], int] | None, int | None]":
    """How long a problem's completion is, and may be: by the options, else by the recipe; None where neither says."""
    from g2rpo.data.completion import full_completion, style
    from g2rpo.models import load_tokenizer_of

    recipe = asked.recipe
    if recipe is not None:
        model, budget = (
            model or recipe.model.model_name_or_path,
            budget or getattr(recipe.training, "max_completion_length", None),
        )
    if budget is None:
        return None, None
    tokenizer = load_tokenizer_of(model or "builtin")
    written = style(getattr(recipe.training, "guidance_style", "think_answer") if recipe else "think_answer")

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
        _write(out, [{"split": one, "key": fault.key, "kind": fault.kind, "why": fault.why} for one, fault in found])


@data.command()
def stats(
    name: Set,
    model: Model = "builtin",
    split: Split = None,
    folder: Folder = None,
    config: Config = None,
    source: Source = None,
    columns: Columns = None,
    limit: Limit = None,
    style: Style = "think_answer",
    guard: Guard = "strict",
) -> None:
    """Show the lengths of prompts, traces and steps.

    In a model's tokens; and what the leak guard lets guidance reveal.
    """
    from collections import Counter

    from g2rpo.curation.lengths import QUANTILES, lengths
    from g2rpo.models import load_tokenizer_of

    problems = Asked(name, split, folder, config, source, columns, limit).problems()
    tokenizer = load_tokenizer_of(model)
    print(f"{len(problems)} problems, {sum(bool(p.trace) for p in problems)} with a trace; tokens of {model}")
    for what, count in (("source", Counter(p.source for p in problems)), ("difficulty", Counter(p.difficulty for p in problems))):
        if len(count) > 1:
            shown = sorted(count.items(), key=lambda item: (item[0] is None, item[0]))
            print(f"{what}: " + ", ".join(f"{value}: {n}" for value, n in shown[:12]) + (", …" if len(shown) > 12 else ""))
    print(f"{'':16}" + "".join(f"{head:>10}" for head in ("mean", *QUANTILES)))
    for measure in lengths(problems, tokenizer, style_name=style, guard=guard):
        print(
            f"{measure.what:16}"
            + "".join(f"{value:10.2f}" if value % 1 else f"{value:10.0f}" for value in measure.summary.values())
        )


@data.command()
def decontaminate(
    train: Set,
    test: Annotated[list[str], typer.Argument(metavar="TEST...", help="Sets to keep out of it; NAME or NAME:SPLIT.")],
    split: Annotated[str | None, typer.Option(help="Split of the training set.")] = "train",
    folder: Folder = None,
    columns: Columns = None,
    source: Source = None,
    ngram: Annotated[int, typer.Option(help="Words in a row that count as an overlap.")] = 13,
    out: Out = None,
    shown: Annotated[int, typer.Option(min=0, help="Overlaps to print.")] = 10,
) -> None:
    """Find training problems that overlap with test sets.

    A run of words in common is an overlap; --out writes the problems without. Exit code 1 if there are any and no --out.
    """
    from g2rpo.data.decontaminate import overlaps, without

    asked, held_out = Asked(train, split, folder, source=source, columns=columns), []
    for one in test:
        name, _, its_split = one.partition(":") if not Path(one).exists() else (one, "", "")
        held_out.append(Asked(name, its_split or None, folder))
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


@data.command()
def traces(
    name: Set,
    out: Annotated[Path, typer.Option(help="File to write (JSONL): what training reads as dataset_path.")],
    pick: Annotated[str, typer.Option(help="shortest, first, or likeliest under the model.")] = "shortest",
    model: Model = "builtin",
    split: Split = None,
    folder: Folder = None,
    config: Config = None,
    source: Source = None,
    columns: Columns = None,
    limit: Limit = None,
    style: Style = "think_answer",
    verify: Annotated[bool, typer.Option(help="Drop traces that state another answer than the gold one.")] = True,
) -> None:
    """Choose a trace per problem, and drop wrong ones.

    Writes the problems as training reads them.
    """
    import dataclasses

    from g2rpo.curation.check import other_answer
    from g2rpo.curation.likelihood import trace_score
    from g2rpo.data.trace_choice import check_pick, pick_traces, traces_of

    quiet()
    check_pick(pick)
    asked, wrong = Asked(name, split, folder, config, source, columns, limit), 0
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
    score = None
    if pick == "likeliest":
        from g2rpo.evaluation.checkpoint import load_checkpoint

        student = load_checkpoint(model)
        score = trace_score(student.model, student.tokenizer, style_name=style)
    problems = pick_traces(problems, pick, score)
    write_problems(out, problems)
    print(f"{len(problems)} problems, {sum(bool(p.trace) for p in problems)} with a trace, {wrong} wrong traces dropped: {out}")


@data.command()
def difficulty(
    name: Set,
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
    split: Split = None,
    folder: Folder = None,
    config: Config = None,
    source: Source = None,
    columns: Columns = None,
    limit: Limit = None,
) -> None:
    """Measure how often a model solves each problem.

    For a curriculum by pass rate. Resumable: problems that are done are not sampled again.
    """
    from rlvr_graders.registry import get_reward

    from g2rpo.curation.difficulty import measure
    from g2rpo.evaluation.checkpoint import load_checkpoint
    from g2rpo.evaluation.decoding import Decoding

    quiet()
    asked = Asked(name, split, folder, config, source, columns, limit)
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


def _write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    with opened(path) as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _progress(done: int, of: int) -> None:
    print(f"\r{done}/{of}", end="\n" if done == of else "", file=sys.stderr, flush=True)
