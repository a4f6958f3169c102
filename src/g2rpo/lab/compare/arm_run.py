"""One run of a comparison: an arm, a task, a seed, a budget; evaluated on held-out problems on the way and at the end.

Runs in a process of its own (`python -m g2rpo.lab.compare.arm_run FOLDER PARENT`: the folder holds `spec.json`, the parent is the
process to end with), so that many can go on at once and one that dies takes nobody with it. Leaves `result.json` behind, written
in one piece, and a run directory per stage.
"""

import hashlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from g2rpo.data.problem import Problem
from g2rpo.io import write_text
from g2rpo.lab.compare.experiment import stage_recipe
from g2rpo.lab.compare.spec import RunResult, RunSpec, source_digest, spec_from_json
from g2rpo.seeds import seed_of

RESULT, SPEC, LOG = "result.json", "spec.json", "log.txt"
ROWS = 256
"""Completions that an evaluation samples together."""


class Meter:
    """What a run has spent: tokens by the trainers' counts, seconds by the clock while training, evaluations left out."""

    def __init__(self) -> None:
        self.before = dict.fromkeys(("sampled_tokens", "imitated_tokens", "trained_tokens", "wall_s"), 0.0)
        self.trainer: Any = None
        self.seconds, self.since = 0.0, None

    def start(self, trainer: Any) -> None:
        self.trainer, self.seconds, self.since = trainer, 0.0, None

    def run(self) -> None:
        self.since = time.monotonic()

    def pause(self) -> None:
        if self.since is not None:
            self.seconds, self.since = self.seconds + time.monotonic() - self.since, None

    def stage(self) -> dict[str, float]:
        """Spent in this stage alone."""
        running = time.monotonic() - self.since if self.since is not None else 0.0
        return {
            "sampled_tokens": self.trainer.spent_tokens,
            "imitated_tokens": self.trainer.imitated_tokens,
            "trained_tokens": self.trainer.trained_tokens,
            "wall_s": self.seconds + running,
        }

    def close(self) -> None:
        self.before, self.trainer, self.seconds, self.since = self.total(), None, 0.0, None

    def harvest(self, recipe: Any, place: Path, tokens: int) -> Path:
        """Harvests until so many tokens are spent, and counts them; the data set's file."""
        from g2rpo.training.harvest import run_harvest

        began, out = time.monotonic(), place / "harvest.jsonl"
        place.mkdir(parents=True)
        # As many samples as the tokens allow: a problem that is never solved must not end it early.
        found = run_harvest(recipe, out, samples=max(1, tokens), reveal=0.0, token_budget=tokens)
        self.before["sampled_tokens"] += found.tokens
        self.before["wall_s"] += time.monotonic() - began
        return out

    def total(self) -> dict[str, float]:
        now = self.stage() if self.trainer is not None else dict.fromkeys(self.before, 0.0)
        return {name: self.before[name] + now[name] for name in self.before}


class Judge:
    """Held-out scores of a model on one run's evaluation sets."""

    def __init__(self, spec: RunSpec, tokenizer: Any) -> None:
        from g2rpo.training.run.recipe import resolve

        self.spec, self.tokenizer = spec, tokenizer
        fields = {**spec.base, "output_dir": "unused", "preset": "grpo"}
        self.sets = {}
        for name, changes in {"": {}, **spec.evaluation.sets}.items():
            merged = {**fields, **(changes or {})}
            data = resolve(merged).data
            # Traces play no part here, and a set with fewer traces must still be the same set.
            data = replace(data, trace_limit=None, trace_noise=0.0, trace_style="own")
            problems = data.problems("test")[: spec.evaluation.problems]
            self.sets[name] = (problems, data.reward_functions(), merged["max_completion_length"], merged.get("temperature", 1.0))

    def scores(self, model: Any, count: int | None = None, *, name: str = "", greedy: bool = False) -> list[float]:
        """One sampled completion per problem of a set."""
        return [own[0] for own in self._sampled(model, name, count, greedy=greedy)]

    def pass_at(self, model: Any) -> dict[str, float]:
        from g2rpo.evaluation.statistics import pass_at_k

        ks = self.spec.evaluation.pass_k
        if not ks:
            return {}
        # Not the sample of `scores`: that would count it twice.
        sampled = self._sampled(model, "", self.spec.evaluation.pass_problems, samples=ks[-1], first=1)
        right = [sum(s >= 1 for s in own) for own in sampled]
        return {str(k): mean([pass_at_k(c, ks[-1], k) for c in right]) for k in ks}

    def _sampled(
        self, model: Any, name: str, count: int | None, *, samples: int = 1, first: int = 0, greedy: bool = False
    ) -> list[list[float]]:
        problems, rewards, length, temperature = self.sets[name]
        return sampled_scores(
            model,
            self.tokenizer,
            problems[:count],
            rewards[0],
            length,
            temperature=0.0 if greedy else temperature,
            samples=samples,
            seeds=lambda key, sample: seed_of(self.spec.seed + 1_000_003 * (first + sample), "held-out", key),
        )

    @property
    def digest(self) -> str:
        """Of the questions of all sets: two runs with equal digests were asked the same."""
        text = json.dumps({name: [(p.key, p.answer) for p in held[0]] for name, held in self.sets.items()}, sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    def close(self) -> None:
        for _, rewards, _, _ in self.sets.values():
            for reward in rewards:
                if close := getattr(reward, "close", None):
                    close()


def sampled_scores(
    model: Any,
    tokenizer: Any,
    problems: Sequence[Problem],
    reward: Callable[..., list[float | None]],
    max_completion_length: int,
    *,
    temperature: float,
    seeds: Callable[[str, int], int],
    samples: int = 1,
) -> list[list[float]]:
    """Rewards of the samples of each problem; a completion that was not scored counts 0."""
    from g2rpo.evaluation.checkpoint import room
    from g2rpo.evaluation.engines import Decoding, TransformersEngine
    from g2rpo.evaluation.grading import by_reward
    from g2rpo.evaluation.sample_and_grade import Questions, sample_and_grade

    questions = Questions.of_problems("held-out", problems, tokenizer, by_reward(reward))
    plan = questions.requests(samples, budget=max_completion_length, room=room(model), seeds=seeds)
    was_training = model.training
    model.eval()
    engine = TransformersEngine(model, tokenizer, Decoding(temperature))
    scores = {(s.key, s.sample): s.score or 0.0 for new in sample_and_grade(questions, plan, engine, ROWS) for s in new}
    model.train(was_training)
    return [[scores[p.key, i] for i in range(samples)] for p in problems]


def execute(spec: RunSpec, folder: Path) -> RunResult:
    import torch

    torch.set_num_threads(spec.threads)
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from g2rpo.models import resolve_model

    base = resolve_model(spec.base.get("model_name_or_path", "builtin"))
    judge = Judge(spec, AutoTokenizer.from_pretrained(base))
    meter, curve, stages = Meter(), [], []
    data: dict[str, Any] = {}
    model_name, model = spec.base.get("model_name_or_path", "builtin"), None
    try:
        for number, stage in enumerate(spec.stages, 1):
            last = number == len(spec.stages)
            left = spec.budget.amount - meter.total()[spec.budget.kind]
            amount = left if last else min(left, stage.share * spec.budget.amount)
            place = folder / f"{number}-{stage.method}"
            more: dict[str, Any] = {"model_name_or_path": model_name}
            if spec.budget.kind == "sampled_tokens":
                more["max_sampled_tokens"] = max(1, int(amount))
            recipe = stage_recipe(spec.base, stage, seed=spec.seed, output_dir=str(place), **more, **data)
            if stage.method == "harvest":
                data = {"task": None, "dataset_path": str(meter.harvest(recipe, place, int(amount)))}
                stages.append({"method": stage.method, "folder": place.name, "steps": 0, "spent": meter.total()})
                continue
            trainer = _train(stage.method, recipe, _callbacks(spec, judge, meter, curve, amount))
            meter.pause()
            model, model_name = trainer.model, str(place)
            stages.append(
                {"method": stage.method, "folder": place.name, "steps": trainer.state.global_step, "spent": meter.stage()}
            )
            meter.close()
        if model is None:
            device = "cuda" if torch.cuda.is_available() and not spec.base.get("use_cpu") else "cpu"
            model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).to(device)
        final = judge.scores(model)
        return RunResult(
            spec.arm,
            spec.task,
            spec.seed,
            final,
            mean(judge.scores(model, greedy=True)),
            curve,
            {name: judge.scores(model, name=name) for name in judge.sets if name},
            judge.pass_at(model),
            meter.total(),
            stages,
            judge.digest,
            source_digest(),
        )
    finally:
        judge.close()


def _train(method: str, recipe: Any, callbacks: list[Callable]) -> Any:
    if method == "sft":
        from g2rpo.training.sft import train_sft

        return train_sft(recipe, quiet=True, callbacks=callbacks)
    if method == "sdft":
        from g2rpo.training.sdft import train_sdft

        return train_sdft(recipe, quiet=True, callbacks=callbacks)
    from g2rpo.training.run.train import train

    return train(recipe, quiet=True, callbacks=callbacks)


def _callbacks(spec: RunSpec, judge: Judge, meter: Meter, curve: list, amount: float) -> list[Callable]:
    from g2rpo.training.run.callbacks import StopAtBudget

    kind, total = spec.budget.kind, spec.budget.amount

    def watch(trainer):
        meter.start(trainer)
        # Before the stop: it looks at the clock, which must not run while the model is judged.
        return _watch(spec, judge, meter, curve, step=total / max(1, spec.evaluation.points), kind=kind)

    if kind == "sampled_tokens":
        return [watch]  # the trainers stop by themselves
    return [watch, lambda trainer: StopAtBudget(lambda: meter.stage()[kind], amount)]


def _watch(spec: RunSpec, judge: Judge, meter: Meter, curve: list, *, step: float, kind: str):
    from transformers import TrainerCallback

    steps_before = curve[-1][1] if curve else 0

    class Watch(TrainerCallback):
        """Judges the model before the first step and whenever another share of the budget is spent; prints a line each."""

        def on_train_begin(self, args, state, control, model=None, **kwargs):
            if not curve:
                self.look(state, model)
            meter.run()

        def on_step_end(self, args, state, control, model=None, **kwargs):
            # Strictly below the whole budget: the end has an evaluation of its own, on all problems.
            spent = meter.total()[kind]
            if spent // step > curve[-1][0] // step and spent < spec.budget.amount:
                meter.pause()
                self.look(state, model)
                meter.run()

        def look(self, state, model):
            accuracy = mean(judge.scores(model, spec.evaluation.during))
            curve.append([meter.total()[kind], steps_before + state.global_step, accuracy])
            print(json.dumps({"spent": curve[-1][0], "step": curve[-1][1], "accuracy": accuracy}), flush=True)

    return Watch()


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def read_result(folder: Path) -> RunResult | None:
    """The result in a run's folder; None while there is none."""
    path = folder / RESULT
    return RunResult(**json.loads(path.read_text())) if path.exists() else None


def _follow_parent(parent: int) -> None:
    """Ends this process when the one that started it is gone, killed without a chance to end its children. It may be gone before
    this process has imported its libraries, so the process that starts this one says its own number."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    _follow_parent(int(sys.argv[2]))
    here = Path(sys.argv[1])
    result = execute(spec_from_json(json.loads((here / SPEC).read_text())), here)
    write_text(here / RESULT, json.dumps(asdict(result)))
