"""`g2rpo report`: from what is on disk to a page, its figures as files, or tables in Markdown. Same files in, same bytes out."""

import json
from pathlib import Path
from typing import Any

from g2rpo.errors import RunError

PAGE, FIGURES = "report.html", "figures"


def write_report(path: Path, output: Path | None = None) -> Path:
    """Writes `report.html` and `figures/` for a run directory, a comparison's folder, or a `comparison.json`.

    Args:
        path: What to report on.
        output: Where to write; beside what it reports on if not given.

    Raises:
        RunError: nothing there to report on.
    """
    from g2rpo.lab.report.comparison_report import comparison_report
    from g2rpo.lab.report.rollout_text import decoder
    from g2rpo.lab.report.run_report import run_report
    from g2rpo.training.run.run_directory import RunDirectory

    folder = path if path.is_dir() else path.parent
    if (summary := _summary(path)) is not None:
        page, drawn = comparison_report(summary, folder, decoder)
    else:
        run = RunDirectory(path)
        page, drawn = run_report(run, decoder(run))
    place = output or folder
    place.mkdir(parents=True, exist_ok=True)
    for figure in drawn:
        figure.write(place / FIGURES)
    (place / PAGE).write_text(page, encoding="utf-8")
    return place / PAGE


def markdown_of(paths: list[Path]) -> str:
    """The tables of several comparisons, one after the other.

    Raises:
        RunError: one of the paths is no comparison.
    """
    from g2rpo.lab.report.comparison_report import markdown

    parts = []
    for path in paths:
        if (summary := _summary(path)) is None:
            raise RunError(
                "report",
                str(path),
                expected="a comparison: a folder with comparison.json, or the file",
                then="Only comparisons have tables in Markdown.",
            )
        parts.append(markdown(summary))
    return "\n".join(parts)


def _summary(path: Path) -> dict[str, Any] | None:
    """The comparison at a path; None for a run directory.

    Raises:
        RunError: neither is there.
    """
    file = path / "comparison.json" if path.is_dir() else path
    if file.is_file():
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:  # no JSON, or no text at all
            raise RunError("report", str(file), expected="a comparison.json", then=f"It does not parse: {error}.") from error
        if isinstance(found, dict) and "tasks" in found and "arms" in found:
            return found
    elif (path / "steps.jsonl").exists():
        return None
    raise RunError(
        "report",
        str(path),
        expected="a run directory (steps.jsonl) or a comparison (comparison.json)",
        then="Check the path: it is the output_dir of g2rpo train, or the output of g2rpo compare.",
    )
