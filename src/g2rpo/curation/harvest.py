"""A model's own successes as traces: rejection sampling, verified by the grader, every sampled token counted (PrefixRL, arXiv
2601.18795).

Problems are tried round by round until each has one success, or the samples or the tokens are used up. The trace of a success is
its reasoning without the statement of the answer, as the completion style separates them; a right completion in another form is
counted and left, because nothing could continue from its prefixes. Kept is the first success, not the shortest: a guess is short.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from g2rpo.data.completion import Style, style
from g2rpo.data.problem import Problem
from g2rpo.data.trace_text import clean_trace
from g2rpo.errors import ConfigError
from g2rpo.evaluation.checkpoint import Checkpoint
from g2rpo.evaluation.engines import Decoding, Request, engine_name, open_engine
from g2rpo.evaluation.prompts import prompt_ids
from g2rpo.method.prefix import tokenize_trace
from g2rpo.seeds import seed_of


@dataclass(frozen=True)
class Harvest:
    """What came of it."""

    problems: tuple[Problem, ...]
    """Those with a success, in their order, each with its trace."""
    tried: int
    """Problems."""
    samples: int
    tokens: int
    """Sampled ones; guidance and prompts are not sampled."""
    right: int
    """Samples that the grader took for right."""
    other_form: int
    """Right samples that are not in the completion style."""


def harvest(
    checkpoint: Checkpoint,
    problems: Sequence[Problem],
    reward: Callable[..., list[float | None]],
    *,
    shown: Sequence[Problem] | None = None,
    style_name: str = "think_answer",
    samples: int = 16,
    per_round: int = 4,
    reveal: float = 0.0,
    leak_guard: str = "strict",
    max_tokens: int = 1024,
    token_budget: int | None = None,
    decoding: Decoding,
    seed: int = 0,
    engine: str = "auto",
    template_kwargs: Mapping[str, Any] | None = None,
    progress: Callable[[int, int], None] = lambda done, all: None,
) -> Harvest:
    """Samples solutions of problems until each has a right one.

    Args:
        checkpoint: Any model.
        problems: As they are to be kept.
        reward: In TRL's signature; right is a score of 1.
        shown: The same problems as the model is shown them, with worked examples, say; as they are kept if not given.
        style_name: How completions are written.
        samples: Per problem at most.
        per_round: Per problem before the solved ones are left alone.
        reveal: Share of its trace from which a problem is continued, of what the leak guard allows; 0 shows none.
        leak_guard: See `method.leak_guard`.
        max_tokens: Of a completion, guidance included.
        token_budget: No round begins after so many sampled tokens.
        decoding: How samples are drawn.
        seed: With a problem's key and a sample's number, the sample's randomness.
        engine: `auto`, `transformers` or `vllm`.
        template_kwargs: For the chat template.
        progress: Called with how many problems are solved, of how many.

    Raises:
        ConfigError: fewer than one sample, a share outside of [0, 1], or a prompt that leaves no room for a completion.
    """
    for name, value, allowed in (("samples", samples, samples >= 1), ("reveal", reveal, 0 <= reveal <= 1)):
        if not allowed:
            raise ConfigError(
                name, value, expected="at least 1" if name == "samples" else "a share from 0 to 1", then="Change it."
            )
    tokenizer, written = checkpoint.tokenizer, style(style_name)
    starts = [_start(p, tokenizer, written, reveal, leak_guard, template_kwargs) for p in shown or problems]
    longest = max((len(prompt) for prompt, _ in starts), default=0) + max_tokens
    drawer = open_engine(engine_name(engine), checkpoint, decoding, max_length=longest)
    found: dict[int, Problem] = {}
    drawn = tokens = right = other_form = 0
    try:
        for first in range(0, samples, per_round):
            open_ = [i for i in range(len(problems)) if i not in found]
            numbers = range(first, min(samples, first + per_round))
            requests = [
                _request(i, n, problems[i].key, starts[i], max_tokens, checkpoint.room, seed) for i in open_ for n in numbers
            ]
            rows = drawer.rows(longest)
            for start in range(0, len(requests), rows):
                if token_budget is not None and tokens >= token_budget:
                    requests = []
                    break
                batch = requests[start : start + rows]
                ids = drawer(batch)
                tokens += sum(map(len, ids))
                drawn += len(ids)
                texts = tokenizer.batch_decode(
                    [[*starts[r.problem][1], *own] for r, own in zip(batch, ids, strict=True)], skip_special_tokens=True
                )
                for request, text, score in zip(
                    batch, texts, _scores(reward, texts, [problems[r.problem] for r in batch]), strict=True
                ):
                    if score is None or score < 1:
                        continue
                    right += 1
                    trace = trace_of(text, written)
                    other_form += trace is None
                    if trace is not None and request.problem not in found:
                        found[request.problem] = replace(
                            problems[request.problem], trace=trace, traces=(), trace_answer=None, source="harvest"
                        )
            progress(len(found), len(problems))
            if not requests or len(found) == len(problems):
                break
    finally:
        drawer.close()
    return Harvest(tuple(found[i] for i in sorted(found)), len(problems), drawn, tokens, right, other_form)


def trace_of(text: str, written: Style) -> str | None:
    """The reasoning of a completion, up to the statement of its answer; None where it has none, or another style."""
    if "</think>" in written.between:
        return clean_trace(text) or None if "</think>" in text else None
    head, mark, _ = text.rpartition(written.between.strip())
    return head.strip() or None if mark else None


def _start(
    problem: Problem, tokenizer: Any, written: Style, reveal: float, guard: str, kwargs: Mapping[str, Any] | None
) -> tuple[list[int], list[int]]:
    """Prompt ids and guidance ids."""
    ids = prompt_ids(problem, tokenizer, kwargs)
    if not reveal or not problem.trace:
        return ids, []
    before = written.opened_by(tokenizer.decode(ids)).before_trace
    trace = tokenize_trace(tokenizer, before, problem.trace, problem.answer, guard)
    return ids, list(trace.ids[: trace.length(reveal, "fraction")])


def _request(
    problem: int, number: int, key: str, start: tuple[list[int], list[int]], budget: int, room: int | None, seed: int
) -> Request:
    prompt, given = start
    own = budget - len(given) if room is None else min(budget - len(given), room - len(prompt) - len(given))
    if own < 1:
        raise ConfigError(
            f"prompt of problem {key}",
            f"{len(prompt)} tokens and {len(given)} of guidance",
            expected=f"room for a completion of {budget} tokens" + ("" if room is None else f" in the model's {room}"),
            then="Raise max_completion_length, reveal less, or leave the problem out.",
        )
    return Request(problem, number, (*prompt, *given), own, seed_of(seed, "harvest", key, number))


def _scores(reward: Callable[..., list[float | None]], texts: Sequence[str], problems: Sequence[Problem]) -> list[float | None]:
    completions = [[{"role": "assistant", "content": text}] for text in texts]
    return reward(completions=completions, **{name: [getattr(p, name) for p in problems] for name in ("answer", "tests")})
