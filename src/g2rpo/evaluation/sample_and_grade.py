"""Sampling a model on problems and grading the completions, never guided.

One loop for `g2rpo eval`, held-out evaluation during training, pass rates, and the evaluation of a comparison's runs.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from g2rpo.data.problem import Problem
from g2rpo.evaluation.engines import Engine, Request, batches, requests
from g2rpo.evaluation.grading import Grade, Graders, check_problems
from g2rpo.evaluation.metrics import Sample
from g2rpo.evaluation.prompts import Template, cut_at_stop, prompt_ids, suite_prompt_ids, template_of
from g2rpo.evaluation.suite import Suite
from g2rpo.seeds import seed_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Questions:
    """Problems, their prompts as token ids, and how completions are graded.

    `stop`: texts that end a completion. `name`: for errors, and for the seeds of `requests`.
    """

    name: str
    problems: Sequence[Problem]
    prompts: Sequence[Sequence[int]]
    grade: Grade
    stop: tuple[str, ...] = ()
    template: Template = "chat"

    @classmethod
    def of_suite(
        cls,
        suite: Suite,
        problems: Sequence[Problem],
        tokenizer: "PreTrainedTokenizerBase",
        graders: Graders,
        template: str = "auto",
        template_kwargs: Mapping[str, Any] | None = None,
    ) -> "Questions":
        """A suite for one tokenizer. Checks every gold answer and renders every prompt.

        Raises:
            ConfigError, DataError: a template that does not fit, or a problem that could never be solved.
        """
        grader = graders.get(suite.grader)
        check_problems(problems, grader, suite.name)
        kind = template_of(tokenizer, template)
        prompts = suite_prompt_ids(suite, problems, tokenizer, kind, template_kwargs)
        return cls(suite.name, problems, prompts, grader, suite.stop if kind == "plain" else (), kind)

    @classmethod
    def of_problems(
        cls,
        name: str,
        problems: Sequence[Problem],
        tokenizer: "PreTrainedTokenizerBase",
        grade: Grade,
        template_kwargs: Mapping[str, Any] | None = None,
    ) -> "Questions":
        """Problems with the prompts that training uses."""
        return cls(name, problems, [prompt_ids(p, tokenizer, template_kwargs) for p in problems], grade)

    def requests(
        self, samples: int, *, budget: int, room: int | None, seed: int = 0, seeds: Callable[[str, int], int] | None = None
    ) -> list[Request]:
        """All completions to sample.

        Args:
            samples: Per problem.
            budget: New tokens per completion.
            room: Positions of the model.
            seed: With name, key and number of the sample, the sample's own randomness.
            seeds: Instead of it, the seed of a problem's key and a sample's number.

        Raises:
            ConfigError: a prompt leaves no room for a completion.
        """
        own = seeds or (lambda key, sample: seed_of(seed, "evaluation", self.name, key, sample))
        return requests(
            self.prompts, [p.key for p in self.problems], samples, budget=budget, room=room, seeds=own, suite=self.name
        )


def sample_and_grade(
    questions: Questions,
    plan: Sequence[Request],
    engine: Engine,
    rows: int,
    *,
    done: Collection[tuple[str, int]] = (),
    process: int = 0,
    processes: int = 1,
) -> Iterator[list[Sample]]:
    """Yields the new samples of each batch.

    A batch of which some samples are missing is sampled again as a whole: a batch of another shape rounds differently, and a
    resumed evaluation has to give the same bytes.

    Args:
        plan: From `questions.requests`.
        rows: Per batch.
        done: Key and number of the samples that are not needed.
        process, processes: Which share of the batches is this process's.
    """
    problems = questions.problems
    for batch in batches(plan, rows)[process::processes]:
        missing = [(problems[r.problem].key, r.sample) not in done for r in batch]
        if not any(missing):
            yield []
            continue
        drawn = [(r, ids) for r, ids, needed in zip(batch, engine(batch), missing, strict=True) if needed]
        texts = engine.tokenizer.batch_decode([list(ids) for _, ids in drawn], skip_special_tokens=True)
        cut = [cut_at_stop(text, questions.stop) for text in texts]
        judged = questions.grade([problems[r.problem] for r, _ in drawn], cut)
        yield [
            Sample(
                problems[request.problem].key,
                request.sample,
                grade.score,
                grade.verdict,
                grade.answer,
                shown,
                len(ids),
                shown != text or ids[-1] in engine.eos_ids,
            )
            for (request, ids), grade, shown, text in zip(drawn, judged, cut, texts, strict=True)
        ]
