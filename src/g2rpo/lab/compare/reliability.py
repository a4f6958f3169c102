"""Did a run take off, and did it keep what it had learned? Two yes-or-no questions per run, with noise in mind."""

import math
from collections.abc import Sequence

GAIN = 0.05
KEPT = 0.9
DEFINITIONS = {
    "took off": "at some evaluation, along the way or at the end, held-out accuracy was at least 5 points above the base's, and "
    "by more than three standard errors of the difference (three, since there are many evaluations)",
    "held its best": "it took off, and its final accuracy on the problems tried along the way is at least 0.9 of its best on "
    "them, or short of that by no more than two standard errors of the difference",
}


def took_off(base: float, base_n: int, curve: Sequence[float], during: int, final: float, n: int) -> bool:
    """See `DEFINITIONS`.

    Args:
        base: Accuracy of the base on `base_n` problems.
        curve: Accuracies along the way, on `during` problems each.
        final: Accuracy at the end, on `n` problems.
    """
    return any(_rose(base, base_n, accuracy, count) for accuracy, count in [*((a, during) for a in curve), (final, n)])


def held_best(curve: Sequence[float], during: int, final_on_same: float) -> bool:
    """See `DEFINITIONS`; `final_on_same` is the final accuracy on the problems of the curve."""
    best = max([*curve, final_on_same])
    wanted = KEPT * best
    return wanted - final_on_same <= 2 * math.hypot(_error(wanted, during), _error(final_on_same, during))


def _rose(base: float, base_n: int, accuracy: float, n: int) -> bool:
    return accuracy - base >= GAIN and accuracy - base > 3 * math.hypot(_error(base, base_n), _error(accuracy, n))


def _error(p: float, n: int) -> float:
    """Standard error of a proportion, pulled towards 1/2 by two successes and two failures (Agresti and Coull 1998): never 0."""
    q = (p * n + 2) / (n + 4)
    return math.sqrt(q * (1 - q) / (n + 4))
