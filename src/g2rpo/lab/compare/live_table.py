"""How far the matrix is: a live table in a terminal, plain lines elsewhere."""

import time
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from g2rpo.lab.compare.spec import RunResult, RunSpec


class Progress:
    """One cell per run: waiting, running (share of its budget, latest accuracy), done (final accuracy) or failed."""

    def __init__(self, specs: Sequence[RunSpec], console: Console | None = None) -> None:
        self.specs, self.console = list(specs), console or Console(highlight=False)
        self.cells = {s.folder: "·" for s in specs}
        self.shares = {s.folder: 0.0 for s in specs}
        self.live: Live | None = None
        self.began, self.found = time.monotonic(), 0.0

    def __enter__(self) -> "Progress":
        self.began = time.monotonic()
        if self.console.is_terminal:
            self.live = Live(self.table(), console=self.console, refresh_per_second=2)
            self.live.start()
        return self

    def __exit__(self, *error: Any) -> None:
        if self.live is not None:
            self.live.update(self.table())
            self.live.stop()

    def started(self, spec: RunSpec) -> None:
        self._set(spec, "0 %", 0.0)

    def point(self, spec: RunSpec, point: dict[str, float]) -> None:
        share = min(1.0, point["spent"] / spec.budget.amount)
        self._set(spec, f"{share:.0%} · {point['accuracy']:.0%}", share)
        self._say(
            f"  {self._name(spec)}  {point['spent']:>9,.0f} {spec.budget.kind}  step {point['step']:>4}  "
            f"held-out accuracy {point['accuracy']:.1%}"
        )

    def finished(self, spec: RunSpec, result: RunResult | None) -> None:
        """`None` for a run that failed."""
        before = self.cells[spec.folder] == "·"
        self._set(spec, "failed" if result is None else f"done · {result.accuracy:.0%}", 1.0)
        if before:  # done in an earlier session: no part of this one's speed
            self.found += 1.0
        words = (
            "failed" if result is None else f"done: held-out accuracy {result.accuracy:.1%}{' (from before)' if before else ''}"
        )
        self._say(f"  {self._name(spec)}  {words}   [{sum(s == 1 for s in self.shares.values())}/{len(self.specs)}{self.left()}]")

    def tick(self) -> None:
        if self.live is not None:
            self.live.update(self.table())

    def left(self) -> str:
        """Time left, from the shares of budgets spent so far in this session."""
        done = sum(self.shares.values()) - self.found
        rest = len(self.specs) - sum(self.shares.values())
        if done < 0.5 or rest <= 0:
            return ""
        seconds = (time.monotonic() - self.began) * rest / done
        return f", about {seconds / 60:.0f} min left" if seconds > 90 else f", about {seconds:.0f} s left"

    def table(self) -> Table:
        seeds = sorted({s.seed for s in self.specs})
        several = len({s.task for s in self.specs}) > 1
        done = sum(s == 1 for s in self.shares.values())
        table = Table(title=f"{done} of {len(self.specs)} runs{self.left()}", title_justify="left")
        for column in (*(["task"] if several else []), "arm", *(f"seed {s}" for s in seeds)):
            table.add_column(column, no_wrap=True)
        for task, arm in dict.fromkeys((s.task, s.arm) for s in self.specs):
            cells = {s.seed: self.cells[s.folder] for s in self.specs if (s.task, s.arm) == (task, arm)}
            table.add_row(*([task] if several else []), arm, *(cells.get(seed, "") for seed in seeds))
        return table

    def _set(self, spec: RunSpec, cell: str, share: float) -> None:
        self.cells[spec.folder], self.shares[spec.folder] = cell, share

    def _name(self, spec: RunSpec) -> str:
        several = len({s.task for s in self.specs}) > 1
        return f"{f'{spec.task}  ' if several else ''}{spec.arm:<16} seed {spec.seed}"

    def _say(self, line: str) -> None:
        if self.live is None:
            self.console.print(line, markup=False, soft_wrap=True)
