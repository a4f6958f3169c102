"""`g2rpo harvest`: a recipe's model solves the recipe's problems, and what the grader takes for right becomes a data set."""

import dataclasses
import sys
from pathlib import Path

from g2rpo.curation.harvest import Harvest, harvest
from g2rpo.data.write import write_problems
from g2rpo.errors import DataError
from g2rpo.evaluation.checkpoint import load_checkpoint
from g2rpo.evaluation.engines import Decoding
from g2rpo.io import write_json
from g2rpo.training.run.primary_reward import primary_reward
from g2rpo.training.run.recipe import Recipe


def run_harvest(recipe: Recipe, out: Path, *, samples: int, reveal: float, token_budget: int | None) -> Harvest:
    """Writes the data set, and beside it `<out>.json`: with what it was made, and what it cost.

    The questions are written as the recipe reads them, without its system prompt, instruction and worked examples: the same
    recipe with `dataset_path` puts them again.
    """
    args = recipe.training
    bare = dataclasses.replace(recipe.data, few_shot=0, system_prompt=None, instruction=None, prompt_format="chat")
    kept, shown = bare.problems(), recipe.data.problems()
    rewards = recipe.data.reward_functions()
    checkpoint = load_checkpoint(recipe.model.model_name_or_path)
    try:
        result = harvest(
            checkpoint,
            kept,
            rewards[primary_reward(args, rewards)],
            shown=shown,
            style_name=args.guidance_style,
            samples=samples,
            reveal=reveal,
            leak_guard=args.guidance_leak_guard,
            max_tokens=args.max_completion_length,
            token_budget=token_budget,
            decoding=Decoding(args.temperature, args.top_p, max(0, args.top_k or 0)),
            seed=args.seed,
            template_kwargs=args.chat_template_kwargs,
            progress=lambda done, of: print(f"\r{done}/{of} solved", end="", file=sys.stderr, flush=True),
        )
    finally:
        for reward in rewards:
            if close := getattr(reward, "close", None):
                close()
        print(file=sys.stderr)
    if not result.problems:
        raise DataError(
            "harvest",
            f"{result.right} of {result.samples} samples right, {result.other_form} of them in another form than the style's",
            expected="at least one success",
            then="Show worked examples (few_shot), reveal part of the traces (--reveal), or take easier problems (g2rpo doctor).",
        )
    write_problems(out, result.problems)
    write_json(
        out.with_name(out.name + ".json"),
        {
            "model": checkpoint.name,
            "weights": checkpoint.digest,
            "samples_per_problem": samples,
            "reveal": reveal,
            "few_shot": recipe.data.few_shot,
            "solved": len(result.problems),
            **{f.name: getattr(result, f.name) for f in dataclasses.fields(result) if f.name != "problems"},
        },
    )
    return result
