"""What a recipe would do, measured on a few problems before it is run (`g2rpo doctor RECIPE`)."""

from g2rpo.training.doctor.advice import Advice, advise, findings
from g2rpo.training.doctor.probe import Probe, Prober
from g2rpo.training.doctor.setup_checks import Finding, check_deepspeed, check_seam, check_think_block, check_trainer
from g2rpo.training.run.recipe import Recipe

__all__ = ["Advice", "Finding", "Probe", "examine"]


def examine(recipe: Recipe, problems: int = 8, samples: int | None = None) -> tuple[Probe, list[Finding], Advice]:
    """Measures a recipe on a few of its problems.

    Args:
        recipe: What is to be run; nothing of it is trained or written.
        problems: How many, drawn by the recipe's seed.
        samples: Per problem and share of the trace; the recipe's group size (16 at most) if not given.

    Returns:
        The figures, what was found (faults first), and one recommendation.

    Raises:
        ConfigError, DataError: what training would refuse before it looks at the template.
    """
    prober = Prober(recipe, problems, samples)
    try:
        traced = [(p, row) for p, row in zip(prober.problems, prober.rows, strict=True) if p.trace]
        found = [
            check_deepspeed(recipe.training.deepspeed),
            check_trainer(),
            check_think_block(prober.planner.prompt_tail, recipe.training.guidance_style),
            check_seam(prober.planner, *zip(*traced, strict=True), prober.grade) if traced else None,
        ]
        probe = prober.measure()
    finally:
        prober.close()
    every = sorted((f for f in (*found, *findings(probe)) if f), key=lambda f: not f.fault)
    return probe, every, advise(probe, every)
