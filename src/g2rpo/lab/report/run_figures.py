"""What a run's own record shows: pure functions of the lines of `steps.jsonl` and of its rollout files."""

from collections.abc import Mapping, Sequence
from typing import Any

from g2rpo.evaluation.statistics import wilson_interval
from g2rpo.lab.report.figures import Figure, draw, lines, look

Steps = Sequence[Mapping[str, Any]]
SPENT = "guidance/tokens/sampled_total"
BINS = 8
"""Bins of revealed fraction, besides the one of no guidance."""


def series(steps: Steps, metric: str) -> list[tuple[float, float]]:
    """(sampled tokens, or steps where none are counted; value) where the metric was recorded."""
    points = []
    for record in steps:
        value = record["metrics"].get(metric)
        if value is not None:
            points.append((float(record["metrics"].get(SPENT, record["step"])), float(value)))
    return points


def x_label(steps: Steps) -> str:
    return "sampled tokens" if steps and SPENT in steps[0]["metrics"] else "optimizer step"


def run_figures(steps: Steps, rollouts: Sequence[Mapping[str, Any]]) -> list[Figure]:
    """All figures that this run has the numbers for.

    Args:
        steps: Lines of `steps.jsonl`.
        rollouts: (generation, key, fraction, success, reward, guided) of the recorded rollouts, in order.
    """
    x, window = x_label(steps), max(1, len(steps) // 40)
    smooth = f" Mean of {window} steps." if window > 1 else ""

    def of(metric: str) -> list[tuple[float, float]]:
        return series(steps, f"guidance/{metric}")

    made = [
        lines(
            "success",
            "Success of guided and unguided rollouts while training." + smooth,
            [("unguided", of("success/unguided")), ("guided", of("success/guided"))],
            x=x,
            y="success, %",
            percent=True,
            window=window,
            limits=(-2, 102),
        ),
        lines(
            "length",
            "Guidance length ℓ, in tokens." + smooth,
            [("guidance tokens", of("length/tokens"))],
            x=x,
            y="tokens",
            window=window,
        ),
        lines(
            "share",
            "Share of the trace that is revealed, and α, the share of rollouts that are guided." + smooth,
            [("revealed share of the trace", of("length/fraction")), ("α", of("guided_share"))],
            x=x,
            y="share, %",
            percent=True,
            window=window,
            limits=(-2, 102),
        ),
        lines(
            "advantage-std",
            "Standard deviation of the advantages: how much there is to learn from." + smooth,
            [("advantage std", of("advantage/std"))],
            x=x,
            y="std",
            window=window,
        ),
        lines(
            "zero-std",
            "Groups without any difference in reward, which teach nothing." + smooth,
            [
                ("no difference", of("groups/zero_std")),
                ("none solved", of("groups/solve_none")),
                ("all solved", of("groups/solve_all")),
            ],
            x=x,
            y="share of groups, %",
            percent=True,
            window=window,
            limits=(-2, 102),
        ),
        lines(
            "signs",
            "Signs of the advantages by type of row." + smooth,
            [
                (f"{kind}, {sign}", of(f"advantage/{kind}_{sign}"))
                for kind in ("guided", "unguided")
                for sign in ("positive", "negative")
            ],
            x=x,
            y="share of rollouts, %",
            percent=True,
            window=window,
        ),
        lines("loss", "Training loss." + smooth, [("loss", series(steps, "loss"))], x=x, y="loss", window=window),
        reward_map(rollouts),
        success_by_fraction(rollouts),
    ]
    return [figure for figure in made if figure is not None]


def reward_map(rollouts: Sequence[Mapping[str, Any]], columns: int = 40, rows: int = 9) -> Figure | None:
    """How the mean rewards of groups are spread, and how that moves: the paper's heat map. None without rollouts."""
    groups: dict[tuple[int, str], list[float]] = {}
    for r in rollouts:
        if r["reward"] is not None:
            groups.setdefault((r["generation"], r["key"]), []).append(r["reward"])
    if not groups:
        return None
    import numpy as np

    means = [(generation, sum(v) / len(v)) for (generation, _), v in groups.items()]
    last, top = max(g for g, _ in means), max(1.0, *(m for _, m in means))
    columns = min(columns, len({g for g, _ in means}))
    counts, across, up = np.histogram2d(
        [g for g, _ in means], [m for _, m in means], bins=[columns, rows], range=[[0, last + 1], [0, top * (1 + 1e-9)]]
    )
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)

    def paint(canvas):
        axes = canvas.subplots()
        image = axes.pcolormesh(across, up, shares.T, cmap="cividis", vmin=0, vmax=100, rasterized=True)
        axes.set(xlabel="generation batch", ylabel="mean reward of the group")
        axes.grid(False)
        canvas.colorbar(image, ax=axes, label="share of groups, %")

    first, end = shares[0], shares[-1]
    told = (
        f"At first {first[0]:.0f} % of the groups are in the lowest row and {first[-1]:.0f} % in the highest; at the end "
        f"{end[0]:.0f} % and {end[-1]:.0f} %."
    )
    caption = "Rewards of the groups: for each stretch of the run, the share of groups by their mean reward."
    return draw("reward-map", caption, f"{caption} {told}", paint)


def success_by_fraction(rollouts: Sequence[Mapping[str, Any]]) -> Figure | None:
    """Success against the revealed share of the trace, for thirds of the run, with 95 % Wilson intervals. None without any."""
    scored = [r for r in rollouts if r["success"] is not None]
    if not scored or not any(r["guided"] for r in scored):
        return None
    last = max(r["generation"] for r in scored) + 1
    thirds: list[tuple[str, list[tuple[float, float, float, float]]]] = []
    for number, label in enumerate(("first third", "second third", "last third")):
        cells: dict[int, list[float]] = {}
        for r in scored:
            if min(2, 3 * r["generation"] // last) == number:
                cells.setdefault(0 if not r["fraction"] else 1 + min(BINS - 1, int(r["fraction"] * BINS)), []).append(
                    r["success"]
                )
        points = []
        for b, values in sorted(cells.items()):
            low, high = wilson_interval(sum(values), len(values))
            points.append(((b - 0.5) / BINS if b else 0.0, sum(values) / len(values), low, high))
        if points:
            thirds.append((label, points))

    def paint(canvas):
        axes = canvas.subplots()
        for number, (label, points) in enumerate(thirds):
            shift = (number - 1) * 0.008
            axes.errorbar(
                [100 * (p[0] + shift) for p in points],
                [100 * p[1] for p in points],
                yerr=[[100 * (p[1] - p[2]) for p in points], [100 * (p[3] - p[1]) for p in points]],
                capsize=2,
                linewidth=1.5,
                marker="os^"[number],
                markersize=4,
                label=label,
                **look(number),
            )
        axes.set(xlabel="revealed share of the trace, %", ylabel="success, %", ylim=(-2, 102))
        axes.legend()

    told = "; ".join(
        f"{label}: {100 * p[0][1]:.0f} % at no guidance, {100 * p[-1][1]:.0f} % at the longest" for label, p in thirds
    )
    caption = "Success against the revealed share of the trace, with 95 % intervals; the leftmost point is no guidance."
    return draw("fraction", caption, f"{caption} {told}.", paint)
