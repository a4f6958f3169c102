"""A sample of a run's rollouts to browse: what was given is marked, in colour and in brackets."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from g2rpo.lab.report.page import text
from g2rpo.method.rollout import GUIDANCE
from g2rpo.training.run.run_directory import RunDirectory

BATCHES, GROUPS = 6, 2
"""Generation batches spread over the run, and groups of each."""
COLUMNS = ("generation", "key", "fraction", "success", "reward", "guided")


def outcomes(run: RunDirectory) -> list[dict[str, Any]]:
    """What the figures need of every recorded rollout."""
    rows: list[dict[str, Any]] = []
    for file in files(run):
        rows += pq.read_table(file, columns=list(COLUMNS)).to_pylist()
    return rows


def files(run: RunDirectory) -> list[Path]:
    return sorted(run.rollouts.glob("generation_*.parquet"))


def sample(run: RunDirectory, decode: Callable[[Sequence[int]], str] | None, batches: int = BATCHES, groups: int = GROUPS) -> str:
    """HTML of whole groups from batches spread over the run; nothing where none were recorded."""
    found = files(run)
    picked = sorted({round(i * (len(found) - 1) / max(1, batches - 1)) for i in range(min(batches, len(found)))})
    return "".join(_batch(pq.read_table(found[i]).to_pylist(), decode, groups) for i in picked)


def _batch(rows: list[dict[str, Any]], decode: Callable | None, groups: int) -> str:
    keys = list(dict.fromkeys(r["key"] for r in rows))[:groups]
    body = ""
    for key in keys:
        members = [r for r in rows if r["key"] == key]
        solved = sum(bool(r["success"]) for r in members)
        body += f"<h3>{text(members[0]['prompt'])}</h3><p class=note>{solved} of {len(members)} solved</p>"
        body += "".join(_rollout(r, decode) for r in members)
    return f"<details><summary>Generation batch {rows[0]['generation']}</summary>{body}</details>"


def _rollout(row: dict[str, Any], decode: Callable | None) -> str:
    success = "not scored" if row["success"] is None else f"success {row['success']:g}"
    start = f"guided, {row['guidance_tokens']} tokens ({row['fraction']:.0%})" if row["guided"] else "unguided"
    ids = [i for i, o in zip(row["token_ids"], row["token_origin"], strict=True) if o]
    given = [i for i, o in zip(row["token_ids"], row["token_origin"], strict=True) if o == GUIDANCE]
    if decode is None:
        told = text(row["completion"])
    else:
        told = f"<mark>⟦{text(decode(given))}⟧</mark>" * bool(given) + text(decode(ids[len(given) :]))
    head = f"rollout {row['rollout_index']} · {start} · {success} · advantage {row['advantage']:+.2f}"
    return f"<details><summary>{text(head)}</summary><pre>{told}</pre></details>"
