"""A sample of a run's rollouts to browse: what was given is marked, in colour and in brackets."""

from typing import Any

import pyarrow.parquet as pq

from g2rpo.lab.report.page import text
from g2rpo.lab.report.rollout_text import Decode, Row, groups, headline, rollout_text
from g2rpo.training.run.run_directory import RunDirectory

BATCHES, GROUPS = 6, 2
"""Generation batches spread over the run, and groups of each."""
COLUMNS = ("generation", "key", "fraction", "success", "reward", "guided")


def outcomes(run: RunDirectory) -> list[dict[str, Any]]:
    """What the figures need of every recorded rollout."""
    rows: list[dict[str, Any]] = []
    for file in run.rollout_files():
        rows += pq.read_table(file, columns=list(COLUMNS)).to_pylist()
    return rows


def sample(run: RunDirectory, decode: Decode | None, batches: int = BATCHES, groups: int = GROUPS) -> str:
    """HTML of whole groups from batches spread over the run; nothing where none were recorded."""
    found = run.rollout_files()
    picked = sorted({round(i * (len(found) - 1) / max(1, batches - 1)) for i in range(min(batches, len(found)))})
    return "".join(_batch(pq.read_table(found[i]).to_pylist(), decode, groups) for i in picked)


def _batch(rows: list[Row], decode: Decode | None, limit: int) -> str:
    body = ""
    for group in groups(rows, limit):
        solved = sum(bool(row["success"]) for row in group)
        expected = "" if group[0].get("answer") is None else f", expected: {text(group[0]['answer'])}"
        body += f"<h3>{text(group[0]['prompt'])}</h3><p class=note>{solved} of {len(group)} solved{expected}</p>"
        body += "".join(_rollout(row, decode) for row in group)
    return f"<details><summary>Generation batch {rows[0]['generation']}</summary>{body}</details>"


def _rollout(row: Row, decode: Decode | None) -> str:
    told = rollout_text(row, decode)
    shown = f"<mark>⟦{text(told.given)}⟧</mark>" * bool(told.given) + text(told.sampled)
    return f"<details><summary>{text(' · '.join(headline(row)))}</summary><pre>{shown}</pre></details>"
