"""`g2rpo eval`: a checkpoint on suites, never guided; or completions that something else produced, graded alike."""

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import g2rpo
from g2rpo.data.problem import Problem
from g2rpo.errors import ConfigError
from g2rpo.evaluation.checkpoint import Checkpoint, load_checkpoint
from g2rpo.evaluation.completions import read_completions
from g2rpo.evaluation.engines import Decoding, Engine, engine_name, open_engine
from g2rpo.evaluation.grading import Graders, check_problems
from g2rpo.evaluation.metrics import Sample, summarise
from g2rpo.evaluation.sample_and_grade import Questions, sample_and_grade
from g2rpo.evaluation.suite import Suite, load_suite
from g2rpo.evaluation.suite_directory import SuiteDirectory

Progress = Callable[[str, int, int, int], None]
"""Called after each batch with the suite, the samples done, all samples, and the right ones among those done."""


@dataclass(frozen=True)
class EvalOptions:
    """Everything about an evaluation but the checkpoint, the suites and the place on disk."""

    data: Path | None = None
    limit: int | None = None
    ks: tuple[int, ...] = (1,)
    samples: int | None = None
    """Samples per problem; the largest k if not given."""
    decoding: Decoding = field(default_factory=Decoding)
    seed: int = 0
    max_tokens: int | None = None
    """Instead of each suite's own."""
    system: str | None = None
    """System message instead of the suites' own: the one that the model was trained with, for example."""
    instruction: str | None = None
    """Line after the problem, instead of the suites' own."""
    template: str = "auto"
    template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    tokenizer: str | None = None
    dtype: str = "auto"
    device: str = "auto"
    revision: str | None = None
    engine: str = "auto"
    batch_size: int | None = None

    def __post_init__(self) -> None:
        for name, value in (
            ("limit", self.limit),
            ("samples", self.samples),
            ("max_tokens", self.max_tokens),
            ("batch_size", self.batch_size),
        ):
            if value is not None and value < 1:
                raise ConfigError(name, value, expected="a positive number", then="Leave it out for the default.")
        if not self.ks or min(self.ks) < 1 or max(self.ks) > self.n:
            raise ConfigError(
                "k",
                list(self.ks),
                expected=f"numbers from 1 to {self.n}, the samples per problem",
                then="Raise --samples or lower --k.",
            )
        self.decoding.check_samples("samples", self.n, then="Add --preset paper, or a --temperature.")

    @property
    def n(self) -> int:
        return self.samples or max(self.ks, default=1)


def evaluate(
    model: str, suites: Sequence[str], out: Path, options: EvalOptions, progress: Progress | None = None
) -> dict[str, dict[str, Any]]:
    """Evaluates a checkpoint; results by suite, as in each `results.json`.

    Everything that can be wrong with the settings, the data and the checkpoint is found before the first completion.

    Raises:
        ConfigError, DataError, RunError: says what to do.
    """
    wanted = [suite.instructed(options.system, options.instruction) for suite in _suites(suites)]
    engine = engine_name(options.engine)
    problems = {suite.name: suite.problems(options.data, options.limit) for suite in wanted}
    loads_itself = engine == "vllm"
    checkpoint = load_checkpoint(
        model,
        tokenizer=options.tokenizer,
        revision=options.revision,
        dtype="stored" if loads_itself and options.dtype == "auto" else options.dtype,
        device="cpu" if loads_itself else options.device,
    )
    graders = Graders()
    try:
        asked = [
            Questions.of_suite(
                suite, problems[suite.name], checkpoint.tokenizer, graders, options.template, options.template_kwargs
            )
            for suite in wanted
        ]
        return _run(wanted, asked, graders, checkpoint, engine, out, options, progress)
    finally:
        graders.close()


def grade_completions(suite_name: str, completions: Path, out: Path, options: EvalOptions) -> dict[str, Any]:
    """Grades completions that something else produced; results as for a model, lengths in characters.

    The file has one JSON object per line: `completion`, and `key` or `index` (the problem's place in the suite); several lines
    of one problem are its samples, in their order.

    Raises:
        DataError: a line that does not fit, or problems without a completion.
    """
    [suite] = _suites([suite_name])
    problems = suite.problems(options.data, options.limit)
    graders = Graders()
    try:
        grader = graders.get(suite.grader)
        check_problems(problems, grader, suite.name)
        texts = read_completions(completions, problems)
        if max(options.ks) > len(texts[0]):
            raise ConfigError(
                "k",
                list(options.ks),
                expected=f"at most {len(texts[0])}, the completions per problem in {completions}",
                then="Lower --k.",
            )
        folder = SuiteDirectory(out / suite.name)
        digest = hashlib.blake2b(json.dumps(texts).encode(), digest_size=16).hexdigest()
        folder.claim(
            {
                "g2rpo": g2rpo.__version__,
                "suite": suite.to_json(),
                "problems": _digest(problems),
                "limit": options.limit,
                "samples": len(texts[0]),
                "completions": digest,
            }
        )
        began, samples = time.time(), []
        for problem, own in zip(problems, texts, strict=True):
            judged = grader([problem] * len(own), own)
            samples.append(
                [
                    Sample(problem.key, i, j.score, j.verdict, j.answer, t)
                    for i, (j, t) in enumerate(zip(judged, own, strict=True))
                ]
            )
        results = {"suite": suite.name, **summarise(problems, samples, options.ks, grader)}
        folder.finish([s for own in samples for s in own], results)
        folder.add_session(_session(str(completions), began, sum(map(len, samples)), 0))
        return results
    finally:
        graders.close()


def _suites(names: Sequence[str]) -> list[Suite]:
    if not names:
        raise ConfigError("suite", expected="at least one suite", then="Name it with --suite; g2rpo eval --list shows them.")
    suites = [load_suite(name) for name in dict.fromkeys(names)]
    if len({suite.name for suite in suites}) < len(suites):
        raise ConfigError("suite", list(names), expected="suites with different names", then="Name each once.")
    return suites


def _run(
    suites: Sequence[Suite],
    asked: Sequence[Questions],
    graders: Graders,
    checkpoint: Checkpoint,
    engine_kind: str,
    out: Path,
    options: EvalOptions,
    progress: Progress | None,
) -> dict[str, dict[str, Any]]:
    budgets = [options.max_tokens or suite.max_tokens for suite in suites]
    plans = [
        questions.requests(options.n, budget=budget, room=checkpoint.room, seed=options.seed)
        for questions, budget in zip(asked, budgets, strict=True)
    ]
    longest = [max(len(r.ids) + r.budget for r in plan) for plan in plans]
    engine = open_engine(engine_kind, checkpoint, options.decoding, max_length=max(longest))
    results = {}
    try:
        for suite, questions, plan, longest_row in zip(suites, asked, plans, longest, strict=True):
            rows = options.batch_size or engine.rows(longest_row)
            folder = SuiteDirectory(out / suite.name)
            folder.claim(_settings(suite, questions, checkpoint, engine, rows, options))
            began, done = time.time(), {(s.key, s.sample): s for s in folder.samples()}
            before = len(done)
            for new in sample_and_grade(questions, plan, engine, rows, done=set(done)):
                folder.append(new)
                done |= {(s.key, s.sample): s for s in new}
                if progress is not None:
                    progress(suite.name, len(done), len(plan), sum(s.score == 1 for s in done.values()))
            samples = [[done[p.key, i] for i in range(options.n)] for p in questions.problems]
            counts = [len(ids) for ids in questions.prompts]
            results[suite.name] = {
                "suite": suite.name,
                "template": questions.template,
                **summarise(questions.problems, samples, options.ks, graders.get(suite.grader), counts),
            }
            folder.finish([s for own in samples for s in own], results[suite.name])
            if before < len(plan):
                folder.add_session(_session(checkpoint.name, began, len(plan), before))
    finally:
        engine.close()
    return results


def _settings(
    suite: Suite, questions: Questions, checkpoint: Checkpoint, engine: Engine, rows: int, options: EvalOptions
) -> dict[str, Any]:
    """What decides the bytes of the samples. Names and paths are not among it: a checkpoint that was moved is the same one."""
    return {
        "g2rpo": g2rpo.__version__,
        "checkpoint": checkpoint.digest,
        "suite": suite.to_json(),
        "problems": _digest(questions.problems),
        "limit": options.limit,
        "template": questions.template,
        "prompts": hashlib.blake2b(json.dumps(questions.prompts).encode(), digest_size=16).hexdigest(),
        "decoding": dataclasses.asdict(options.decoding),
        "samples": options.n,
        "max_tokens": options.max_tokens or suite.max_tokens,
        "seed": options.seed,
        "engine": engine.name,
        "dtype": str(checkpoint.model.dtype).removeprefix("torch."),
        "device": checkpoint.model.device.type,
        "batch_size": rows,
    }


def _digest(problems: Sequence[Problem]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for p in problems:
        digest.update(json.dumps([p.key, p.prompt, p.answer, p.tests], sort_keys=True).encode())
    return digest.hexdigest()


def _session(what: str, began: float, samples: int, resumed: int) -> dict[str, Any]:
    import platform
    import sys
    from importlib.metadata import PackageNotFoundError, version

    versions = {}
    for name in ("torch", "transformers", "peft", "vllm", "math-verify"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "evaluated": what,
        "command": sys.argv[1:],
        "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(began)),
        "wall_s": round(time.time() - began, 3),
        "samples": samples - resumed,
        "samples_found": resumed,
        "versions": versions,
        "machine": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
    }
