"""Drawings for pages and files: SVG that takes the page's ink, so that it can be read on light and on dark paper, and PNG on
white.

Lines differ in colour and in dash; every colour has a contrast of at least 3 : 1 against white and against the dark page.
"""

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

COLOURS = ("#2f7fd0", "#c8641a", "#2f8f5b", "#c0508f", "#8a6fd1", "#9a7b1c", "#d1495b", "#5f8793", "#4f8f1f", "#7a7a80")
DASHES = ("-", "--", "-.", ":")
INK = "#010203"
"""Stands for the page's own ink while drawing."""
MOST_POINTS = 240
"""A line has no more points than a page has pixels for: long runs are averaged over equal stretches."""


@dataclass(frozen=True)
class Figure:
    """One drawing. `caption` is read by all, `description` by those who do not see it."""

    name: str
    caption: str
    description: str
    svg: str
    png: bytes

    def write(self, folder: Path) -> None:
        """`NAME.svg` and `NAME.png`."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{self.name}.svg").write_text(self.svg.replace("<svg ", '<svg color="#1d1d1f" ', 1), encoding="utf-8")
        (folder / f"{self.name}.png").write_bytes(self.png)


def draw(
    name: str, caption: str, description: str, paint: Callable[[Any], None], size: tuple[float, float] = (6.4, 3.6)
) -> Figure:
    """Lets `paint(canvas)` draw on a matplotlib figure; equal drawings give equal bytes."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    style = {
        "svg.hashsalt": "g2rpo",
        "svg.fonttype": "none",
        "font.size": 10,
        "text.color": INK,
        "axes.edgecolor": INK,
        "axes.labelcolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.facecolor": "none",
        "legend.frameon": False,
        "axes.grid": True,
        "grid.color": "#8a8a90",
        "grid.alpha": 0.25,
    }
    with matplotlib.rc_context(style):
        canvas = plt.figure(figsize=size, layout="constrained")
        paint(canvas)
        out, image = io.StringIO(), io.BytesIO()
        canvas.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        canvas.savefig(image, format="png", dpi=130, facecolor="white", metadata={"Software": None})
        plt.close(canvas)
    return Figure(name, caption, description, _inline(out.getvalue(), name, description), image.getvalue())


def _inline(svg: str, name: str, description: str) -> str:
    """Fit to stand in a page among others: no prologue, ids of its own, the page's ink, a description."""
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    used = set(re.findall(r'(?:href="#|url\(#)([\w-]+)', svg))
    svg = re.sub(r' id="([\w.-]+)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", svg)
    words = description.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return svg.replace("<svg ", f'<svg role="img" aria-label="{words}" ', 1)


def look(number: int) -> dict[str, Any]:
    """Colour and dash of the n-th line."""
    return {
        "color": COLOURS[number % len(COLOURS)],
        "linestyle": DASHES[number // len(COLOURS) % len(DASHES) if number >= len(COLOURS) else number % len(DASHES)],
    }


def thinned(points: Sequence[tuple[float, float]], most: int = MOST_POINTS) -> list[tuple[float, float]]:
    """At most so many points, each the mean of a stretch of equally many."""
    n = len(points)
    if n <= most:
        return list(points)
    cuts = [round(i * n / most) for i in range(most + 1)]
    return [(sum(x for x, _ in points[a:b]) / (b - a), sum(y for _, y in points[a:b]) / (b - a)) for a, b in pairwise(cuts)]


def smoothed(points: Sequence[tuple[float, float]], window: int) -> list[tuple[float, float]]:
    """Each value the mean of the `window` values up to it: rates of a few rollouts jump from step to step."""
    values = [y for _, y in points]
    sums = [0.0]
    for y in values:
        sums.append(sums[-1] + y)
    return [(x, (sums[i + 1] - sums[max(0, i + 1 - window)]) / min(window, i + 1)) for i, (x, _) in enumerate(points)]


def lines(
    name: str,
    caption: str,
    series: Sequence[tuple[str, Sequence[tuple[float, float]]]],
    *,
    x: str,
    y: str,
    percent: bool = False,
    window: int = 1,
    limits: tuple[float, float] | None = None,
) -> Figure | None:
    """One panel with a line per series; None where no series has a point. The description tells where each line begins and
    ends."""
    kept = [(label, thinned(smoothed(points, window))) for label, points in series if points]
    if not kept:
        return None
    shown = (lambda v: f"{100 * v:.0f} %") if percent else (lambda v: f"{v:.3g}")

    def paint(canvas):
        axes = canvas.subplots()
        for number, (label, points) in enumerate(kept):
            axes.plot(
                [p[0] for p in points],
                [(100 if percent else 1) * p[1] for p in points],
                label=label,
                linewidth=1.6,
                **look(number),
            )
        axes.set(xlabel=x, ylabel=y, **({"ylim": limits} if limits else {}))
        if len(kept) > 1:
            axes.legend()

    told = "; ".join(f"{label} from {shown(p[0][1])} to {shown(p[-1][1])}" for label, p in kept)
    return draw(name, caption, f"{caption} Along {x}: {told}.", paint)
