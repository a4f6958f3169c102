"""One run of a comparison: a method, a seed, a budget; evaluated on held-out problems on the way and at the end.

Runs in a process of its own (`python -m g2rpo.comparison.arm SPEC.json RESULT.json`), so that many can go on at once and one
that dies takes nobody with it. A result that is there already is not computed again.
"""

import json
import os
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from g2rpo.errors import RunError


@dataclass(frozen=True)
class ArmSpec:
    """What to run. `fields` are recipe fields; `kind` is base (no training), sft or rl."""

    name: str
    kind: str
    seed: int
    output_dir: str
    fields: dict[str, Any] = field(default_factory=dict)
    held_out: int = 512
    held_out_during: int = 128
    evaluate_every: int = 10
    """Optimizer steps between two evaluations on the first `held_out_during` problems."""
    threads: int = 1


@dataclass(frozen=True)
class ArmResult:
    """What came of it. `curve` has one (sampled tokens, steps, accuracy) per evaluation; `scores` one number per held-out problem."""

    name: str
    seed: int
    scores: list[float]
    greedy_accuracy: float
    curve: list[tuple[int, int, float]]
    sampled_tokens: int
    trained_tokens: int
    wall_s: float
    steps: int

    @property
    def accuracy(self) -> float:
        return sum(self.scores) / len(self.scores)


def run_arm(spec: ArmSpec) -> ArmResult:
    import torch

    torch.set_num_threads(spec.threads)
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from g2rpo.base_model import resolve_model
    from g2rpo.evaluation.held_out import held_out_scores
    from g2rpo.training.recipe import resolve
    from g2rpo.training.run import train
    from g2rpo.training.sft import resolve_sft, train_sft

    fields = {**spec.fields, "seed": spec.seed, "output_dir": spec.output_dir}
    name = fields.get("model_name_or_path", "builtin")
    tokenizer = AutoTokenizer.from_pretrained(resolve_model(name))
    recipe, _ = resolve_sft(fields) if spec.kind == "sft" else (resolve(fields), None)
    problems = recipe.data.problems("test")[: spec.held_out]
    [reward, *_] = recipe.data.reward_functions()
    length = fields["max_completion_length"]
    began, curve = time.monotonic(), []

    def scores(model, count: int, temperature: float = fields.get("temperature", 1.0)) -> list[float]:
        return held_out_scores(
            model,
            tokenizer,
            problems[:count],
            reward,
            max_completion_length=length,
            temperature=temperature,
            seed=spec.seed,
        )

    def watch(trainer):
        return _Watch(
            spec.evaluate_every,
            lambda model: _mean(scores(model, spec.held_out_during)),
            lambda: _tokens(trainer),
            curve,
        )

    sampled = trained = steps = 0
    if spec.kind == "rl":
        trainer = train(recipe, quiet=True, callbacks=[watch])
        model, steps = trainer.model, trainer.state.global_step
        sampled = trainer.sampled_tokens
        trained = int(sum(r["guidance/tokens/trained"] for r in trainer.state.log_history if "guidance/tokens/trained" in r))
    elif spec.kind == "sft":
        trainer = train_sft(resolve_sft(fields), quiet=True, callbacks=[watch])
        model, steps, trained = trainer.model, trainer.state.global_step, _tokens(trainer)
    elif spec.kind == "base":
        model = AutoModelForCausalLM.from_pretrained(resolve_model(name), dtype=torch.float32)
    else:
        raise RunError("kind", spec.kind, expected="base, sft or rl", then="Mend the comparison's arms.")
    wall_s = time.monotonic() - began
    final = scores(model, spec.held_out)
    return ArmResult(
        spec.name, spec.seed, final, _mean(scores(model, spec.held_out, 0.0)), curve, sampled, trained, wall_s, steps
    )


def _Watch(every: int, accuracy, tokens, curve: list):
    from transformers import TrainerCallback

    class Watch(TrainerCallback):
        """Evaluates before the first step and every so many steps; prints one line each."""

        def on_train_begin(self, args, state, control, model=None, **kwargs):
            self.look(state, model)

        def on_step_end(self, args, state, control, model=None, **kwargs):
            if state.global_step % every == 0:
                self.look(state, model)

        def look(self, state, model):
            curve.append((tokens(), state.global_step, accuracy(model)))
            print(json.dumps({"tokens": curve[-1][0], "step": curve[-1][1], "accuracy": curve[-1][2]}), flush=True)

    return Watch()


def _tokens(trainer: Any) -> int:
    """Budget spent: sampled tokens for RL, trained tokens for SFT (which samples none)."""
    if hasattr(trainer, "sampled_tokens"):
        return trainer.sampled_tokens
    return trainer.completion_tokens


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def write_result(result: ArmResult, path: Path) -> None:
    part = path.with_suffix(".part")
    part.write_text(json.dumps(asdict(result)))
    os.replace(part, path)


def read_result(path: Path) -> ArmResult:
    return ArmResult(**json.loads(path.read_text()))


if __name__ == "__main__":
    write_result(run_arm(ArmSpec(**json.loads(Path(sys.argv[1]).read_text()))), Path(sys.argv[2]))
