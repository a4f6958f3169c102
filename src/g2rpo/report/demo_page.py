"""The demo's page: one self-contained HTML file and one PNG, pure functions of `demo.json`."""

import html
import io
from pathlib import Path
from typing import Any

COLOURS = {"base": "#8a8a8a", "grpo": "#d1495b", "g2rpo-a-paper": "#edae49", "g2rpo": "#2a7f62", "sft": "#3d5a9e"}

STYLE = """
:root { color-scheme: light dark; --ink: #1d1d1f; --paper: #ffffff; --line: #d5d5d8; --soft: #5b5b60; }
@media (prefers-color-scheme: dark) { :root { --ink: #ececf0; --paper: #17171a; --line: #3a3a40; --soft: #a5a5ad; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 0 auto; max-width: 60rem; padding: 1.5rem; }
h1 { font-size: 1.5rem; line-height: 1.25; }
p.note, caption { color: var(--soft); }
table { border-collapse: collapse; width: 100%; margin: 1.5rem 0; }
caption { text-align: left; padding-bottom: .5rem; }
th, td { padding: .4rem .6rem; border-bottom: 1px solid var(--line); text-align: right; font-variant-numeric: tabular-nums; }
th:first-child, td:first-child, th:last-child, td:last-child { text-align: left; }
.wide { overflow-x: auto; }
figure { margin: 1.5rem 0; background: #fff; border-radius: 6px; padding: .5rem; }
figure svg { width: 100%; height: auto; }
"""


def write_page(summary: dict[str, Any], output: Path) -> None:
    """Writes `demo.html` and `demo.png` to `output`; the same summary gives the same bytes."""
    svg, png = figure(summary)
    (output / "demo.png").write_bytes(png)
    (output / "demo.html").write_text(page(summary, svg), encoding="utf-8")


def figure(summary: dict[str, Any]) -> tuple[str, bytes]:
    """Accuracy against tokens: every seed a thin line, the mean of the seeds at the end as a point with its interval."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    with matplotlib.rc_context({"svg.hashsalt": "g2rpo", "svg.fonttype": "none", "font.size": 11}):
        canvas, axes = plt.subplots(figsize=(9, 4.6), constrained_layout=True)
        budget = summary["budget_sampled_tokens"]
        top = min(102, 12 + 100 * max(max(a["ci95"][1], *a["accuracy_by_seed"], a["accuracy"]) for a in summary["arms"].values()))
        for name, arm in summary["arms"].items():
            colour = COLOURS.get(name, "#000000")
            spent = arm["sampled_tokens"] if any(arm["sampled_tokens"]) else arm["trained_tokens"]
            for curve, end, final in zip(arm["curves"], spent, arm["accuracy_by_seed"], strict=True):
                points = [(t, a) for t, _, a in curve] + [(end, final)]
                axes.plot([t for t, _ in points], [100 * a for _, a in points], color=colour, alpha=0.7, linewidth=1.3)
            low, high = arm["ci95"]
            mean = arm["accuracy"]
            axes.errorbar(
                budget * 1.03,
                100 * mean,
                yerr=[[100 * (mean - low)], [100 * (high - mean)]],
                color=colour,
                fmt="o",
                capsize=3,
                label=f"{name} {mean:.0%}",
            )
        axes.set(
            xlabel="tokens sampled (for SFT: learned)",
            ylabel="held-out accuracy, %",
            ylim=(-2, top),
            xlim=(0, budget * 1.08),
        )
        axes.grid(alpha=0.25)
        axes.legend(loc="upper left", frameon=False)
        text, image = io.StringIO(), io.BytesIO()
        canvas.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
        canvas.savefig(image, format="png", dpi=130, metadata={"Software": None})
        plt.close(canvas)
    svg = text.getvalue()
    return svg[svg.index("<svg") :], image.getvalue()


def page(summary: dict[str, Any], svg: str) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{arm['accuracy']:.1%}</td><td>{arm['ci95'][0]:.1%} – {arm['ci95'][1]:.1%}</td>"
        f"<td>{', '.join(f'{a:.1%}' for a in arm['accuracy_by_seed'])}</td><td>{arm['greedy_accuracy']:.1%}</td>"
        f"<td>{html.escape(arm['meaning'])}</td></tr>"
        for name, arm in summary["arms"].items()
    )
    points = "".join(f"<li>{html.escape(s)}</li>" for s in summary["findings"])
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>g2rpo demo</title><style>{STYLE}</style></head><body>
<h1>Can a small model learn what it almost never gets right?</h1>
<p>Task: {html.escape(summary["task"])} of {summary["task_steps"]} steps. The built-in model knows every single step and loses
patience on the way, so it rarely reaches the answer. Every arm gets {summary["budget_sampled_tokens"]:,} tokens.</p>
<ul>{points}</ul>
<figure role="img" aria-label="Held-out accuracy against tokens for each arm">{svg}</figure>
<div class="wide"><table><caption>Held-out accuracy on {summary["held_out_problems"]} problems, never guided, temperature 1</caption>
<thead><tr><th scope="col">arm</th><th scope="col">accuracy</th><th scope="col">95 % interval</th><th scope="col">by seed</th>
<th scope="col">greedy</th><th scope="col">what it is</th></tr></thead><tbody>{rows}</tbody></table></div>
<p class="note">Same base, problems, data order, optimizer and temperature for every arm, same batch and learning rate for the RL
arms. SFT samples nothing; its budget counts the tokens it learns from, with the best rate and batch of a sweep. With one seed the interval is over problems only.</p>
</body></html>
"""
