"""What a comparison shows: accuracy against budget, differences with intervals, and the arms' courses side by side."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from g2rpo.lab.report.figures import Figure, draw, look, smoothed
from g2rpo.lab.report.run_figures import series

GRID = 60
COURSES = {
    "success/unguided": "unguided success, %",
    "success/guided": "guided success, %",
    "length/fraction": "revealed share of the trace ℓ, %",
    "guided_share": "guided share of the rollouts α, %",
    "groups/zero_std": "groups without difference in reward, %",
    "advantage/std": "advantage std × 100",
}


def accuracy_figure(task: str, block: Mapping[str, Any], budget: Mapping[str, Any], unit: str) -> Figure:
    """Thin: seeds; thick: their mean; band: 95 % bootstrap interval of the mean over seeds (from three seeds on)."""
    base = block["arms"]["base"]["accuracy"]
    told = [f"base {100 * base:.0f} %"]

    def paint(canvas):
        axes = canvas.subplots()
        axes.axhline(100 * base, color="#7a7a80", linewidth=1, linestyle=":", label=f"base {base:.0%}")
        for number, (name, arm) in enumerate((n, a) for n, a in block["arms"].items() if n != "base"):
            lines = []
            for curve, spent, final in zip(arm["curves"], arm["spent"][budget["kind"]], arm["accuracy_by_seed"], strict=True):
                lines.append(([c[0] for c in curve] + [spent], [c[2] for c in curve] + [final]))
            style = look(number)
            for x, y in lines:
                axes.plot(x, [100 * v for v in y], alpha=0.35, linewidth=0.9, **style)
            grid = np.linspace(0, min(x[-1] for x, _ in lines), GRID)
            table = np.array([np.interp(grid, x, y) for x, y in lines])
            axes.plot(grid, 100 * table.mean(0), linewidth=2.2, label=f"{name} {arm['accuracy']:.0%}", **style)
            if len(table) > 2:
                draws = np.random.default_rng(0).integers(len(table), size=(1000, len(table)))
                low, high = np.quantile(table[draws].mean(1), [0.025, 0.975], axis=0)
                axes.fill_between(grid, 100 * low, 100 * high, color=style["color"], alpha=0.18, linewidth=0)
        axes.set(xlabel=unit, ylabel="held-out accuracy, %", xlim=(0, None), ylim=(-2, None))
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1))

    told += [
        f"{n} ends at {100 * a['accuracy']:.0f} % ({100 * a['ci95'][0]:.0f} to {100 * a['ci95'][1]:.0f})"
        for n, a in block["arms"].items()
        if n != "base"
    ]
    caption = (
        f"{task}: held-out accuracy, never guided, against {unit}. Thin: seeds; thick: their mean; band: 95 % interval "
        "of it over seeds."
    )
    return draw(f"accuracy-{slug(task)}", caption, f"{caption} {'; '.join(told)}.", paint, (9.2, 4.4))


def difference_figure(task: str, block: Mapping[str, Any]) -> Figure | None:
    """A row per pair of arms: difference in accuracy and its interval."""
    pairs = block["differences"]
    if not pairs:
        return None

    def paint(canvas):
        axes = canvas.subplots()
        axes.axvline(0, color="#7a7a80", linewidth=1)
        for row, d in enumerate(reversed(pairs)):
            colour = COLOUR_OF[d["theirs"]]
            axes.errorbar(
                100 * d["difference"],
                row,
                xerr=[[100 * (d["difference"] - d["ci95"][0])], [100 * (d["ci95"][1] - d["difference"])]],
                fmt="o",
                color=colour,
                capsize=3,
            )
        axes.set(xlabel="difference in held-out accuracy, points", yticks=range(len(pairs)))
        axes.set_yticklabels([f"{d['ours']} − {d['theirs']}" for d in reversed(pairs)])

    named = list(dict.fromkeys(d["theirs"] for d in pairs))
    COLOUR_OF = {name: look(number)["color"] for number, name in enumerate(named)}
    told = "; ".join(
        f"{d['ours']} minus {d['theirs']}: {100 * d['difference']:+.1f} ({100 * d['ci95'][0]:+.1f} to {100 * d['ci95'][1]:+.1f})"
        for d in pairs
    )
    caption = f"{task}: differences in held-out accuracy with 95 % intervals over seeds and problems."
    return draw(f"differences-{slug(task)}", caption, f"{caption} {told}.", paint, (7.2, 0.9 + 0.32 * len(pairs)))


def pass_figure(task: str, block: Mapping[str, Any]) -> Figure | None:
    """pass@k by arm, mean over seeds; None where it was not measured."""
    if not next(iter(block["arms"].values()))["pass_at"]:
        return None

    def paint(canvas):
        axes = canvas.subplots()
        for number, (name, arm) in enumerate(block["arms"].items()):
            ks = [int(k) for k in arm["pass_at"]]
            axes.plot(
                ks, [100 * v["mean"] for v in arm["pass_at"].values()], marker="o", markersize=3, label=name, **look(number)
            )
        axes.set(xlabel="k", ylabel="pass@k, %", xscale="log")
        axes.set_xticks(ks, [str(k) for k in ks])
        axes.minorticks_off()
        axes.legend()

    def of(arm: Mapping[str, Any]) -> str:
        return ", ".join(f"{k}: {100 * v['mean']:.0f} %" for k, v in arm["pass_at"].items())

    told = "; ".join(f"{name}: {of(arm)}" for name, arm in block["arms"].items())
    caption = f"{task}: chance that at least one of k samples is right, mean over seeds."
    return draw(f"pass-{slug(task)}", caption, f"{caption} {told}.", paint)


def course_figure(task: str, steps_by_arm: Mapping[str, Sequence[Sequence[Mapping[str, Any]]]]) -> Figure | None:
    """Small panels of what the runs recorded, mean over seeds; None where no run directories are left.

    Args:
        steps_by_arm: For each arm and seed the lines of its last reinforcement-learning stage.
    """
    found = {name: runs for name, runs in steps_by_arm.items() if any(runs)}
    if not found:
        return None

    def paint(canvas):
        panels = canvas.subplots(2, 3, sharex=True)
        for axes, (metric, label) in zip(panels.flat, COURSES.items(), strict=True):
            for number, (name, runs) in enumerate(found.items()):
                curves = [c for c in (series(steps, f"guidance/{metric}") for steps in runs) if c]
                if not curves:
                    continue
                grid = np.linspace(min(c[0][0] for c in curves), min(c[-1][0] for c in curves), GRID)
                flat = [smoothed(c, max(1, len(c) // 15)) for c in curves]
                mean = np.mean([np.interp(grid, *zip(*c, strict=True)) for c in flat], axis=0)
                axes.plot(grid, 100 * mean, label=name, linewidth=1.5, **look(number))
            axes.set_title(label, fontsize=9, loc="left")
        for axes in panels[-1]:
            axes.set_xlabel("sampled tokens")
        canvas.legend(*panels.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)

    caption = f"{task}: the course of the reinforcement-learning stages, mean over seeds, smoothed."
    parts = "; ".join(COURSES.values())
    return draw(f"course-{slug(task)}", caption, f"{caption} Panels: {parts}. Arms: {', '.join(found)}.", paint, (10, 5.6))


def slug(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name.lower())
