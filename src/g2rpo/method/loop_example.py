"""What `python -m g2rpo.method.loop` trains: the built-in model on the task whose steps it knows and whose length it does not
bear."""

from collections.abc import Callable, Sequence
from typing import Any

from rlvr_graders.exact import exact_match_reward
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from g2rpo.data.load import to_rows
from g2rpo.data.tasks import make
from g2rpo.method.controllers import get_controller
from g2rpo.method.planner import Planner
from g2rpo.method.rollout import Outcome
from g2rpo.models import resolve_model

STEPS, PROBLEMS, GROUP_SIZE = 20, 4, 8


def builtin_run() -> tuple[Any, Planner, list[list[dict[str, Any]]], Callable[..., list[float]], GenerationConfig]:
    """Arguments of `guided_grpo`: model, planner, batches, reward, sampling."""
    folder = resolve_model("builtin")
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    controller = get_controller("adaptive_profile")
    planner = Planner(
        controller=controller,
        tokenizer=tokenizer,
        alpha=controller.default_ratio(GROUP_SIZE),
        group_size=GROUP_SIZE,
        unit=controller.unit,
        style_name="think_answer",
        leak_guard="strict",
        trace_column="trace",
        answer_column="answer",
        budget=128,
        seed=0,
    )
    rows = list(to_rows(make("chains", "train", STEPS * PROBLEMS, steps=9)))
    batches = [rows[i : i + PROBLEMS] for i in range(0, len(rows), PROBLEMS)]
    return model, planner, batches, exact_match_reward, GenerationConfig(temperature=1.0, do_sample=True)


def summary(step: int, outcomes: Sequence[Outcome]) -> str:
    """One line per step: success of guided and of unguided rollouts, and how much of the trace was shown."""
    shown = [o.fraction for o in outcomes if o.guided]
    parts = [f"step {step:3d}"]
    for name, guided in (("unguided", False), ("guided", True)):
        scores = [o.success or 0.0 for o in outcomes if o.guided == guided]
        parts.append(f"{name} {sum(scores):.0f} of {len(scores)} right")
    return "   ".join([*parts, f"shown {sum(shown) / len(shown):.0%} of the trace" if shown else "nothing shown"])
