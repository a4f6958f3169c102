"""What a model does with a recipe's problems before training: pass rates by revealed share of the trace, and how it fails."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from rlvr_graders.code.extract import extract_code
from rlvr_graders.extract import extract_answer
from transformers import GenerationConfig

from g2rpo.data.completion import full_completion, style
from g2rpo.data.load import to_rows
from g2rpo.data.problem import Problem
from g2rpo.errors import DataError
from g2rpo.evaluation.checkpoint import Checkpoint, load_checkpoint
from g2rpo.evaluation.prompts import prompt_ids
from g2rpo.method.planner import Planner
from g2rpo.method.prefix import encode_plain
from g2rpo.sampling.sample import sample_rows
from g2rpo.seeds import rng, seed_of
from g2rpo.training.hints import NEUTRAL
from g2rpo.training.run.preflight import check_template
from g2rpo.training.run.primary_reward import primary_reward
from g2rpo.training.run.recipe import Recipe

PLAIN, STEPS, WHOLE, MARK = "plain", "whole steps", "whole trace", "trace and mark"
REVEALED = {PLAIN: 0.0, "1/4": 0.25, "1/2": 0.5, "3/4": 0.75, "longest": 1.0}
"""Levels that training may reach: shares of what the leak guard allows. `whole steps` is the longest that ends with a step."""
MOST_SAMPLES = 16


@dataclass(frozen=True)
class Level:
    """All samples from one share of the trace; groups contiguous."""

    name: str
    group_size: int
    right: tuple[bool, ...]
    """Success of each sample, by the primary reward."""
    unended: int
    """Failures without an end within the budget."""
    unanswered: int
    """Failures that ended and state no answer."""
    tokens: float
    """Mean number of sampled tokens."""
    markers: dict[str, int]
    """What announced the answers that were found."""

    @property
    def rate(self) -> float:
        return sum(self.right) / max(1, len(self.right))

    @property
    def wrong(self) -> int:
        """Failures of substance: an answer, and not the right one."""
        return len(self.right) - sum(self.right) - self.unended - self.unanswered

    @property
    def groups(self) -> list[tuple[bool, ...]]:
        return [self.right[i : i + self.group_size] for i in range(0, len(self.right), self.group_size)]

    @property
    def succeeded(self) -> float:
        """Share of groups with a success."""
        return sum(map(any, self.groups)) / max(1, len(self.groups))

    @property
    def spread(self) -> float:
        """Share of groups with successes and failures: the others have no advantage."""
        return sum(any(g) and not all(g) for g in self.groups) / max(1, len(self.groups))


@dataclass(frozen=True)
class Probe:
    """What was measured; levels in the order plain, rising shares, whole steps, whole trace, trace and the answer's mark."""

    levels: tuple[Level, ...]
    group_size: int
    """Of the recipe; the samples per problem are at most `MOST_SAMPLES`."""
    perplexity: float | None
    """Of the traces after their prompts, per token; None without traces."""
    demonstrations: tuple[int, ...]
    """Tokens of each whole completion: trace and answer in the recipe's style."""
    budget: int
    """max_completion_length."""
    style_marker: str | None
    """What announces the answer in the recipe's completion style; None where programs are graded."""
    logprob_gap: float | None
    """Largest difference between the sampler's log-probability of a token and that of a forward pass, nats; None where settings
    shape the sampling."""

    def level(self, name: str) -> Level | None:
        return next((level for level in self.levels if level.name == name), None)

    @property
    def guarded(self) -> list[Level]:
        """Levels that training may reach, plain among them."""
        return [level for level in self.levels if level.name in (*REVEALED, STEPS)]


class Prober:
    """A recipe's model and problems, ready to be asked. Holds sandboxes, if the rewards do: close it."""

    def __init__(self, recipe: Recipe, problems: int = 8, samples: int | None = None) -> None:
        args = self.args = recipe.training
        every = recipe.data.problems()
        usable = [p for p in every if p.trace and (p.answer is not None or (p.tests or {}).get("solution"))] or every
        self.problems: list[Problem] = rng("doctor", args.seed).sample(usable, min(problems, len(usable)))
        self.rows: list[dict[str, Any]] = list(to_rows(self.problems))
        self.samples = samples or min(args.num_generations, MOST_SAMPLES)
        self.rewards = recipe.data.reward_functions()
        self.primary = self.rewards[primary_reward(args, self.rewards)]
        self.checkpoint: Checkpoint = load_checkpoint(recipe.model.model_name_or_path)
        tokenizer = self.checkpoint.tokenizer
        check_template(tokenizer, self.problems[0].prompt, args.chat_template_kwargs)
        self.prompts = [prompt_ids(p, tokenizer, args.chat_template_kwargs) for p in self.problems]
        self.planner = self._planner(args.guidance_leak_guard)

    def close(self) -> None:
        for reward in self.rewards:
            if close := getattr(reward, "close", None):
                close()

    def _planner(self, leak_guard: str, cut: str | None = None) -> Planner:
        args = self.args
        return Planner(
            controller=args.controller,
            tokenizer=self.checkpoint.tokenizer,
            alpha=1.0,
            group_size=self.samples,
            unit="fraction",
            style_name=args.guidance_style,
            leak_guard=leak_guard,
            cut=cut or args.guidance_cut,
            trace_column="trace",
            answer_column="answer",
            budget=args.max_completion_length,
            seed=args.seed,
            prompt_tail=self.checkpoint.tokenizer.decode(self.prompts[0]),
        )

    def grade(self, texts: Sequence[str], rows: Sequence[dict[str, Any]]) -> list[float | None]:
        """The primary reward of completions, as training asks for it."""
        columns = {name: [row[name] for row in rows] for name in rows[0] if name != "prompt"}
        completions = [[{"role": "assistant", "content": text}] for text in texts]
        return self.primary(prompts=[row["prompt"] for row in rows], completions=completions, **columns)

    def measure(self) -> Probe:
        args = self.args
        traced = any(p.trace for p in self.problems)
        plain = [()] * len(self.rows)
        levels, gap = [], None
        for name, share in REVEALED.items():
            if share and not traced:
                break
            given = [self._given(self.planner, row, share) for row in self.rows] if share else plain
            level, found = self._level(name, given)
            levels.append(level)
            gap = found if name == PLAIN else gap
        if traced:
            if args.guidance_cut == "token":
                stepwise = self._planner(args.guidance_leak_guard, cut="step")
                levels.append(self._level(STEPS, [self._given(stepwise, row, 1.0) for row in self.rows])[0])
            whole = self._planner("off", cut="token")
            given = [self._given(whole, row, 1.0) for row in self.rows]
            levels.append(self._level(WHOLE, given)[0])
            mark = encode_plain(self.checkpoint.tokenizer, self._written.between)[0]
            levels.append(self._level(MARK, [(*ids, *mark)[: args.max_completion_length - 1] for ids in given])[0])
        return Probe(
            tuple(levels),
            args.num_generations,
            self._perplexity() if traced else None,
            tuple(len(ids) for ids in map(self._demonstration, self.problems) if ids),
            args.max_completion_length,
            None if self.rows[0].get("tests") else marker_of(args.guidance_style),
            gap,
        )

    @property
    def _written(self) -> Any:
        return style(self.args.guidance_style).opened_by(self.planner.prompt_tail)

    def _given(self, planner: Planner, row: dict[str, Any], share: float) -> tuple[int, ...]:
        return planner.guided_prompt(row, (), 0, None, 0, 1, share).guidance_ids

    def _level(self, name: str, given: Sequence[Sequence[int]]) -> tuple[Level, float | None]:
        args, tokenizer, model = self.args, self.checkpoint.tokenizer, self.checkpoint.model
        rows = [row for row in self.rows for _ in range(self.samples)]
        starts = [(prompt, list(ids)) for prompt, ids in zip(self.prompts, given, strict=True) for _ in range(self.samples)]
        shaping = {x: value for x in NEUTRAL if (value := getattr(args, x)) not in NEUTRAL[x]}
        drawn = sample_rows(
            model,
            [prompt + ids for prompt, ids in starts],
            [args.max_completion_length - len(ids) for _, ids in starts],
            GenerationConfig(do_sample=True, temperature=args.temperature, **shaping),
            eos_ids=self.checkpoint.eos_ids,
            pad_id=self.checkpoint.pad_id,
            seeds=[seed_of(args.seed, "doctor", name, row["key"], i) for i, row in enumerate(rows)],
        )
        texts = [
            tokenizer.decode([*ids, *row.ids], skip_special_tokens=True) for (_, ids), row in zip(starts, drawn, strict=True)
        ]
        right = tuple(score is not None and score >= 1 for score in self.grade(texts, rows))
        found = [self._answer(text, row) for text, row in zip(texts, rows, strict=True)]
        ended = [bool(row.ids) and row.ids[-1] in self.checkpoint.eos_ids for row in drawn]
        failed = [(a, e) for ok, a, e in zip(right, found, ended, strict=True) if not ok]
        level = Level(
            name,
            self.samples,
            right,
            sum(not e for _, e in failed),
            sum(e and a is None for a, e in failed),
            sum(len(row.ids) for row in drawn) / len(drawn),
            dict(Counter(a for a in found if a is not None)),
        )
        return level, None if shaping else self._gap([prompt + ids for prompt, ids in starts], drawn)

    @staticmethod
    def _answer(text: str, row: dict[str, Any]) -> str | None:
        """What announces the answer of a completion: a marker's name, `code` where a program is asked for; None for no answer."""
        if row.get("tests"):
            return "code" if extract_code(text) is not None else None
        found = extract_answer(text)
        return found and found.marker

    @torch.no_grad()
    def _gap(self, starts: Sequence[list[int]], drawn: Sequence[Any], rows: int = 4) -> float | None:
        """Of the first rows."""
        model, worst = self.checkpoint.model, 0.0
        for start, row in list(zip(starts, drawn, strict=True))[:rows]:
            if row.logprobs is None:
                return None
            ids = torch.tensor([[*start, *row.ids]], device=model.device)
            logits = model(ids, logits_to_keep=len(row.ids) + 1).logits[0, :-1].float() / self.args.temperature
            scored = torch.log_softmax(logits, -1).gather(1, ids[0, -len(row.ids) :, None])[:, 0]
            worst = max(worst, (scored.cpu() - torch.tensor(row.logprobs)).abs().max().item())
        return worst

    @torch.no_grad()
    def _perplexity(self) -> float:
        """exp of minus the mean, over traces, of log p(g_t | prompt, g_<t) per token: length does not decide."""
        tokenizer, model, means = self.checkpoint.tokenizer, self.checkpoint.model, []
        before = encode_plain(tokenizer, self._written.before_trace)[0] if self._written.before_trace else []
        for problem, prompt in zip(self.problems, self.prompts, strict=True):
            if problem.trace:
                trace = encode_plain(tokenizer, problem.trace)[0]
                ids = torch.tensor([[*prompt, *before, *trace]], device=model.device)
                logps = torch.log_softmax(model(ids, logits_to_keep=len(trace) + 1).logits[0, :-1].float(), -1)
                means.append(logps.gather(1, ids[0, -len(trace) :, None]).mean().item())
        return math.exp(-sum(means) / len(means))

    def _demonstration(self, problem: Problem) -> list[int]:
        if not problem.trace:
            return []
        try:
            return encode_plain(self.checkpoint.tokenizer, full_completion(problem, self._written))[0]
        except DataError:
            return []


def marker_of(style_name: str) -> str | None:
    """What announces an answer in a completion style, in the words of `rlvr_graders.extract`."""
    written = style(style_name)
    found = extract_answer(f"{written.before_trace}x{written.between}1{written.after_answer}")
    return found and found.marker
