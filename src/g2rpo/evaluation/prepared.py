"""A suite made ready for one tokenizer, and what is made of the ids drawn for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from g2rpo.data.problem import Problem
from g2rpo.evaluation.engines import Request
from g2rpo.evaluation.grading import Grader, Graders, check_problems
from g2rpo.evaluation.metrics import Sample
from g2rpo.evaluation.prompts import Template, cut_at_stop, prompt_ids, template_of
from g2rpo.evaluation.suite import Suite

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Prepared:
    """A suite with its problems, their prompts as ids, and its grader."""

    suite: Suite
    problems: list[Problem]
    prompts: list[list[int]]
    template: Template
    grader: Grader


def prepare(
    suite: Suite,
    problems: list[Problem],
    tokenizer: "PreTrainedTokenizerBase",
    graders: Graders,
    template: str = "auto",
    template_kwargs: Mapping[str, Any] | None = None,
) -> Prepared:
    """Checks every gold answer and renders every prompt.

    Raises:
        ConfigError, DataError: a template that does not fit, or a problem that could never be solved.
    """
    grader = graders.get(suite.grader)
    check_problems(problems, grader, suite.name)
    kind = template_of(tokenizer, template)
    return Prepared(suite, problems, prompt_ids(suite, problems, tokenizer, kind, template_kwargs), kind, grader)


def graded(
    one: Prepared,
    batch: Sequence[Request],
    drawn: Sequence[Sequence[int]],
    tokenizer: "PreTrainedTokenizerBase",
    eos_ids: Sequence[int],
) -> list[Sample]:
    """The samples of a batch: decoded, cut at the suite's stop texts where those apply, graded."""
    texts = tokenizer.batch_decode([list(ids) for ids in drawn], skip_special_tokens=True)
    stop = one.suite.stop if one.template == "plain" else ()
    cut = [cut_at_stop(text, stop) for text in texts]
    problems = [one.problems[r.problem] for r in batch]
    samples = []
    for problem, request, judged, shown, text, ids in zip(
        problems, batch, one.grader(problems, cut), cut, texts, drawn, strict=True
    ):
        ended = shown != text or ids[-1] in eos_ids
        samples.append(Sample(problem.key, request.sample, judged.score, judged.verdict, judged.answer, shown, len(ids), ended))
    return samples
