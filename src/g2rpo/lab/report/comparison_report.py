"""The page of a comparison, and its table in Markdown."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from g2rpo.lab.compare.comparison import RUNS, UNITS
from g2rpo.lab.compare.experiment import BASE
from g2rpo.lab.report.comparison_figures import accuracy_figure, course_figure, difference_figure, pass_figure
from g2rpo.lab.report.figures import Figure
from g2rpo.lab.report.page import Section, facts, figure, figures, folded, page, table, text
from g2rpo.lab.report.rollouts import outcomes, sample
from g2rpo.lab.report.run_figures import run_figures
from g2rpo.lab.report.run_report import note_on_rollouts
from g2rpo.training.run.run_directory import RunDirectory

HEAD = ("arm", "accuracy", "95 % interval", "IQM", "took off", "held its best", "by seed", "greedy", "what it is")


def comparison_report(
    summary: Mapping[str, Any], folder: Path, decoder: Callable[[RunDirectory], Callable | None]
) -> tuple[str, list[Figure]]:
    """The page and its figures.

    Args:
        summary: The content of `comparison.json`.
        folder: Where its runs are; without them, courses and rollouts are left out.
        decoder: Makes a run's token decoder.
    """
    unit = UNITS[summary["budget"]["kind"]]
    drawn: list[Figure] = []
    findings = "<ul>" + "".join(f"<li>{text(s)}</li>" for s in summary["findings"]) + "</ul>"
    sections = [Section("findings", "Findings", findings)]
    for number, (task, block) in enumerate(summary["tasks"].items()):
        made = [accuracy_figure(task, block, summary["budget"], unit), difference_figure(task, block), pass_figure(task, block)]
        courses = course_figure(task, {name: _steps(arm, folder) for name, arm in block["arms"].items() if name != BASE})
        drawn += [f for f in (*made, courses) if f is not None]
        body = figure(made[0]) + arms_table(summary, task) + figures([f for f in made[1:] if f]) + differences_table(task, block)
        body += reach_table(task, block, unit) + sets_table(task, block) + (figure(courses) if courses else "")
        if block["settings"]:
            body += folded("Settings of this task", facts(block["settings"]))
        sections.append(Section(f"task-{number}", task, body + _runs(block, folder, decoder)))
    if summary["overall"]:
        sections.append(Section("overall", "All tasks together", overall_tables(summary)))
    sections += [
        Section("definitions", "What the figures mean", facts(summary["definitions"])),
        Section("settings", "Settings", facts(_settings(summary))),
        Section("versions", "Versions", facts({**summary["facts"], "code": ", ".join(summary["code"])})),
    ]
    lead = " ".join(
        s
        for s in (summary["question"], f"{len(summary['seeds'])} seeds per arm, {summary['budget']['amount']:,.0f} {unit} each.")
        if s
    )
    return page(f"Comparison {summary['name']}", lead, sections), drawn


def _settings(summary: Mapping[str, Any]) -> dict[str, Any]:
    shared = {f"shared: {k}": v for k, v in summary["shared"].items()}
    return {
        "arms may differ in": ", ".join(summary["treatment"]),
        "seeds": ", ".join(map(str, summary["seeds"])),
        **{f"evaluation: {k}": v for k, v in summary["evaluation"].items()},
        **shared,
    }


def percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def interval(ci: list[float] | None) -> str:
    return f"{100 * ci[0]:.1f} – {100 * ci[1]:.1f}" if ci else "–"


def points(d: Mapping[str, Any]) -> str:
    return f"{100 * d['difference']:+.1f} ({100 * d['ci95'][0]:+.1f} to {100 * d['ci95'][1]:+.1f})"


def arm_cells(summary: Mapping[str, Any], name: str, arm: Mapping[str, Any]) -> list[str]:
    """The cells of one row of the table of arms, as text."""
    n, trained = len(arm["took_off"]), name != BASE
    greedy = sum(arm["greedy_accuracy_by_seed"]) / len(arm["greedy_accuracy_by_seed"])
    return [
        name,
        percent(arm["accuracy"]),
        interval(arm["ci95"]),
        percent(arm["iqm"]),
        f"{sum(arm['took_off'])} of {n}" if trained else "–",
        f"{sum(arm['held_best'])} of {n}" if trained else "–",
        ", ".join(f"{100 * a:.0f}" for a in arm["accuracy_by_seed"]),
        percent(greedy),
        summary["arms"][name]["meaning"],
    ]


def arms_table(summary: Mapping[str, Any], task: str) -> str:
    rows = [[text(c) for c in arm_cells(summary, name, arm)] for name, arm in summary["tasks"][task]["arms"].items()]
    count = summary["evaluation"]["problems"]
    return table(f"{task}: held-out accuracy on {count} problems, never guided", HEAD, rows, prose=(len(HEAD) - 1,))


def differences_table(task: str, block: Mapping[str, Any]) -> str:
    rows = [
        [f"{text(d['ours'])} − {text(d['theirs'])}", points(d), f"{d['improvement']:.2f} ({_plain(d['improvement_ci95'])})"]
        for d in block["differences"]
    ]
    head = ("arms", "difference in points (95 % interval)", "chance of ending above (95 % interval)")
    return table(f"{task}: arms compared", head, rows) if rows else ""


def _plain(ci: list[float] | None) -> str:
    return f"{ci[0]:.2f} – {ci[1]:.2f}" if ci else "–"


def _reach(block: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Goals, and per arm the median spent until each was reached."""
    arms = {name: arm for name, arm in block["arms"].items() if name != BASE}
    goals = next(iter(arms.values()))["to_reach"]

    def cell(goal: Mapping[str, Any]) -> str:
        reached = sum(v is not None for v in goal["by_seed"])
        median = "never" if goal["median"] is None else f"{goal['median']:,.0f}"
        return f"{median} ({reached} of {len(goal['by_seed'])})"

    named = [f"{_goal(at)} {percent(goal['accuracy'])}".strip() for at, goal in goals.items()]
    return named, [[name, *(cell(goal) for goal in arm["to_reach"].values())] for name, arm in arms.items()]


def reach_table(task: str, block: Mapping[str, Any], unit: str) -> str:
    named, rows = _reach(block)
    caption = f"{task}: {unit} to reach an accuracy, median (seeds that did)"
    return table(caption, ("arm", *named), [[text(name), *cells] for name, *cells in rows])


def _goal(at: str) -> str:
    return "" if at.replace(".", "").isdigit() else f"{at}:"


def sets_table(task: str, block: Mapping[str, Any]) -> str:
    held_out = list(block["arms"][BASE]["sets"])
    if not held_out:
        return ""
    rows = [
        [text(name), *(f"{percent(arm['sets'][s]['accuracy'])} ({interval(arm['sets'][s]['ci95'])})" for s in held_out)]
        for name, arm in block["arms"].items()
    ]
    return table(f"{task}: accuracy on further held-out sets (95 % interval)", ("arm", *held_out), rows)


def overall_tables(summary: Mapping[str, Any]) -> str:
    overall = summary["overall"]
    rows = [[text(n), percent(a["iqm"]), interval(a["iqm_ci95"])] for n, a in overall["arms"].items()]
    first = table("Interquartile mean of accuracy over all seeds and tasks", ("arm", "IQM", "95 % interval"), rows)
    rows = [
        [f"{text(d['ours'])} over {text(d['theirs'])}", f"{d['improvement']:.2f}", _plain(d["improvement_ci95"])]
        for d in overall["improvements"]
    ]
    return first + table(
        "Chance that a run ends above one of the other arm, mean over tasks", ("arms", "chance", "95 % interval"), rows
    )


def _last_rl(arm: Mapping[str, Any], seed: int, folder: Path) -> RunDirectory | None:
    """The run directory of a seed's last reinforcement-learning stage; None where there is none (any more)."""
    stages = [s for s in arm["stages"][seed] if s["method"] == "rl"]
    if not stages:
        return None
    run = RunDirectory(folder / RUNS / arm["runs"][seed] / stages[-1]["folder"])
    return run if run.steps_file.exists() else None


def _steps(arm: Mapping[str, Any], folder: Path) -> list[list[dict[str, Any]]]:
    return [run.steps() if (run := _last_rl(arm, seed, folder)) else [] for seed in range(len(arm["runs"]))]


def _runs(block: Mapping[str, Any], folder: Path, decoder: Callable) -> str:
    """Figures and rollouts of each arm's first seed, folded."""
    parts = ""
    for name, arm in block["arms"].items():
        if run := _last_rl(arm, 0, folder):
            maps = [f for f in run_figures([], outcomes(run))]
            # The page may hold many arms: ids are told apart by the arm's name.
            drawn = "".join(figure(f) for f in (_named(f, arm["runs"][0]) for f in maps))
            body = drawn + note_on_rollouts(sample(run, decoder(run), batches=3, groups=1))
            parts += folded(f"{name}, first seed: rewards and rollouts", body)
    return parts


def _named(drawn: Figure, prefix: str) -> Figure:
    from dataclasses import replace

    return replace(drawn, svg=drawn.svg.replace(f"{drawn.name}-", f"{prefix}-{drawn.name}-"))


def markdown(summary: Mapping[str, Any]) -> str:
    """The tables of a comparison for a document: arms with intervals, then what was compared with what."""
    unit = UNITS[summary["budget"]["kind"]]
    lines = [
        f"## {summary['name']}",
        "",
        summary["question"],
        "",
        f"{len(summary['seeds'])} seeds, {summary['budget']['amount']:,.0f} {unit} each, {summary['evaluation']['problems']} "
        "held-out problems; "
        f"g2rpo {summary['facts'].get('g2rpo', '')}, code {', '.join(summary['code'])}.",
        "",
    ]
    for task, block in summary["tasks"].items():
        if len(summary["tasks"]) > 1:
            lines += [f"### {task}", ""]
        lines += _grid(HEAD, [arm_cells(summary, name, arm) for name, arm in block["arms"].items()])
        rows = [
            [f"{d['ours']} − {d['theirs']}", points(d), f"{d['improvement']:.2f} ({_plain(d['improvement_ci95'])})"]
            for d in block["differences"]
        ]
        lines += _grid(("arms", "difference, points (95 % interval)", "chance of ending above"), rows)
        goals, spent = _reach(block)
        if goals:
            lines += _grid((f"median {unit} to reach (seeds that did)", *goals), spent)
        held_out = list(block["arms"][BASE]["sets"])
        if held_out:
            lines += _grid(
                ("arm", *held_out),
                [
                    [name, *(f"{percent(arm['sets'][s]['accuracy'])} ({interval(arm['sets'][s]['ci95'])})" for s in held_out)]
                    for name, arm in block["arms"].items()
                ],
            )
        if ks := list(block["arms"][BASE]["pass_at"]):
            lines += _grid(
                ("arm", *(f"pass@{k}" for k in ks)),
                [[name, *(percent(v["mean"]) for v in arm["pass_at"].values())] for name, arm in block["arms"].items()],
            )
    return "\n".join(lines).rstrip() + "\n"


def _grid(head: tuple[str, ...], rows: list[list[str]]) -> list[str]:
    escaped = [[c.replace("|", "\\|") for c in row] for row in rows]
    return ["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *("| " + " | ".join(row) + " |" for row in escaped), ""]
