"""One figure of one simulation: guidance, success and the learning signal against steps. A pure function of its numbers."""

import io
from typing import Any

COLOURS = {"length": "#2a7f62", "share": "#edae49", "unguided": "#3d5a9e", "guided": "#8a8a8a", "signal": "#d1495b"}


def figure(results: list[Any], kind: str) -> bytes:
    """The image file of `Simulation`s of one controller and scenario, one per seed; `kind` is svg or png. Same input, same
    bytes."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    with matplotlib.rc_context({"svg.hashsalt": "g2rpo", "svg.fonttype": "none", "font.size": 10}):
        canvas, (top, middle, bottom) = plt.subplots(3, 1, figsize=(8, 7), sharex=True, constrained_layout=True)
        for number, result in enumerate(results):
            steps = range(len(result.length))

            def draw(axes, values, colour, label, steps=steps, number=number):
                axes.plot(steps, values, color=colour, alpha=0.75, linewidth=1, label=label if number == 0 else None)

            draw(top, result.length, COLOURS["length"], "ℓ, revealed fraction of the guided rollouts")
            draw(top, result.guided_share, COLOURS["share"], "α, share of rollouts that are guided")
            draw(middle, _smooth(result.guided), COLOURS["guided"], "guided success, observed, 20 steps")
            draw(middle, result.unguided, COLOURS["unguided"], "unguided success, true")
            draw(bottom, result.signal, COLOURS["signal"], "learning signal, mean p (1 − p)")
        for axes, height in ((top, 1.05), (middle, 1.05), (bottom, 0.26)):
            axes.set_ylim(-0.02 * height, height)
            axes.legend(loc="upper right", frameon=False)
            axes.spines[["top", "right"]].set_visible(False)
        top.set_title(f"{results[0].controller} · {results[0].scenario}", loc="left")
        bottom.set_xlabel("step")
        buffer = io.BytesIO()
        metadata = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
        canvas.savefig(buffer, format=kind, metadata=metadata, dpi=120)
        plt.close(canvas)
    return buffer.getvalue()


def _smooth(values: list[float | None], over: int = 20) -> list[float]:
    """Mean of the last steps in which there was anything to see."""
    smooth, window = [], []
    for value in values:
        if value is not None:
            window = [*window, value][-over:]
        smooth.append(sum(window) / len(window) if window else float("nan"))
    return smooth
