"""Does guidance transfer? Statistics of one step that tell the lift of guidance from what the model can do alone.

Pure functions of a step's outcomes, groups contiguous. A rate over no rollouts is left out, never reported as 0.
"""

import math
from collections.abc import Callable, Sequence

from g2rpo.method.rollout import Outcome

FRACTION_BINS = 4


def transfer_metrics(outcomes: Sequence[Outcome], group_size: int) -> dict[str, float]:
    """Metrics of one generation batch, names without prefix.

    `success/*`: mean primary reward, in [0, 1] for accuracies. `gap`: guided minus unguided. `groups/solve_none|all`: share of
    groups in which no or every scored rollout succeeded; `groups/zero_std`: share without any difference in reward (max - min,
    since the std of equal floats is not always 0). `advantage/guided_mass`: share of sum |A| on guided rows;
    `advantage/{guided,unguided}_{positive,negative}`: share of all rows with that sign and start.
    """
    metrics: dict[str, float] = {}
    guided = [o for o in outcomes if o.guided]
    unguided = [o for o in outcomes if not o.guided]
    _mean(metrics, "success/all", outcomes)
    _mean(metrics, "success/guided", guided)
    _mean(metrics, "success/unguided", unguided)
    if "success/guided" in metrics and "success/unguided" in metrics:
        metrics["success/gap"] = metrics["success/guided"] - metrics["success/unguided"]
    for b in range(FRACTION_BINS):
        low, high = b / FRACTION_BINS, (b + 1) / FRACTION_BINS
        _mean(metrics, f"success/fraction_{low:g}-{high:g}", [o for o in guided if low < o.fraction <= high])

    groups = [outcomes[i : i + group_size] for i in range(0, len(outcomes), group_size)]
    if groups:
        metrics["groups/solve_none"] = _share(groups, lambda g: all(not o.success for o in g))
        metrics["groups/solve_all"] = _share(groups, _all_solved)
        metrics["groups/zero_std"] = _share(groups, _no_spread)

    n = len(outcomes)
    if n:
        advantages = [o.advantage for o in outcomes]
        mass = sum(abs(a) for a in advantages)
        mean = sum(advantages) / n
        metrics["advantage/std"] = math.sqrt(sum((a - mean) ** 2 for a in advantages) / n)
        metrics["advantage/guided_mass"] = sum(abs(o.advantage) for o in guided) / mass if mass else 0.0
        for name, rows in (("guided", guided), ("unguided", unguided)):
            metrics[f"advantage/{name}_positive"] = sum(o.advantage > 0 for o in rows) / n
            metrics[f"advantage/{name}_negative"] = sum(o.advantage < 0 for o in rows) / n
        metrics["guided_share"] = len(guided) / n
        metrics["not_scored"] = sum(o.reward is None for o in outcomes) / n
    metrics["tokens/sampled"] = float(sum(o.sampled_tokens for o in outcomes))
    metrics["tokens/guidance"] = float(sum(o.guidance_tokens for o in outcomes))
    if guided:
        metrics["length/tokens"] = sum(o.guidance_tokens for o in guided) / len(guided)
        metrics["length/fraction"] = sum(o.fraction for o in guided) / len(guided)
    return metrics


def _mean(metrics: dict[str, float], name: str, outcomes: Sequence[Outcome]) -> None:
    scored = [o.success for o in outcomes if o.success is not None]
    if scored:
        metrics[name] = sum(scored) / len(scored)


def _share(groups: Sequence[Sequence[Outcome]], holds: Callable[[Sequence[Outcome]], bool]) -> float:
    return sum(map(holds, groups)) / len(groups)


def _all_solved(group: Sequence[Outcome]) -> bool:
    scored = [o.success for o in group if o.success is not None]
    return bool(scored) and min(scored) >= 1


def _no_spread(group: Sequence[Outcome]) -> bool:
    rewards = [o.reward for o in group if o.reward is not None]
    return not rewards or max(rewards) - min(rewards) < 1e-6
